/** Together: clients of every transport at one box at the same time see the same, and are one principal wherever they come in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SCOPES } from "../../src/auth/scopes.ts";
import type { Frame, FrameBody, SessionId } from "../../src/frame/frame.ts";
import { WAYS } from "./every-way.ts";
import { keysOf } from "./keys.ts";
import type { DeviceKey } from "./link-client.ts";
import { outcomeOf, type Way } from "./way.ts";
import { openWorld, type World } from "./world.ts";

const SAID: readonly FrameBody[] = [
  { type: "text.delta", text: "語🙂x" },
  { type: "tool.use.start", id: "t1", tool: "Write", input: { content: "y", lines: [1, 2.5, null, true] } },
  { type: "usage", input: 1, output: 2, cache_read: 3, cache_write: 2 ** 40 },
  { type: "stop", reason: "end_turn" },
  { type: "text.delta", text: "end" },
];

/** A token with its key, which every way knows. */
async function mint(world: World): Promise<string> {
  const caller = await (WAYS[0] as Way).connect(world, world.master);
  const made = await caller.run({ cmd: "tokens.create", label: "device", scopes: SCOPES, device: true });
  keysOf(world).set(String(made["token"]), made["key"] as DeviceKey);
  caller.close();
  return String(made["token"]);
}

test("every way brings the same frames, field by field", async () => {
  await using world = await openWorld();
  const callers = await Promise.all(WAYS.map((way) => way.connect(world, world.master)));
  const session = (await callers[0]?.run({ cmd: "sessions.create" }))?.["session"] as SessionId;
  const streams = await Promise.all(callers.map((caller) => caller.follow({ session, from: 1 })));
  world.say(session, ...SAID);
  const seen: Frame[][] = [];
  for (const stream of streams) {
    const frames: Frame[] = [];
    while (frames.at(-1)?.type !== "text.delta" || (frames.at(-1) as { text: string }).text !== "end")
      frames.push((await stream.next()).frame);
    seen.push(frames);
  }
  assert.ok((seen[0]?.length ?? 0) > SAID.length);
  for (const [i, frames] of seen.entries()) assert.deepEqual(frames, seen[0], WAYS[i]?.name);
  for (const caller of callers) caller.close();
  assert.deepEqual(world.faults, []);
});

test("an input that is repeated over another way, also after a restart, happens once", async () => {
  await using world = await openWorld();
  const token = await mint(world);
  const input = { cmd: "input", text: "once", id: "i-1" };
  let session: unknown;
  let first: unknown;
  for (const restarted of [false, true]) {
    for (const way of WAYS) {
      const caller = await way.connect(world, token);
      session ??= (await caller.run({ cmd: "sessions.create", id: "c-1" }))["session"];
      assert.equal((await caller.run({ cmd: "sessions.create", id: "c-1" }))["session"], session, way.name);
      const reply = await caller.run({ ...input, session });
      assert.equal(reply["duplicate"], first === undefined ? undefined : true, way.name);
      first ??= reply["input"];
      assert.equal(reply["input"], first, way.name);
      const conflict = await outcomeOf(caller, { ...input, session, text: "another" });
      assert.equal(conflict.code, "id_conflict", way.name);
      caller.close();
    }
    if (restarted) break;
    await world.stop();
    await world.start();
  }
  assert.deepEqual(world.prompts(session as SessionId), ["once"]);
  assert.deepEqual(world.faults, []);
});
