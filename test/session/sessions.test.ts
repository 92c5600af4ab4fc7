/** The list of sessions: what it takes to create one, where it may work, and what a restart finds. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CibError } from "../../src/errors.ts";
import { newSessionId } from "../../src/session/meta.ts";
import { framesOf, refused, World } from "./world.ts";

describe("a creation", () => {
  test("that fails leaves nothing behind", async () => {
    await using w = await World.open();
    for (let i = 0; i < 20; i++) {
      w.engine.refusesStart = new CibError("claude_failed", "not installed");
      await assert.rejects(w.create({ title: "never" }), refused("claude_failed"));
    }
    assert.deepEqual(w.sessions.all(), []);
    assert.deepEqual(readdirSync(join(w.data, "sessions")), []);
    assert.deepEqual(w.faults, []);
    const id = w.engine.starts.at(-1)?.session;
    assert.ok(id);
    assert.throws(() => w.sessions.get(id), refused("not_found"));
  });

  test("that nothing would pay for does not come to be", async () => {
    await using w = await World.open();
    await assert.rejects(w.create({ auth: "api_key" }), refused("conflict", /needs a key/));
    assert.deepEqual(readdirSync(join(w.data, "sessions")), []);
  });

  test("is durable and private before Claude starts, and begins its log with what it is", async () => {
    await using w = await World.open();
    const session = await w.create({ title: "lamp", effort: "low", model: "sonnet", by: "phone" });
    assert.equal(statSync(join(w.data, "sessions", session.id)).mode & 0o777, 0o700);
    assert.equal(statSync(w.file(session.id, "meta.json")).mode & 0o777, 0o600);
    await session.log.sync();
    const [first] = framesOf(session);
    assert.deepEqual(
      { ...first, ts: 0 },
      {
        session: session.id,
        seq: 1,
        ts: 0,
        type: "meta",
        model: "sonnet",
        workdir: realpathSync(w.workspace),
        engine: "pty",
        auth: "subscription",
        title: "lamp",
        effort: "low",
      },
    );
    assert.equal(session.meta.by, "phone");
  });
});

describe("a workdir", () => {
  const workdirOf = async (w: World, workdir?: string): Promise<string> =>
    (await w.create(workdir === undefined ? {} : { workdir })).meta.workdir;

  test("is the workspace itself, or a folder in it that is made when missing", async () => {
    await using w = await World.open();
    const root = realpathSync(w.workspace);
    assert.equal(await workdirOf(w), root);
    assert.equal(await workdirOf(w, "."), root);
    assert.equal(await workdirOf(w, "a/b/../c"), join(root, "a/c"));
    assert.equal(await workdirOf(w, join(root, "absolute")), join(root, "absolute"));
    assert.equal(await workdirOf(w, "..name"), join(root, "..name"));
    assert.ok(statSync(join(root, "a/c")).isDirectory());
  });

  test("outside the workspace is refused and not made", async () => {
    await using w = await World.open();
    for (const workdir of [
      "..",
      "../beside",
      "a/../../beside",
      w.folder,
      "/",
      join(w.workspace, "..", "workspace-2"),
    ]) {
      await assert.rejects(workdirOf(w, workdir), refused("bad_request", /^workdir: outside the workspace/), workdir);
    }
    assert.deepEqual(readdirSync(w.folder).sort(), ["data", "workspace"]);
  });

  test("that a link leads out of the workspace is refused, and nothing is made out there", async () => {
    await using w = await World.open();
    const outside = join(w.folder, "outside");
    mkdirSync(join(outside, "deep"), { recursive: true });
    symlinkSync(outside, join(w.workspace, "out"));
    symlinkSync(join(w.folder, "missing"), join(w.workspace, "dangling"));
    for (const workdir of ["out", "out/deep", "out/new", "out/new/er", "dangling", "dangling/x"]) {
      await assert.rejects(workdirOf(w, workdir), refused("bad_request", /^workdir: leads outside/), workdir);
    }
    assert.deepEqual(readdirSync(outside), ["deep"]);
    assert.equal(existsSync(join(w.folder, "missing")), false);
  });

  test("behind a link that stays inside is taken by its real name", async () => {
    await using w = await World.open();
    mkdirSync(join(w.workspace, "real"));
    symlinkSync(join(w.workspace, "real"), join(w.workspace, "link"));
    assert.equal(await workdirOf(w, "link/new"), join(realpathSync(w.workspace), "real/new"));
  });

  test("that is a file is refused", async () => {
    await using w = await World.open();
    writeFileSync(join(w.workspace, "file"), "");
    for (const workdir of ["file", "file/below"]) {
      await assert.rejects(workdirOf(w, workdir), refused("bad_request", /^workdir: not a folder/), workdir);
    }
  });
});

describe("a restart", () => {
  test("finds every session, and tells those that it cannot read without losing the others", async () => {
    await using w = await World.open();
    const [good, broken, other] = [(await w.create()).id, (await w.create()).id, (await w.create()).id];
    await w.stop();
    writeFileSync(w.file(broken, "meta.json"), "{");
    mkdirSync(join(w.data, "sessions", "not-a-session"));
    const none = newSessionId();
    mkdirSync(join(w.data, "sessions", none));
    await w.start();
    assert.deepEqual(
      w.sessions
        .all()
        .map(({ id }) => id)
        .sort(),
      [good, other].sort(),
    );
    assert.deepEqual(w.faults.map(([where]) => where).sort(), [`session ${broken}`, `session ${none}`].sort());
    for (const [where, thrown] of w.faults) {
      const path = join(w.data, "sessions", where.replace("session ", ""));
      const { message } = thrown as Error;
      assert.ok(message.startsWith(`${path}/meta.json: not understood (`), message);
      assert.ok(message.endsWith(`restore the file from a backup, or move the folder ${path} away`), message);
    }
    assert.equal(existsSync(join(w.data, "sessions", broken)), true, "left alone for a person to look at");
  });

  test("tells of a log that is not as it was left, and goes on behind what it knew", async () => {
    await using w = await World.open();
    const { id } = await w.create();
    await w.stop();
    const state = JSON.parse(readFileSync(w.file(id, "log.json"), "utf8")) as { clean: { seq: number } };
    writeFileSync(w.file(id, "transcript.jsonl"), "");
    await w.start();
    const told = w.faults.find(([where]) => where === `log ${id}`)?.[1] as Error;
    assert.match(told.message, /transcript\.jsonl is not as it was left.*are told the gap/);
    assert.ok(w.sessions.get(id).log.first > state.clean.seq);
  });
});
