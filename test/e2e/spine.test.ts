/** The spine, end to end: the bundle, real Claude Code and a scripted model; what a stranger sees, and what survives kill -9. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { type Model, type ModelRequest, startModel, type Turn } from "../../src/demo/model.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { MASTER, TestBox } from "./box.ts";
import { claudeCommand, JS_VERSION, offlineReason, PINNED } from "./claude-versions.ts";

type Json = Record<string, unknown>;

function script({ last }: ModelRequest): Turn {
  const run = /^run (.+)$/m.exec(last)?.[1];
  if (run !== undefined)
    return { blocks: [{ text: "I look.\n" }, { tool: "Bash", input: { command: run, description: "looks" } }] };
  if (last.includes("slowly"))
    return { blocks: [{ text: Array.from({ length: 600 }, (_, i) => `line ${i}\n`), everyMs: 50 }] };
  // Claude adds reminders of its own around a prompt.
  const said = /say (\w+)/.exec(last)?.[1] ?? "nothing";
  return { blocks: [{ text: `You said: ${said}\nBye.` }], usage: { input: 7, output: 5 } };
}

async function world(claude?: readonly string[]): Promise<{ model: Model; box: TestBox } & AsyncDisposable> {
  const model = await startModel(script);
  const box = await TestBox.start({ model: model.url, ...(claude && { claude }) });
  return {
    model,
    box,
    async [Symbol.asyncDispose]() {
      await box[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

async function create(box: TestBox, more: Json = {}): Promise<string> {
  const { status, body } = await box.call("POST", "/api/sessions", more);
  assert.equal(status, 201, JSON.stringify(body));
  return String(body["session"]);
}

/** Reads server-sent events until `enough`, like curl would. */
async function follow(
  box: TestBox,
  session: string,
  from: number,
  enough: (frames: readonly Frame[]) => boolean,
): Promise<{ frames: Frame[]; verdict: Json }> {
  const response = await fetch(`${box.url}/api/sessions/${session}/events?from=${from}`, {
    headers: { authorization: `Bearer ${MASTER}` },
    signal: AbortSignal.timeout(60_000),
  });
  assert.equal(response.status, 200);
  const frames: Frame[] = [];
  let verdict: Json = {};
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const data = /^data: ?(.*)$/m.exec(event)?.[1];
      if (data === undefined) continue;
      if (/^event: verdict$/m.test(event)) verdict = JSON.parse(data) as Json;
      else if (!/^event:/m.test(event)) frames.push(JSON.parse(data) as Frame);
      if (enough(frames)) return { frames, verdict };
    }
  }
  return { frames, verdict };
}

const stopped = (frames: readonly Frame[]): boolean => frames.some((frame) => frame.type === "stop");
const textOf = (frames: readonly Frame[]): string =>
  frames.flatMap((frame) => (frame.type === "text.delta" ? [frame.text] : [])).join("");

test("a prompt becomes typed frames, numbered from one without a hole", async () => {
  await using w = await world();
  const session = await create(w.box);
  const sent = await w.box.call("POST", `/api/sessions/${session}/input`, { text: "say hello", id: "a1" });
  assert.equal(sent.status, 200);
  assert.equal(sent.body["state"], "accepted");
  const { frames, verdict } = await follow(w.box, session, 1, stopped);
  assert.equal(verdict["verdict"], "ok");
  assert.deepEqual(
    frames.map((frame) => frame.seq),
    frames.map((_, i) => i + 1),
  );
  assert.equal(textOf(frames), "You said: hello\nBye.");
  const states = frames.flatMap((frame) => (frame.type === "input" ? [frame.state] : []));
  assert.deepEqual(states, ["accepted", "delivered"]);
  const usage = frames.find((frame) => frame.type === "usage");
  assert.ok(usage?.type === "usage");
  assert.equal(usage.input, 7);
  assert.ok(frames.some((frame) => frame.type === "status" && frame.state === "working"));
  const again = await w.box.call("POST", `/api/sessions/${session}/input`, { text: "say hello", id: "a1" });
  assert.equal(again.body["duplicate"], true);
  assert.equal(again.body["input"], sent.body["input"]);
  const other = await w.box.call("POST", `/api/sessions/${session}/input`, { text: "something else", id: "a1" });
  assert.equal(other.status, 409);
});

