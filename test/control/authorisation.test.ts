/** Authorisation: which token may do what, as a table made from the commands and their scopes. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { COMMANDS, type CommandName } from "../../src/control/commands.ts";
import { Recorder } from "../session/recorder.ts";
import { refused } from "../session/world.ts";
import { casesFor, NOBODY } from "./cases.ts";
import { ControlWorld, type Fields } from "./world.ts";

const names = Object.keys(COMMANDS) as CommandName[];
const GATE = ["forbidden", "unauthorized"];

describe("every command", async () => {
  for (const cmd of names) {
    test(`${cmd} passes with exactly its scopes and is forbidden without any one of them`, async () => {
      await using world = await ControlWorld.open();
      const session = await world.inner.create();
      for (const { args, more = [] } of casesFor(session.id)[cmd]) {
        const needed: Scope[] = [...COMMANDS[cmd].scope, ...more];
        for (const missing of needed) {
          const who = world.device(SCOPES.filter((scope) => scope !== missing));
          const { code, message } = await world.outcome(who, { cmd, ...args });
          assert.equal(code, "forbidden", `${JSON.stringify(args)} without ${missing}: ${code}`);
          assert.ok(message.includes(missing), message);
        }
        const { code } = await world.outcome(world.device(needed), { cmd, ...args });
        assert.equal(GATE.includes(code), false, `${JSON.stringify(args)}: ${code}`);
      }
    });

    test(`${cmd} is refused to a token that has ended`, async () => {
      await using world = await ControlWorld.open();
      const session = await world.inner.create();
      const who = world.device();
      world.tokens.revoke(who.name);
      for (const { args } of casesFor(session.id)[cmd]) {
        const { code, message } = await world.outcome(who, { cmd, ...args });
        assert.equal(code, "unauthorized", JSON.stringify(args));
        assert.match(message, /revoked/);
      }
    });
  }
});

describe("a token bound to one session", () => {
  test("sees another one as little as one that does not exist, in every command", async () => {
    await using world = await ControlWorld.open();
    const [mine, other] = [await world.inner.create(), await world.inner.create()];
    const who = world.device(SCOPES, { sessions: [mine.id] });
    const [foreign, none] = [casesFor(other.id), casesFor(NOBODY)];
    let looked = 0;
    for (const cmd of names) {
      for (const [i, { args }] of foreign[cmd].entries()) {
        if (!JSON.stringify(args).includes(other.id) || "fork" in args) continue;
        looked++;
        const seen = await world.outcome(who, { cmd, ...args });
        assert.deepEqual(seen, { code: "not_found", message: `no session ${other.id}` }, cmd);
        const empty = await world.outcome(who, { cmd, ...none[cmd][i]?.args });
        assert.deepEqual(empty, { code: "not_found", message: `no session ${NOBODY}` }, cmd);
      }
    }
    assert.ok(looked >= 12, `${looked} commands name a session`);
    for (const pty of [false, true]) {
      assert.throws(() => world.control.attach(who, { session: other.id, pty }, new Recorder()), refused("not_found"));
    }
    assert.equal(other.running, true);
    assert.deepEqual(world.inner.engine.prompts(other.id), []);
  });

  test("works with its own", async () => {
    await using world = await ControlWorld.open();
    const [mine] = [await world.inner.create(), await world.inner.create()];
    const who = world.device(SCOPES, { sessions: [mine.id] });
    const { sessions } = await world.run(who, { cmd: "sessions.list" });
    assert.deepEqual(
      (sessions as Fields[]).map((each) => each["session"]),
      [mine.id],
    );
    assert.equal((await world.run(who, { cmd: "send", session: mine.id, text: "hi" }))["reason"], "end_turn");
    await world.run(who, { cmd: "sessions.stop", session: mine.id });
    const again = await world.run(who, { cmd: "sessions.create", resume: mine.id });
    assert.equal(again["session"], mine.id);
    world.control.attach(who, { session: mine.id, pty: true }, new Recorder())[Symbol.dispose]();
  });

  test("cannot create sessions, nor fork its own", async () => {
    await using world = await ControlWorld.open();
    const mine = await world.inner.create();
    const who = world.device(SCOPES, { sessions: [mine.id] });
    await assert.rejects(world.run(who, { cmd: "sessions.create" }), refused("forbidden", /bound to sessions/));
    await assert.rejects(world.run(who, { cmd: "sessions.create", fork: mine.id }), refused("forbidden", /bound/));
    assert.equal(world.inner.sessions.all().length, 1);
  });
});

describe("following", () => {
  test("needs sessions:read, and pty:read for the terminal", async () => {
    await using world = await ControlWorld.open();
    const { id } = await world.inner.create();
    const reader = world.device(["sessions:read"]);
    world.control.attach(reader, { session: id }, new Recorder())[Symbol.dispose]();
    assert.throws(
      () => world.control.attach(reader, { session: id, pty: true }, new Recorder()),
      refused("forbidden", /pty:read/),
    );
    const lane = world.device(["pty:read"]);
    assert.throws(
      () => world.control.attach(lane, { session: id, pty: true }, new Recorder()),
      refused("forbidden", /sessions:read/),
    );
    assert.throws(
      () => world.control.attach(reader, { session: id, from: -1 }, new Recorder()),
      refused("bad_request", /from/),
    );
    assert.throws(() => world.control.attach(reader, { session: NOBODY }, new Recorder()), refused("not_found"));
  });
});

describe("minted tokens", () => {
  const mint = { cmd: "tokens.create", label: "child", scopes: ["sessions:read"] };

  test("have at most the scopes of their maker", async () => {
    await using world = await ControlWorld.open();
    const who = world.device(["tokens:write", "sessions:read"]);
    await assert.rejects(
      world.run(who, { ...mint, scopes: ["sessions:read", "pty:write"] }),
      refused("forbidden", /pty:write/),
    );
    const { token } = await world.run(who, { ...mint, scopes: ["sessions:read", "sessions:read"] });
    assert.deepEqual([...world.enter(String(token)).scopes], ["sessions:read"]);
    assert.deepEqual(world.tokens.list().at(-1)?.scopes, ["sessions:read"]);
  });

  test("inherit the sessions of their maker, and may be bound more tightly but not elsewhere", async () => {
    await using world = await ControlWorld.open();
    const [one, two, three] = [await world.inner.create(), await world.inner.create(), await world.inner.create()];
    const who = world.device(["tokens:write", "sessions:read"], { sessions: [one.id, two.id] });
    const sessionsOf = (token: unknown): readonly string[] => [...(world.enter(String(token)).sessions ?? [])];
    assert.deepEqual(sessionsOf((await world.run(who, mint))["token"]), [one.id, two.id]);
    assert.deepEqual(sessionsOf((await world.run(who, { ...mint, sessions: [two.id] }))["token"]), [two.id]);
    await assert.rejects(
      world.run(who, { ...mint, sessions: [one.id, three.id] }),
      refused("not_found", new RegExp(three.id)),
    );
    const bound = await world.run(world.master, { ...mint, sessions: [three.id] });
    assert.deepEqual(sessionsOf(bound["token"]), [three.id]);
  });

  test("expire with their maker at the latest", async () => {
    await using world = await ControlWorld.open();
    const end = world.inner.now + 60_000;
    const who = world.device(["tokens:write", "sessions:read"], { expires_at: end });
    const expiry = async (fields: Fields, maker = who) =>
      world.enter(String((await world.run(maker, { ...mint, ...fields }))["token"])).expiresAt;
    assert.equal(await expiry({}), end);
    assert.equal(await expiry({ ttl_s: 3600 }), end);
    assert.equal(await expiry({ ttl_s: 10 }), world.inner.now + 10_000);
    assert.equal(await expiry({}, world.master), undefined);
  });

  test("end with their maker, however far down", async () => {
    await using world = await ControlWorld.open();
    const scopes = ["tokens:write", "tokens:read", "sessions:read"];
    const made = await world.run(world.master, { ...mint, scopes });
    const parent = world.enter(String(made["token"]));
    const child = world.enter(String((await world.run(parent, { ...mint, scopes }))["token"]));
    const grandchild = world.enter(String((await world.run(child, { ...mint, scopes }))["token"]));
    await world.run(world.master, { cmd: "tokens.revoke", token: parent.name });
    for (const who of [parent, child, grandchild]) {
      assert.equal(who.ended.reason, "revoked");
      await assert.rejects(world.run(who, { cmd: "health" }), refused("unauthorized", /revoked/));
    }
    assert.deepEqual(world.tokens.list(), []);
  });

  test("do not come to be when their maker ends while they are made", async () => {
    await using world = await ControlWorld.open();
    const who = world.device(["tokens:write", "sessions:read"]);
    const making = world.run(who, { ...mint, id: "1" });
    world.tokens.revoke(who.name);
    await assert.rejects(making, refused("unauthorized", /revoked/));
    assert.deepEqual(world.tokens.list(), []);
  });

  test("are seen and revoked by those above them and by nobody beside", async () => {
    await using world = await ControlWorld.open();
    const scopes: Scope[] = ["tokens:write", "tokens:read", "sessions:read"];
    const [one, two] = [world.device(scopes), world.device(scopes)];
    const child = await world.run(one, { ...mint, scopes });
    const inner = await world.run(world.enter(String(child["token"])), mint);
    const listed = async (who: typeof one): Promise<unknown[]> =>
      ((await world.run(who, { cmd: "tokens.list" }))["tokens"] as Fields[]).map((token) => token["id"]);
    assert.deepEqual(await listed(one), [one.name, child["id"], inner["id"]]);
    assert.deepEqual(await listed(two), [two.name]);
    assert.equal((await listed(world.master)).length, 4);
    await assert.rejects(world.run(two, { cmd: "tokens.revoke", token: child["id"] }), refused("not_found"));
    await assert.rejects(world.run(two, { cmd: "tokens.revoke", token: "0".repeat(16) }), refused("not_found"));
    assert.deepEqual(await world.run(one, { cmd: "tokens.revoke", token: inner["id"] }), {
      id: inner["id"],
      revoked: true,
    });
    assert.deepEqual(await listed(one), [one.name, child["id"]]);
  });

  test("a revocation whose key could not be taken off the disk is finished by its repeat, by whoever may", async () => {
    await using world = await ControlWorld.open();
    const above = world.device(["tokens:write", "sessions:read"]);
    const beside = world.device(["tokens:write", "sessions:read"]);
    const { id } = await world.run(above, { ...mint, scopes: ["sessions:read"], device: true });
    const revoke = { cmd: "tokens.revoke", token: id };
    const file = join(world.inner.data, "devices.json");
    const kept = readFileSync(file);
    // A folder in its place: nothing can be renamed over it.
    rmSync(file);
    mkdirSync(file);
    await assert.rejects(world.run(above, revoke));
    await assert.rejects(world.run(above, revoke), "still not");
    assert.ok(!world.tokens.has(String(id)), "it has ended all the same");
    rmdirSync(file);
    writeFileSync(file, kept);
    await assert.rejects(world.run(beside, revoke), refused("not_found"));
    assert.deepEqual(await world.run(above, revoke), { id, revoked: true });
    assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), { v: 1, devices: [] });
    await assert.rejects(world.run(above, revoke), refused("not_found"));
  });

  test("are listed without their hash", async () => {
    await using world = await ControlWorld.open();
    const { token } = await world.run(world.master, mint);
    const listed = JSON.stringify(await world.run(world.master, { cmd: "tokens.list" }));
    assert.equal(listed.includes("hash"), false);
    // The secret is what follows the id; it may hold underscores itself.
    const [, secret = "?"] = /^[^_]+_[^_]+_(.+)$/.exec(String(token)) ?? [];
    assert.equal(listed.includes(secret), false);
  });
});
