/** User settings: one settings.json for all sessions of a credential, in which Claude saves a switch as everybody's default; here it is taken back out. */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { AgentSpec } from "./agent.ts";
import { type Json, object } from "./json.ts";
import { readOwned } from "./owned-file.ts";
import { writePrivate } from "./seed.ts";

/** What /model and /effort write; 2.1.330 keeps the effort by model. */
const KEYS = ["model", "effortLevel", "modelSettings"] as const;
/** Claude writes the file before it says that it has switched; a slow disk may be later. */
const LATE_MS = 300;

/** By file: what one switch found there must not be what another has just left. */
const locks = new Map<string, Promise<void>>();

/** Runs a switch of one session, then puts back what the defaults were before. One at a time for one configuration. */
export async function keepingDefaults<T>(
  { configDir, user }: Pick<AgentSpec, "configDir" | "user">,
  work: () => Promise<T>,
): Promise<T> {
  const file = join(configDir, "settings.json");
  const before = locks.get(file) ?? Promise.resolve();
  let free: () => void = () => undefined;
  const mine = new Promise<void>((done) => {
    free = done;
  });
  const queue = before.then(() => mine);
  locks.set(file, queue);
  const leave = (): void => {
    free();
    if (locks.get(file) === queue) locks.delete(file);
  };
  await before;
  const kept = await readSettings(file, user);
  try {
    return await work();
  } finally {
    await putBack(file, kept, user);
    const late = pause(LATE_MS).then(() => putBack(file, kept, user));
    late.catch(() => undefined).finally(leave);
  }
}

async function putBack(file: string, kept: Json | undefined, user: AgentSpec["user"]): Promise<void> {
  const now = await readSettings(file, user);
  if (now === undefined) return;
  const back: Record<string, unknown> = { ...now };
  for (const key of KEYS) {
    if (kept?.[key] === undefined) delete back[key];
    else back[key] = kept[key];
  }
  if (JSON.stringify(back) !== JSON.stringify(now)) await writePrivate(file, JSON.stringify(back, undefined, 2), user);
}

/** Undefined where there is none, or half of one: what cannot be read is not written either. */
async function readSettings(file: string, user: AgentSpec["user"]): Promise<Json | undefined> {
  try {
    const raw = await readOwned(file, user);
    return raw === undefined ? undefined : object(JSON.parse(raw));
  } catch {
    return undefined;
  }
}
