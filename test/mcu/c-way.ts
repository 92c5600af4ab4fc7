/** The C client as a way in: each link has a process and a device key of its own, as a device would. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { deviceKey, keysOf, NOBODY } from "../conformance/keys.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { type Caller, Inbox, Refused, type Stream, type Verdict, type Want, type Way } from "../conformance/way.ts";
import type { World } from "../conformance/world.ts";
import { built, type Name } from "./built.ts";
import { hexOf, Program, type Told, words } from "./program.ts";

type Fields = Record<string, unknown>;
export type Carrier = "tcp" | "http" | "mqtt" | "mqtt-sealed";

/** Commands that must carry an id of their own, or none. */
const ONCE = ["input", "sessions.create", "sessions.resume", "tokens.create", "send", "answer"];

let names = 0;
let asked = 1;

/** host:port of a carrier. */
export function addressOf(world: World, carrier: Carrier): string {
  if (carrier === "http") return new URL(world.url).host;
  return `127.0.0.1:${carrier === "tcp" ? world.tcpPort : world.mqttPort}`;
}

/** What the program finds in its environment. */
export function environment(folder: string, credential: DeviceKey | string): Record<string, string> {
  const key =
    typeof credential === "string"
      ? { CIB_TOKEN: credential }
      : { CIB_DEVICE_KEY: `${credential.id}:${credential.secret}` };
  // A boot counter for each: two processes of one folder never run with the same key.
  const name = `c${names++}`;
  return { ...key, CIB_NAME: name, CIB_STATE: join(folder, name) };
}

export function cClient(carrier: Carrier, program: Name = "client"): Way {
  const everyone: Program[] = [];
  // A case that fails may leave some behind, which would wait for commands for ever.
  after(() => {
    for (const each of everyone) each.kill();
  });
  return {
    name: `the C client over ${carrier}`,
    leastBytes: 128,
    connect: async (world, token) => {
      const path = await built(program);
      const folder = mkdtempSync(join(tmpdir(), "cib-mcu-"));
      const keys = keysOf(world);
      const master = token === world.master;
      const open: Wire[] = [];
      const dial = async (credential: DeviceKey | string) => {
        const child = new Program(path, ["call", carrier, addressOf(world, carrier)], environment(folder, credential));
        everyone.push(child);
        const wire = new Wire(child, carrier);
        open.push(wire);
        await wire.up;
        return wire;
      };
      const credential = async () => {
        if (carrier === "mqtt") return token;
        return master ? deviceKey(world) : (keys.get(token) ?? NOBODY);
      };
      const holder = `master, ${carrier}, C`;
      if (master && carrier !== "mqtt" && !keys.has(holder)) keys.set(holder, await deviceKey(world));
      const main = await dial(master && carrier !== "mqtt" ? (keys.get(holder) ?? NOBODY) : await credential());
      const shares = carrier !== "mqtt" && carrier !== "http" && !master;
      const caller: Caller = {
        run: async (command) => {
          const makes = command["cmd"] === "tokens.create";
          const reply = await main.ask(makes ? { device: true, ...command } : command);
          if (makes && reply["key"] !== undefined) keys.set(String(reply["token"]), reply["key"] as DeviceKey);
          return reply;
        },
        follow: async (want) => {
          const wire = shares ? main : await dial(await credential());
          return wire.follow(want);
        },
        close: () => {
          for (const wire of open) wire.program.kill();
          rmSync(folder, { recursive: true, force: true });
        },
      };
      return caller;
    },
  };
}

/** One process with one connection. */
class Wire {
  readonly program: Program;
  /** Resolves when commands may be sent. */
  readonly up: Promise<void>;
  readonly #carrier: Carrier;
  readonly #frames = new Inbox<{ frame: Frame; bytes: number }>();
  readonly #owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  readonly #ended: Promise<string>;
  #over: Refused | undefined;

  constructor(program: Program, carrier: Carrier) {
    this.program = program;
    this.#carrier = carrier;
    let isUp = (): void => undefined;
    let failed: (why: Error) => void = () => undefined;
    this.up = new Promise((resolve, reject) => {
      isUp = resolve;
      failed = reject;
    });
    this.up.catch(() => undefined);
    this.#ended = new Promise((resolve) => {
      const end = (why: string, error: unknown = "none") => {
        this.#over ??= new Refused({
          code: "unauthorized",
          message: `the connection has ended: ${why} (${error})`,
          retryable: false,
        });
        for (const each of this.#owed.values()) each.reject(this.#over);
        this.#frames.end(this.#over);
        failed(this.#over);
        resolve(why);
      };
      program.hear = (told) => {
        if (told["up"] === true) isUp();
        if (typeof told["end"] === "string") end(told["end"], told["error"]);
        if (told["frame"] !== undefined) this.#frame(told);
        if (told["reply"] !== undefined) this.#reply(told);
      };
      void program.ended().then(
        () => end("killed"),
        (why: Error) => end(why.message),
      );
    });
  }

  ask(command: Readonly<Fields>): Promise<Fields> {
    const { cmd, id: own, session, ...rest } = command;
    const once = ONCE.includes(String(cmd)) || this.#carrier === "http";
    const number = asked++;
    const id = typeof own === "string" ? own : once ? `ask-${number}` : number;
    const name = typeof id === "string" ? `t${Buffer.from(id).toString("hex")}` : `u${id}`;
    const pairs = Object.entries(rest).filter(([, value]) => value !== undefined);
    const said = pairs.flatMap(([key, value]) => [words(key), words(value, key)]).join(" ");
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      this.#owed.set(String(id), { resolve, reject });
      this.program.say(
        `run ${name} ${String(cmd)} ${session === undefined ? "-" : hexOf(String(session))} ${pairs.length} ${said}`,
      );
    });
  }

  async follow(want: Want): Promise<Stream> {
    this.program.say(`session ${hexOf(want.session)}`);
    return {
      // Without it an envelope's records have 4,096 bytes, and what is longer is split.
      verdict: (await this.ask({
        cmd: "attach",
        ...(this.#carrier === "http" && { max_bytes: 32_767 }),
        ...want,
      })) as unknown as Verdict,
      next: () => this.#frames.take(),
      ended: this.#ended,
      stall: () => this.program.say("stall"),
      resume: () => this.program.say("resume"),
      cut: () => this.program.kill(),
    };
  }

  #frame(told: Told): void {
    const [type, seq, ts, session, data] = told["frame"] as [number, number, number, string, object];
    const bytes = Buffer.from(session, "hex");
    this.#frames.put({ frame: frameOf([type, seq, ts, bytes, data]) as Frame, bytes: Number(told["bytes"]) });
  }

  #reply(told: Told): void {
    const { re, ok, error, ...fields } = told["reply"] as Fields;
    const waiting = this.#owed.get(String(re));
    this.#owed.delete(String(re));
    // What the library made of the reply, beside the reply itself.
    const { code, retryable } = (error ?? { code: "", retryable: false }) as { code: string; retryable: boolean };
    const same = told["ok"] === ok && told["code"] === code && told["retryable"] === retryable;
    const named = typeof re === "string" ? told["name"] === re : told["id"] === re;
    if (!same || !named) waiting?.reject(new Error(`read wrongly: ${JSON.stringify(told)}`));
    else if (ok === true) waiting?.resolve(fields);
    else waiting?.reject(new Refused(error));
  }
}
