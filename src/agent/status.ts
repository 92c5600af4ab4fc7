/** Status: idle, busy or waiting, from Claude's own session file, and from the terminal title where the file does not say. */
import { join } from "node:path";
import { readOwned } from "./owned-file.ts";

export type ClaudeState = "idle" | "busy" | "waiting";

/** A title longer than this is not one of Claude's. */
const MAX_TITLE_BYTES = 1024;
const ESC = 0x1b;
const BEL = 0x07;

/** What a title says: a sign, a space, and the conversation's title. `✳` means not working, any other sign working. */
export interface Title {
  readonly state: ClaudeState;
  readonly text: string;
}

export function readTitle(title: string): Title | undefined {
  const match = /^([^\p{L}\p{N}\s]) (.*)$/u.exec(title);
  if (match === null) return undefined;
  return { state: match[1] === "✳" ? "idle" : "busy", text: match[2] ?? "" };
}

/** Finds `OSC 0 ; title BEL` (or ESC \) in terminal bytes, wherever they were cut. */
export class TitleScanner {
  #state: "text" | "escape" | "osc" = "text";
  #held: number[] = [];

  /** Calls `title` with every complete title in these bytes. */
  push(bytes: Uint8Array, title: (text: string) => void): void {
    for (const byte of bytes) {
      if (this.#state === "osc") this.#inside(byte, title);
      else if (this.#state === "escape") {
        this.#state = byte === 0x5d ? "osc" : byte === ESC ? "escape" : "text";
        this.#held = [];
      } else if (byte === ESC) this.#state = "escape";
    }
  }

  #inside(byte: number, title: (text: string) => void): void {
    if (byte !== BEL && byte !== ESC) {
      if (this.#held.length < MAX_TITLE_BYTES) this.#held.push(byte);
      return;
    }
    const text = Buffer.from(this.#held).toString("utf8");
    this.#state = byte === ESC ? "escape" : "text";
    this.#held = [];
    if (text.startsWith("0;") || text.startsWith("2;")) title(text.slice(2));
  }
}

/** sessions/<pid>.json, as far as it is of use. Other files in that folder may hold secrets and are never opened. */
export interface SessionFile {
  readonly state?: ClaudeState;
  /** When it changed to that, ms since 1970. */
  readonly since?: number;
}

const STATES: Readonly<Record<string, ClaudeState>> = { idle: "idle", busy: "busy", waiting: "waiting" };

export function sessionFile(configDir: string, pid: number): string {
  return join(configDir, "sessions", `${pid}.json`);
}

/** Reads the file; undefined while it is missing or half written. */
export async function readSessionFile(path: string): Promise<SessionFile | undefined> {
  try {
    const raw = JSON.parse((await readOwned(path, undefined)) ?? "null") as {
      status?: unknown;
      statusUpdatedAt?: unknown;
    };
    const state = typeof raw.status === "string" ? STATES[raw.status] : undefined;
    return {
      ...(state === undefined ? {} : { state }),
      ...(typeof raw.statusUpdatedAt === "number" ? { since: raw.statusUpdatedAt } : {}),
    };
  } catch {
    return undefined;
  }
}
