/** The C client as a device runs it, over every carrier, at the real daemon: follows, asks once, answers, comes back, gives up. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { TYPES } from "../../src/frame/registry.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";
import { built } from "./built.ts";
import { type Carrier, environment } from "./c-way.ts";
import { Line } from "./line.ts";
import { hexOf, Program } from "./program.ts";
import { Watch } from "./watch.ts";

const CARRIERS: readonly Carrier[] = ["tcp", "http", "mqtt", "mqtt-sealed"];
/** Past every silence that a client bears (90 s on a link, 45 s in a request or over MQTT). */
const TOO_LONG_MS = 91_000;

const text = (value: string) => ({ type: "text.delta", text: value }) as const satisfies FrameBody;
const hex = (value: string) => Buffer.from(value).toString("hex");
const permission = (call: string) =>
  ({
    type: "ask.question",
    id: `${call}/0`,
    of: 1,
    kind: "permission",
    prompt: "Allow Bash?",
    options: [{ label: "Allow" }, { label: "Deny" }],
    multiSelect: false,
    tool: "Bash",
    input: { command: "rm -rf build" },
    summary: "rm -rf build",
  }) as const satisfies FrameBody;

interface Token {
  readonly id: string;
  readonly token: string;
  readonly key: DeviceKey;
}

/** A world, a line to one carrier of it, and programs at its end. */
class Desk implements AsyncDisposable {
  readonly world: World;
  readonly line: Line;
  readonly #carrier: Carrier;
  readonly #folder = mkdtempSync(join(tmpdir(), "cib-mcu-"));
  readonly #watches: Watch[] = [];

  private constructor(world: World, line: Line, carrier: Carrier) {
    this.world = world;
    this.line = line;
    this.#carrier = carrier;
  }

  static async open(carrier: Carrier, env: Record<string, string> = {}): Promise<Desk> {
    const world = await openWorld(env);
    const port = () =>
      carrier === "http" ? Number(new URL(world.url).port) : carrier === "tcp" ? world.tcpPort : world.mqttPort;
    return new Desk(world, await Line.open(port), carrier);
  }