for (const version of [PINNED, JS_VERSION]) {
  const skip = (await offlineReason(version)) ?? false;
  test(`after kill -9 the same session goes on at the frame where the reader stopped (${version})`, {
    skip,
  }, async () => {
    await using w = await world(await claudeCommand(version));
    const session = await create(w.box);
    await w.box.call("POST", `/api/sessions/${session}/input`, { text: "say first", id: "1" });
    const before = await follow(w.box, session, 1, stopped);
    await w.box.end("SIGKILL");
    await w.box.start();
    const next = (before.frames.at(-1)?.seq ?? 0) + 1;
    const again = await w.box.call("POST", `/api/sessions/${session}/input`, { text: "say first", id: "1" });
    assert.equal(again.body["duplicate"], true);
    await w.box.call("POST", `/api/sessions/${session}/input`, { text: "say second", id: "2" });
    const after = await follow(w.box, session, next, (frames) => textOf(frames).includes("second") && stopped(frames));
    assert.equal(after.verdict["verdict"], "ok");
    assert.deepEqual(
      after.frames.map((frame) => frame.seq),
      after.frames.map((_, i) => next + i),
    );
    assert.equal(textOf(after.frames), "You said: second\nBye.");
    const prompts = JSON.stringify(w.model.requests.at(-1)?.messages);
    assert.equal(prompts.split("say first").length - 1, 1);
    assert.equal(prompts.split("say second").length - 1, 1);
  });
}

test("a session that was never spoken to survives a restart, too", async () => {
  await using w = await world();
  const session = await create(w.box);
  await follow(w.box, session, 1, (frames) =>
    frames.some((frame) => frame.type === "status" && frame.state === "idle"),
  );
  await w.box.end("SIGKILL");
  await w.box.start();
  const { status, body } = await w.box.call("POST", `/api/sessions/${session}/send`, { text: "say hello" });
  assert.equal(status, 200, JSON.stringify(body));
  assert.match(JSON.stringify(body["messages"]), /You said: hello/);
});

test("send waits for the end of the turn and brings the text", async () => {
  await using w = await world();
  const session = await create(w.box);
  const { status, body } = await w.box.call("POST", `/api/sessions/${session}/send`, { text: "say ping" });
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(
    (body["messages"] as { text: string }[]).map((message) => message.text).join(""),
    "You said: ping\nBye.",
  );
});

test("a tool that is running when the session is stopped leaves no process", async () => {
  await using w = await world();
  const session = await create(w.box);
  await w.box.call("POST", `/api/sessions/${session}/input`, { text: "run setsid sleep 987654 & sleep 987655" });
  await follow(w.box, session, 1, (frames) => frames.some((frame) => frame.type === "tool.use.start"));
  const { status } = await w.box.call("DELETE", `/api/sessions/${session}`);
  assert.equal(status, 200);
  assert.deepEqual(commandLines("98765"), []);
  const { frames } = await follow(w.box, session, 1, (all) =>
    all.some((frame) => frame.type === "status" && frame.state === "stopped"),
  );
  const started = frames.filter((frame) => frame.type === "tool.use.start").length;
  assert.equal(frames.filter((frame) => frame.type === "tool.use.result").length, started);
  assert.equal(frames.at(-1)?.type, "status");
});

test("after kill -9 of the daemon the next one ends what is left of its sessions", async () => {
  await using w = await world();
  const session = await create(w.box);
  await w.box.call("POST", `/api/sessions/${session}/input`, { text: "run setsid nohup sleep 876543" });
  await follow(w.box, session, 1, (frames) => frames.some((frame) => frame.type === "tool.use.start"));
  await w.box.end("SIGKILL");
  await w.box.start();
  assert.deepEqual(commandLines("876543"), []);
  const { frames } = await follow(w.box, session, 1, (all) =>
    all.some((frame) => frame.type === "stop" && frame.reason === "daemon_restart"),
  );
  const open =
    frames.filter((frame) => frame.type === "tool.use.start").length -
    frames.filter((frame) => frame.type === "tool.use.result").length;
  assert.equal(open, 0);
});

test("an interrupt ends the turn and the session takes the next text", async () => {
  await using w = await world();
  const session = await create(w.box);
  await w.box.call("POST", `/api/sessions/${session}/input`, { text: "count slowly" });
  await follow(w.box, session, 1, (frames) => textOf(frames).includes("line 3"));
  const { status, body } = await w.box.call("POST", `/api/sessions/${session}/interrupt`);
  assert.equal(status, 200, JSON.stringify(body));
  const { body: reply } = await w.box.call("POST", `/api/sessions/${session}/send`, { text: "say there" });
  assert.match(JSON.stringify(reply["messages"]), /You said: there/);
  const page = await w.box.call("GET", `/api/sessions/${session}/frames`);
  const stops = (page.body["frames"] as Frame[]).flatMap((frame) => (frame.type === "stop" ? [frame.reason] : []));
  assert.deepEqual(stops, ["interrupted", "end_turn"]);
});

/** Command lines of processes that hold this text, without our own. */
function commandLines(needle: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
      } catch {
        return "";
      }
    })
    .filter((line) => line.includes(needle) && !line.includes("node"));
}
