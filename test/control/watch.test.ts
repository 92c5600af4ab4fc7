import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionInfo } from "../../src/control/control.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { until } from "../session/world.ts";
import { ControlWorld } from "./world.ts";

class Seen {
  readonly changes: SessionInfo[] = [];
  readonly gone: SessionId[] = [];
  changed(session: SessionInfo): void {
    this.changes.push(session);
  }
  get last(): SessionInfo | undefined {
    return this.changes.at(-1);
  }
  get watcher() {
    return { changed: (s: SessionInfo) => this.changed(s), gone: (id: SessionId) => this.gone.push(id) };
  }
}

test("a watcher is told of what is there, what comes and what changes, once a turn", async () => {
  await using world = await ControlWorld.open();
  const old = await world.inner.create({ title: "old" });
  const seen = new Seen();
  using _ = world.control.watch(world.master, seen.watcher);
  assert.equal(seen.changes.length, 0);
  await until(() => seen.changes.length > 0, "the first word");
  assert.deepEqual(
    seen.changes.map(({ session }) => session),
    [old.id],
  );
  const fresh = await world.inner.create({ title: "fresh" });
  await until(() => seen.last?.["title"] === "fresh", "the new one");
  const ofFresh = () => seen.changes.filter(({ session }) => session === fresh.id);
  const before = ofFresh().length;
  const notes = fresh.log.last + 5;
  for (let i = 0; i < 5; i++) fresh.append({ type: "meta", note: `note ${i}` });
  await until(() => Number(ofFresh().at(-1)?.["last"]) >= notes, "its change");
  assert.ok(ofFresh().length <= before + 2, "five frames of one turn are one change; another may have been due");
});

test("a watcher that may see one session is told of no other, and one that has left of nothing", async () => {
  await using world = await ControlWorld.open();
  const [one, other] = [await world.inner.create(), await world.inner.create()];
  const bound = new Seen();
  const all = new Seen();
  using _ = world.control.watch(world.device(["sessions:read"], { sessions: [one.id] }), bound.watcher);
  const watching = world.control.watch(world.master, all.watcher);
  await until(() => bound.changes.length > 0, "its own");
  other.append({ type: "meta", note: "not for it" });
  one.append({ type: "meta", note: "for it" });
  await until(() => bound.changes.length > 1, "the change");
  assert.deepEqual([...new Set(bound.changes.map(({ session }) => session))], [one.id]);
  watching[Symbol.dispose]();
  const count = all.changes.length;
  one.append({ type: "meta", note: "again" });
  await until(() => bound.changes.length > 2, "the next change");
  assert.equal(all.changes.length, count);
});

test("watching needs sessions:read, and a revoked token is told no more", async () => {
  await using world = await ControlWorld.open();
  const session = await world.inner.create();
  assert.throws(() => world.control.watch(world.device(["tokens:write"]), new Seen().watcher), { code: "forbidden" });
  const who = world.device(["sessions:read"]);
  const seen = new Seen();
  const control = new Seen();
  using _ = world.control.watch(who, seen.watcher);
  using __ = world.control.watch(world.master, control.watcher);
  await until(() => seen.changes.length === 1, "the first word");
  world.tokens.revoke(who.name);
  session.append({ type: "meta", note: "after" });
  await until(() => control.changes.length > 1, "the change");
  assert.equal(seen.changes.length, 1);
});

test("a session that could not start is gone for who was told of it", async () => {
  await using world = await ControlWorld.open();
  const seen = new Seen();
  using _ = world.control.watch(world.master, seen.watcher);
  world.inner.engine.start = () => Promise.reject(new Error("no such program"));
  await assert.rejects(world.inner.create());
  assert.equal(seen.gone.length, 1);
});

test("a fault while a session is read costs the watchers one moment, not the session", async () => {
  await using world = await ControlWorld.open();
  const session = await world.inner.create();
  const seen = new Seen();
  using _ = world.control.watch(world.master, seen.watcher);
  await until(() => seen.changes.length > 0, "the first word");
  const { log } = session;
  const whole = log.take.bind(log);
  let broke = 0;
  log.take = () => {
    broke++;
    throw new Error("a disk that does not answer");
  };
  session.append({ type: "meta", note: "unread" });
  await until(() => broke > 0, "the fault");
  log.take = whole;
  session.append({ type: "meta", note: "read" });
  await until(() => Number(seen.last?.["last"]) >= log.last, "the change");
  session.append({ type: "meta", note: "and the next" });
  await until(() => Number(seen.last?.["last"]) >= log.last, "the next change");
  assert.ok(broke < 5, `${broke} tries`);
});