  async call(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(this.world.url + path, {
      method,
      headers: { authorization: `Bearer ${this.world.master}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    return (await response.json()) as Record<string, unknown>;
  }

  async session(): Promise<SessionId> {
    return (await this.call("POST", "/api/sessions", {}))["session"] as SessionId;
  }

  async token(): Promise<Token> {
    const scopes = ["sessions:read", "sessions:input", "sessions:answer"];
    return (await this.call("POST", "/api/tokens", { label: "lamp", scopes, device: true })) as unknown as Token;
  }

  async watch(
    token: Pick<Token, "token" | "key">,
    session: string,
    more: Record<string, string> = {},
    from = "1",
  ): Promise<Watch> {
    const env = { ...environment(this.#folder, this.#carrier === "mqtt" ? token.token : token.key), ...more };
    const watch = new Watch(
      this.#carrier,
      new Program(await built("client"), ["watch", this.#carrier, this.line.address, session, from], env),
    );
    this.#watches.push(watch);
    return watch;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const watch of this.#watches) await watch[Symbol.asyncDispose]();
    await this.line[Symbol.asyncDispose]();
    await this.world[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const bits = (...names: (keyof typeof TYPES)[]) =>
  String(names.reduce((mask, name) => mask | (1 << TYPES[name].number), 0));

for (const carrier of CARRIERS) {
  describe(`the C client over ${carrier}`, { timeout: 300_000, ...needs("gcc", "gcc") }, () => {
    test("follows from the first frame, says each input once, and answers questions", async () => {
      await using desk = await Desk.open(carrier);
      const { world } = desk;
      const session = await desk.session();
      const watch = await desk.watch(await desk.token(), session);
      for (let i = 0; i < 300; i++) world.say(session, text(`frame ${i}`));
      await watch.until(() => watch.frames.some((frame) => (frame as { text?: string }).text === "frame 299"));
      assert.deepEqual(
        watch.frames.map(({ seq }) => seq),
        watch.frames.map((_, i) => i + 1),
      );

      const said = await watch.once(`say 1-1 ${hex("grüße")}`);
      assert.equal((said["reply"] as { state: string }).state, "accepted");
      const again = await watch.once(`say 1-1 ${hex("grüße")}`);
      assert.equal((again["reply"] as { duplicate: boolean }).duplicate, true);
      const conflict = await watch.once(`say 1-1 ${hex("another")}`);
      assert.deepEqual([conflict["ok"], conflict["code"], conflict["retryable"]], [false, "id_conflict", false]);
      await watch.until(() => watch.frames.some((frame) => (frame as { text?: string }).text === "heard: grüße"));
      assert.deepEqual(world.prompts(session), ["grüße"]);

      for (const [decision, call] of [
        ["allow", "t1"],
        ["deny", "t2"],
      ] as const) {
        world.say(session, permission(call), { type: "status", state: "waiting_for_input", elapsed_ms: 1 });
        await watch.until(() =>
          watch.frames.some((frame) => frame.type === "ask.question" && frame.id === `${call}/0`),
        );
        const reply = (await watch.once(`${decision} 1-${call}`))["reply"] as { state: string; answer: string };
        assert.deepEqual([reply.state, reply.answer], ["settled", decision]);
        await watch.until(() => watch.frames.some((frame) => frame.type === "ask.answer" && frame.id === `${call}/0`));
      }
      assert.deepEqual(
        world.settled(session).map(([call, { behavior }]) => [call, behavior]),
        [
          ["t1", "allow"],
          ["t2", "deny"],
        ],
      );
      const late = await watch.once("allow 1-9");
      assert.deepEqual([late["ok"], late["code"]], [false, "ask_settled"]);
      assert.deepEqual([watch.faults, world.faults], [[], []]);
    });

    test("hears only what it asked for, in pieces that fit, and finds the session by itself", async () => {
      await using desk = await Desk.open(carrier);
      const session = await desk.session();
      const wish = { CIB_TYPES: bits("text.delta", "stop"), CIB_MAX_BYTES: "128" };
      const watch = await desk.watch(await desk.token(), "-", wish);
      watch.gapless = false;
      const long = "語🙂x".repeat(500);
      desk.world.say(
        session,
        text(long),
        { type: "usage", input: 1, output: 2, cache_read: 0, cache_write: 0 },
        { type: "stop", reason: "end_turn" },
      );
      await watch.until(() => watch.frames.some(({ type }) => type === "stop"));
      assert.deepEqual(
        watch.frames.map((frame) => [frame.type, (frame as { text?: string }).text]),
        [
          ["text.delta", long],
          ["stop", undefined],
        ],
      );
      assert.deepEqual(watch.faults, []);
    });

    test("is told of a gap, and goes on behind it", async () => {
      await using desk = await Desk.open(carrier, { CIB_LOG_MAX_BYTES: String(1024 * 1024) });
      const session = await desk.session();
      for (let i = 0; i < 2048; i++) desk.world.say(session, text("x".repeat(1024)));
      desk.world.say(session, text("last"));
      const watch = await desk.watch(await desk.token(), session, { CIB_TYPES: bits("text.delta") });
      await watch.until(() => watch.frames.some((frame) => (frame as { text?: string }).text === "last"));
      // Where retention is under way meanwhile, frames may come before the gap, and a second one behind it.
      const gaps = watch.news.filter((news) => news["taken"] === "gap").map((news) => Number(news["seq"]));
      const seqs = watch.frames.map(({ seq }) => seq);
      const holes = seqs.filter((seq, i) => seq !== (seqs[i - 1] ?? 0) + 1).map((seq) => seq - 1);
      assert.ok(holes.length > 0);
      assert.deepEqual(
        holes.filter((hole) => !gaps.includes(hole)),
        [],
      );
    });

    test("comes back after a restart, after a power loss and after a silent cut: nothing lost, nothing twice", async () => {
      await using desk = await Desk.open(carrier);
      const { world, line } = desk;
      const session = await desk.session();
      const watch = await desk.watch(await desk.token(), session);
      const seen = (value: string) =>
        watch.until(() => watch.frames.some((frame) => (frame as { text?: string }).text === value));
      world.say(session, text("a"), text("b"));
      await seen("b");

      await world.stop();
      await world.start();
      await seen("b");
      await watch.once(`say 2-1 ${hex("one")}`);
      await seen("heard: one");

      // The last two frames were never on the disk: they are taken back, and their numbers come again.
      world.say(session, text("kept"), text("lost 1"), text("lost 2"));
      await seen("lost 2");
      const before = watch.next;
      await world.losePower(session, 2);
      await watch.until(() => watch.news.some((news) => news["taken"] === "ahead"));
      assert.ok(watch.news.some((news) => news["taken"] === "ahead" && Number(news["seq"]) === before - 3));
      await watch.once(`say 2-2 ${hex("two")}`);
      await seen("heard: two");

      // Nobody is told of this one: the client finds out by the silence. What it says meanwhile waits in its outbox.
      line.silence();
      const connections = line.connections;
      watch.program.say("later 20000");
      world.say(session, text("said in the silence"));
      const answered = watch.once(`say 2-3 ${hex("three")}`);
      watch.program.say(`later ${TOO_LONG_MS}`);
      await answered;
      await seen("said in the silence");
      await seen("heard: three");
      assert.ok(line.connections > connections);
      // A request over HTTP makes room for what must be said; every other line must be found dead.
      const down = watch.news.findLast((news) => "down" in news)?.["down"];
      if (carrier !== "http") assert.equal(down, "dead");

      assert.deepEqual(world.prompts(session), ["one", "two", "three"]);
      assert.deepEqual(watch.faults, []);
      assert.deepEqual(
        watch.frames.map(({ seq }) => seq),
        watch.frames.map((_, i) => i + 1),
      );
      assert.equal(watch.frames.filter((frame) => (frame as { text?: string }).text?.startsWith("lost")).length, 0);
    });

    test("stops when its key is revoked", async () => {
      await using desk = await Desk.open(carrier);
      const session = await desk.session();
      const token = await desk.token();
      const watch = await desk.watch(token, session);
      desk.world.say(session, text("a"));
      await watch.until(() => watch.frames.some(({ type }) => type === "text.delta"));
      await desk.call("DELETE", `/api/tokens/${token.id}`);
      assert.equal(await watch.program.ended(), 1);
      assert.deepEqual([watch.news.at(-1)?.["over"], watch.news.at(-1)?.["bye"]], ["bye", "revoked"]);
    });

    test("gives up with a key that the box does not know", async () => {
      await using desk = await Desk.open(carrier);
      const session = await desk.session();
      const wrong = {
        token: `cib_${"0".repeat(16)}_${"a".repeat(43)}`,
        key: { id: "00".repeat(8), secret: "11".repeat(32) },
      };
      const watch = await desk.watch(wrong, session);
      assert.equal(await watch.program.ended(), 1);
      // Over TCP all that a client sees is six closes; HTTP and MQTT say no (a token and two requests with one more token; one CONNACK).
      const connections = { tcp: 6, http: 4, mqtt: 1, "mqtt-sealed": 1 }[carrier];
      assert.equal(desk.line.connections, connections, JSON.stringify(watch.news));
      assert.equal(watch.news.at(-1)?.["over"], carrier === "tcp" ? "line" : "refused");
    });
  });
}

test("a newer client of the same key ends the older one, which does not fight back", needs("gcc", "gcc"), async () => {
  await using desk = await Desk.open("tcp");
  const session = await desk.session();
  const token = await desk.token();
  const older = await desk.watch(token, session);
  desk.world.say(session, text("a"));
  await older.until(() => older.frames.length > 0);
  const newer = await desk.watch(token, hexOf(session).replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"));
  assert.equal(await older.program.ended(), 1);
  assert.equal(older.news.at(-1)?.["bye"], "superseded");
  desk.world.say(session, text("b"));
  await newer.until(() => newer.frames.some((frame) => (frame as { text?: string }).text === "b"));
});
