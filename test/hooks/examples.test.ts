/** The rules and scripts of docs/HOOKS.md, as they stand there, at work in a session. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseRules, type Rule } from "../../src/hooks/rules.ts";
import type { Session } from "../../src/session/session.ts";
import { Webhooks } from "../../src/session/webhooks.ts";
import { framesOf, until, World } from "../session/world.ts";

const DOCS = fileURLToPath(new URL("../../docs/", import.meta.url));

/** Every rule in the document; paths and addresses of its reader become those of the test. */
function rules(change: Readonly<Record<string, string>> = {}): Map<string, Rule> {
  const text = readFileSync(join(DOCS, "HOOKS.md"), "utf8");
  const all = Array.from(text.matchAll(/```json\n([\s\S]*?)```/g), ([, block = ""]) => {
    const moved = { "/etc/claude-in-box/hooks/": join(DOCS, "hooks/"), ...change };
    const here = Object.entries(moved).reduce((sum, [from, to]) => sum.replaceAll(from, to), block);
    return parseRules(JSON.parse(here));
  }).flat();
  // A loaded machine may need longer to start node than a reader's.
  return new Map(all.map((rule) => [rule.name, rule.run ? { ...rule, timeout_ms: 30_000 } : rule]));
}

function rule(name: string, change?: Readonly<Record<string, string>>): Rule {
  const found = rules(change).get(name);
  assert.ok(found, name);
  return found;
}

const of = <T extends string>(session: Session, type: T) => framesOf(session).filter((frame) => frame.type === type);

test("there is nothing in the document that is not tested here", () => {
  assert.deepEqual([...rules().keys()], ["redact", "no rm -rf", "claude waits", "log"]);
});

test("secrets never reach a client, nor Claude from a tool's result", async () => {
  await using world = await World.open();
  const session = await world.create({ hooks: [rule("redact")] });
  const agent = world.engine.agent(session.id);
  agent.tell({ type: "text.delta", text: "it is sk-12345", message: "m" });
  agent.tell({ type: "text.delta", text: "6789 there\n", message: "m" });
  const output = { stdout: "key=ghp_0123456789abcdefghij\n", stderr: "", interrupted: false, isImage: false };
  const judged = await agent.judge({ on: "result", id: "t", tool: "Bash", input: {}, output });
  assert.deepEqual(judged, { do: "rewrite", output: { ...output, stdout: "key=[secret]\n" } });
  agent.finish();
  await until(() => of(session, "stop").length > 0, "the end of the turn");
  assert.match(JSON.stringify(of(session, "text.delta")), /it is \[secret\] there/);
  assert.doesNotMatch(JSON.stringify(framesOf(session)), /sk-12345|6789|ghp_/);
  assert.equal(session.hooks.hidesTerminal, true);
});

test("rm -rf does not run, and Claude is told why", async () => {
  await using world = await World.open();
  const session = await world.create({ hooks: [rule("no rm -rf")] });
  const agent = world.engine.agent(session.id);
  const judge = (command: string) => agent.judge({ on: "tool", id: "t", tool: "Bash", input: { command } });
  assert.deepEqual(await judge("cd /srv && rm -v -rf data"), {
    do: "deny",
    reason: "no rm -rf: rm -rf is not allowed here: move it to /tmp/trash instead",
  });
  assert.deepEqual(await judge("rm one-file"), { do: "pass" });
  assert.equal(session.hooks.hidesTerminal, false);
});

test("a phone rings when Claude waits", async () => {
  const rung: { body: string; headers: Record<string, unknown> }[] = [];
  const server = createServer((req, res) => {
    let body = "";
    req.setEncoding("utf8").on("data", (text: string) => {
      body += text;
    });
    req.on("end", () => {
      rung.push({ body, headers: req.headers });
      res.end();
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  try {
    await using world = await World.open();
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/my-box`;
    const session = await world.create({
      title: "Garden",
      hooks: [rule("claude waits", { "https://ntfy.sh/my-box": url })],
    });
    await using webhooks = new Webhooks({
      file: join(world.data, "webhooks.json"),
      hooks: world.hooks,
      fault: (_, thrown) => assert.fail(String(thrown)),
    });
    webhooks.follow(session);
    world.engine.agent(session.id).tell({
      type: "ask.question",
      id: "t/1",
      of: 1,
      kind: "question",
      prompt: "Roses or tulips?",
      options: [],
      multiSelect: false,
    });
    await until(() => of(session, "hook").length > 0, "the delivery");
    assert.equal(rung.length, 1);
    assert.equal(rung[0]?.body, "Garden: Roses or tulips?");
    const { title, priority, "content-type": type, "x-cib-frame": id } = rung[0]?.headers ?? {};
    assert.deepEqual([title, priority, type], ["Claude waits", "high", "text/plain"]);
    assert.equal(id, `${session.id}:${of(session, "ask.question")[0]?.seq}`);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
});

test("everything goes into a file", async () => {
  await using world = await World.open();
  const file = join(world.folder, "events.jsonl");
  const session = await world.create({ hooks: [rule("log", { "/tmp/claude-events.jsonl": file })] });
  world.engine.agent(session.id).finish();
  const events = () =>
    existsSync(file)
      ? readFileSync(file, "utf8")
          .trim()
          .split("\n")
          .map((line) => (JSON.parse(line) as { event: string }).event)
      : [];
  await session.stop("term", { wanted: false, reason: "stopped" });
  await session.log.sync();
  const logged = framesOf(session)
    .map(({ type }) => type)
    .filter((type) => type !== "hook");
  assert.deepEqual(events(), logged);
  assert.equal(logged.at(-1), "status");
});
