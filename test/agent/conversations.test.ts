/** Conversations: Claude's own talks on disk, as they are listed; and taken up by real Claude Code, whatever version. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { EDGE_BYTES, FIRST_PROMPT_CHARS, findConversation, listConversations } from "../../src/agent/conversations.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { startRig, textOf } from "./rig.ts";

interface Shelf extends Disposable {
  readonly root: string;
  /** Writes one talk, as old as `age` seconds. Returns its id. */
  put(age: number, lines: readonly object[] | string, options?: { folder?: string; name?: string }): string;
}

function shelf(): Shelf {
  const root = mkdtempSync(join(tmpdir(), "cib-talks-"));
  const now = Math.floor(Date.now() / 1000);
  return {
    root,
    put(age, lines, { folder = "-work", name } = {}) {
      const id = randomUUID();
      const file = join(root, folder, name ?? `${id}.jsonl`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(
        file,
        typeof lines === "string" ? lines : lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
      );
      utimesSync(file, now - age, now - age);
      return id;
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  };
}

const said = (content: string, cwd = "/work"): object => ({ type: "user", cwd, message: { role: "user", content } });
const ids = (page: { conversations: readonly { id: string }[] }): string[] => page.conversations.map(({ id }) => id);

test("talks are listed newest first, with where, what and when", async () => {
  using at = shelf();
  const old = at.put(100, [said("fix the bug")]);
  const young = at.put(10, [
    { type: "mode", mode: "normal" },
    said("write a poem\n about  the sea"),
    { type: "ai-title", aiTitle: "Sea" },
    { type: "custom-title", customTitle: "Ocean" },
    { type: "ai-title", aiTitle: "Seas" },
  ]);
  const { conversations, cursor } = await listConversations(at.root, { limit: 10 });
  assert.equal(cursor, undefined);
  assert.deepEqual(ids({ conversations }), [young, old]);
  const [first] = conversations;
  assert.ok(first);
  const { updated_at, bytes, ...rest } = first;
  assert.deepEqual(rest, {
    id: young,
    workdir: "/work",
    title: "Ocean",
    first_prompt: "write a poem about the sea",
  });
  assert.ok(Math.abs(Date.now() - 10_000 - updated_at) < 5_000);
  assert.ok(bytes > 100);
});

test("pages follow each other without a gap or a double, also while newer talks come", async () => {
  using at = shelf();
  const all = [];
  for (let age = 1; age <= 25; age++) all.push(at.put(age - (age % 3), [said(`talk ${age}`)]));
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await listConversations(at.root, { limit: 4, cursor });
    seen.push(...ids(page));
    cursor = page.cursor;
    at.put(-60, [said("newer")]);
  } while (cursor !== undefined);
  assert.equal(seen.length, 25);
  assert.deepEqual([...seen].sort(), all.sort());
  await assert.rejects(listConversations(at.root, { limit: 4, cursor: "nonsense" }), { code: "bad_request" });
});

test("what is no talk is passed over: subagents, settings only, damage, links, pipes, folders, excluded ones", async () => {
  using at = shelf();
  const good = at.put(50, [said("good")]);
  const ours = at.put(1, [said("one of the box's own sessions")]);
  at.put(2, [{ type: "mode", mode: "normal", cwd: "/work" }]);
  at.put(3, [{ type: "user", isSidechain: true, cwd: "/work", message: { role: "user", content: "for a subagent" } }]);
  at.put(4, "not json at all\n");
  at.put(5, "");
  at.put(6, [said("nowhere", "relative/path")]);
  at.put(7, [said("an agent")], { name: "agent-0123abcd.jsonl" });
  at.put(8, [said("an agent")], { folder: `-work/${good}/subagents`, name: `${randomUUID()}.jsonl` });
  mkdirSync(join(at.root, "-work", `${randomUUID()}.jsonl`));
  symlinkSync(join(at.root, "-work", `${good}.jsonl`), join(at.root, "-work", `${randomUUID()}.jsonl`));
  symlinkSync(join(at.root, "-work"), join(at.root, "-linked"));
  execFileSync("mkfifo", [join(at.root, "-work", `${randomUUID()}.jsonl`)]);
  writeFileSync(join(at.root, `${randomUUID()}.jsonl`), "beside the folders");
  const page = await listConversations(at.root, { limit: 10, except: new Set([ours]) });
  assert.deepEqual(ids(page), [good]);
  assert.deepEqual(await listConversations(join(at.root, "nothing"), { limit: 10 }), { conversations: [] });
});

test("of a huge file only its ends are read", async () => {
  using at = shelf();
  const id = at.put(0, [said("begin")]);
  const file = join(at.root, "-work", `${id}.jsonl`);
  // A hole: 4 GiB that take no room, and a last line behind them.
  truncateSync(file, 4 * 1024 ** 3);
  writeFileSync(file, `\n${JSON.stringify({ type: "ai-title", aiTitle: "Huge" })}\n`, { flag: "a" });
  const started = performance.now();
  const [talk] = (await listConversations(at.root, { limit: 1 })).conversations;
  assert.ok(performance.now() - started < 2_000);
  assert.equal(talk?.first_prompt, "begin");
  assert.equal(talk?.title, "Huge");
  assert.ok((talk?.bytes ?? 0) > 4 * 1024 ** 3);
});

test("a first prompt too long for the head is left empty, a long one is cut at whole characters", async () => {
  using at = shelf();
  const deep = at.put(1, [said("x".repeat(EDGE_BYTES)), said("later")]);
  const long = at.put(2, [said("🦀".repeat(500))]);
  const { conversations } = await listConversations(at.root, { limit: 5 });
  assert.deepEqual(ids({ conversations }), [deep, long]);
  assert.equal(conversations[0]?.first_prompt, "");
  const prompt = conversations[1]?.first_prompt ?? "";
  assert.equal([...prompt].length, FIRST_PROMPT_CHARS);
  assert.ok(prompt.isWellFormed() && prompt.endsWith("…"));
});

test("the working directory is the one that the folder is named after", async () => {
  using at = shelf();
  const id = at.put(1, [said("one", "/work/sub"), said("two", "/work")]);
  assert.equal((await findConversation(at.root, id))?.workdir, "/work");
  assert.equal((await findConversation(at.root, id))?.file, join(at.root, "-work", `${id}.jsonl`));
  assert.equal(await findConversation(at.root, randomUUID()), undefined);
  for (const id of ["../-work/x", "", "%", `${"a".repeat(36)}`])
    assert.equal(await findConversation(at.root, id), undefined);
});

for (const version of ALL_VERSIONS) {
  describe(`a talk of ${version}`, async () => {
    const skip = (await offlineReason(version)) ?? false;

    test("is found, goes on and is forked, and its past is not told again", { skip }, async () => {
      const script = ({ messages, last }: { messages: readonly unknown[]; last: string }) => ({
        blocks: [{ text: `${JSON.stringify(messages).includes("alpha") ? "knows" : "new"} ${last}\n` }],
      });
      await using first = await startRig({ version, script });
      await first.turn("remember alpha");
      await first.agent.stop("term");
      const { projectsDir, conversation, workdir } = first.spec;
      const listed = await listConversations(projectsDir, { limit: 5 });
      assert.deepEqual(
        listed.conversations.map((talk) => [talk.id, talk.workdir, talk.first_prompt]),
        [[conversation, workdir, "remember alpha"]],
      );
      const found = await findConversation(projectsDir, conversation);
      assert.equal(found?.workdir, workdir);

      // As a session that never read it: no position, nothing seen.
      const adopted = { conversation, start: "resume" as const, projectsDir };
      {
        await using again = await startRig({ version, script, base: first.base, spec: adopted });
        assert.equal(textOf(again.frames), "");
        const told = await again.turn("go on");
        assert.equal(textOf(told), "knows go on\n");
        assert.equal(again.of("stop").length, 1);
        assert.equal(again.of("usage").length, 1);
        await again.agent.stop("term");
      }
      const copy = randomUUID();
      {
        const spec = { conversation: copy, start: { fork: conversation }, projectsDir };
        await using fork = await startRig({ version, script, base: first.base, spec });
        const told = await fork.turn("and now");
        assert.equal(textOf(fork.frames), textOf(told));
        assert.equal(textOf(told), "knows and now\n");
        assert.equal(fork.of("stop").length, 1);
        await fork.agent.stop("term");
      }
      const both = await listConversations(projectsDir, { limit: 5 });
      assert.deepEqual(ids(both), [copy, conversation]);
      assert.ok(both.conversations.every((talk) => talk.first_prompt === "remember alpha" && talk.workdir === workdir));
    });
  });
}
