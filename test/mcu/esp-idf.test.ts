/** The ESP-IDF component and its examples, compiled as they are against a stand-in for ESP-IDF, with the real daemon: their app_main, PSA Crypto, ASan and UBSan. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openWorld, type World } from "../conformance/world.ts";
import { freePort } from "../free-port.ts";
import { needs } from "../skip.ts";
import { Cutter } from "./cutter.ts";
import { EspBoard, type Settings } from "./esp-board.ts";
import { EspBuild, headerOf } from "./esp-build.ts";

/** As mcu/test/shim/idf/sdkconfig.h has them. */
const LIGHTS = { working: 6, waiting: 7, done: 10 };
const BUTTONS = { allow: 1, deny: 4 };

const missing = [
  needs("gcc", "gcc").skip,
  needs("make", "make").skip,
  needs("libmbedtls-dev", headerOf("psa/crypto.h")).skip,
].filter((line) => line !== false);
const options = { skip: missing.length > 0 ? missing.join("; ") : false, timeout: 180_000 };

type Session = Parameters<World["say"]>[0];
type Line = Readonly<Record<string, unknown>>;

const build = new EspBuild();
let flashes = 0;

async function api(
  world: World,
  path: string,
  body?: unknown,
  method = body === undefined ? "GET" : "POST",
): Promise<Record<string, unknown>> {
  const response = await fetch(`${world.url}/api/${path}`, {
    method,
    headers: { authorization: `Bearer ${world.master}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const reply = (await response.json()) as Record<string, unknown>;
  assert.ok(response.ok, JSON.stringify(reply));
  return reply;
}

async function logOf(world: World, session: Session): Promise<Line[]> {
  return (await api(world, `sessions/${session}/frames?from=1&limit=1000`))["frames"] as Line[];
}

/** A session, a key that may answer in it, and an empty flash. */
async function desk(
  world: World,
  port: number,
): Promise<Settings & { readonly session: Session; readonly token: string }> {
  const session = (await api(world, "sessions", { title: "desk" }))["session"] as Session;
  const scopes = ["sessions:read", "sessions:answer"];
  const { id: token, key } = await api(world, "tokens", { label: "desk", scopes, device: true });
  const { id, secret } = key as { id: string; secret: string };
  return {
    session,
    token: token as string,
    key: `${id}:${secret}`,
    port,
    flash: join(build.folder, `flash-${flashes++}`),
  };
}

/** As Claude Code asks for a tool that a gate holds. */
function ask(world: World, session: Session, id: string, tool: string, summary: string): void {
  world.say(
    session,
    {
      type: "ask.question",
      id,
      of: 1,
      kind: "permission",
      prompt: `Allow ${tool}?`,
      options: [{ label: "Allow" }, { label: "Deny" }],
      multiSelect: false,
      tool,
      input: { command: summary },
      summary,
    },
    { type: "status", state: "waiting_for_input", elapsed_ms: 5 },
  );
}

/** Which lights are lit after the lines so far. */
function lit(board: EspBoard): string[] {
  return Object.entries(LIGHTS)
    .filter(([, pin]) => board.lines.findLast((line) => line.startsWith(`gpio ${pin} `))?.endsWith(" 1") === true)
    .map(([name]) => name);
}

async function light(board: EspBoard, name: keyof typeof LIGHTS, from: number): Promise<number> {
  return await board.said(new RegExp(`^gpio ${LIGHTS[name]} 1$`), from);
}

/** A finger, and contacts that bounce on its way down and on its way up. */
function press(board: EspBoard, name: keyof typeof BUTTONS): void {
  for (const level of [0, 1, 0, 1, 0]) board.say(`gpio ${BUTTONS[name]} ${level}`);
}
function release(board: EspBoard, name: keyof typeof BUTTONS): void {
  for (const level of [1, 0, 1, 0, 1]) board.say(`gpio ${BUTTONS[name]} ${level}`);
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 20)))
    if (await holds()) return;
  assert.fail(`it did not come about that ${what}`);
}

after(() => build[Symbol.dispose]());

describe("ESP-IDF on the host", options, () => {
  before(() => {
    build.make("host");
  });

  test("the desk lamp shows working, waiting and done, and its button allows the tool once, over a restart of the box and of the board", async () => {
    await using world = await openWorld({ CIB_TCP_LISTEN: `127.0.0.1:${await freePort()}` });
    const settings = await desk(world, world.tcpPort);
    const { session } = settings;
    await using board = new EspBoard(join(build.folder, "approve-button"), settings);
    let at = await board.said(/following from 1$/);
    assert.match(board.lines.join("\n"), /start number 1$/m);
    at = await light(board, "done", 0);

    world.say(session, { type: "status", state: "working", elapsed_ms: 0 });
    at = await light(board, "working", at);
    assert.deepEqual(lit(board), ["working"]);

    ask(world, session, "toolu_1/0", "Bash", "git push \u001b[31morigin");
    at = await board.said(/allow Bash\? git push .*origin$/, at);
    await light(board, "waiting", 0);
    press(board, "allow");
    at = await board.said(/allowing Bash$/, at);
    at = await board.said(/no question is open$/, at);
    release(board, "allow");
    at = await light(board, "working", at - 4);
    await until("Claude has the decision", () => world.settled(session).length > 0);
    world.say(session, { type: "stop", reason: "end_turn" }, { type: "status", state: "idle", elapsed_ms: 9 });
    at = await light(board, "done", at);
    assert.deepEqual(lit(board), ["done"]);

    await world.stop();
    at = await board.said(/W desk: the box said goodbye/, at);
    await board.said(/^gpio 10 0$/, at);
    await world.start();
    at = await board.said(/following from/, at);
    at = await light(board, "done", at);
    await api(world, `sessions/${session}/resume`, {});
    ask(world, session, "toolu_2/0", "Write", "notes.md");
    at = await board.said(/allow Write\? notes.md$/, at);
    press(board, "deny");
    at = await board.said(/denying Write$/, at);
    at = await board.said(/no question is open$/, at);
    await until("Claude has the second decision", () => world.settled(session).length > 0);
    world.say(session, { type: "stop", reason: "end_turn" }, { type: "status", state: "idle", elapsed_ms: 9 });

    const answers = (await logOf(world, session)).filter(({ type }) => type === "ask.answer");
    assert.deepEqual(
      answers.map(({ id, answer }) => [id, answer]),
      [
        ["toolu_1/0", "allow"],
        ["toolu_2/0", "deny"],
      ],
    );
    assert.equal(
      board.lines.filter((line) => /allow Bash\?/.test(line)).length,
      1,
      "the first question was told twice",
    );
    assert.equal(board.lines.filter((line) => /ing (Bash|Write)$/.test(line)).length, 2);
    const odd = board.lines.filter((line) => /refused|a press/.test(line));
    assert.deepEqual(odd, [], "a press counted more than once, or a decision was sent for nothing");

    await until("its place is in its flash", () => /^cib\.place=/m.test(readFileSync(settings.flash, "utf8")));
    assert.equal(await board.cut(), 0);
    await using again = new EspBoard(join(build.folder, "approve-button"), settings);
    await again.said(/start number 2$/);
    await again.said(/following from (?!1$)\d+$/);
    await light(again, "done", 0);
    assert.equal(again.lines.filter((line) => /allow /.test(line)).length, 0, "settled questions came again");
    assert.equal(await again.cut(), 0);
    assert.deepEqual(world.faults, []);
  });

  test("a press that is for no question, or comes too soon after one, decides nothing", async () => {
    await using world = await openWorld();
    const settings = await desk(world, world.tcpPort);
    const { session } = settings;
    await using board = new EspBoard(join(build.folder, "approve-button"), { ...settings, seenMs: 3_600_000 });
    let at = await board.said(/following from 1$/);
    press(board, "allow");
    at = await board.said(/a press, but nothing to allow or deny$/, at);
    release(board, "allow");
    ask(world, session, "toolu_1/0", "Bash", "date");
    at = await board.said(/allow Bash\? date$/, at);
    press(board, "deny");
    at = await board.said(/a press too soon/, at);
    release(board, "deny");
    assert.equal(((await api(world, `sessions/${session}/asks`))["asks"] as unknown[]).length, 1);

    // Two wait, and a person elsewhere is faster with the first: the desk goes on to the second.
    ask(world, session, "toolu_2/0", "Write", "notes.md");
    await api(world, `sessions/${session}/answer`, { ask: "toolu_1/0", decision: "allow" });
    at = await board.said(/allow Write\? notes.md$/, at);
    assert.deepEqual(lit(board), ["waiting"]);
    // One waits; the desk has room for eight.
    for (let n = 3; n < 10; n++) ask(world, session, `toolu_${n}/0`, "Write", "notes.md");
    ask(world, session, "toolu_10/0", "Bash", "ls");
    await board.said(/one more question waits; answer it elsewhere$/, at);
    assert.equal(await board.cut(), 0);
    assert.equal(board.lines.filter((line) => /one more question/.test(line)).length, 1);
    assert.equal(board.lines.filter((line) => /allowing|denying/.test(line)).length, 0);
    assert.equal(board.lines.filter((line) => /a press/.test(line)).length, 2, "contacts that bounce are one press");
  });

  test("without a session in its settings the desk turns to the one that needs a person, and to the next one after it", async () => {
    await using world = await openWorld();
    const { session: first, ...settings } = await desk(world, world.tcpPort);
    const second = (await api(world, "sessions", { title: "two" }))["session"] as Session;
    ask(world, first, "toolu_1/0", "Bash", "date");
    await using board = new EspBoard(join(build.folder, "approve-button"), { ...settings, session: "" });
    let at = await board.said(new RegExp(`session ${first}$`));
    at = await board.said(/allow Bash\? date$/, at);
    press(board, "allow");
    at = await board.said(/no question is open$/, at);
    release(board, "allow");
    ask(world, second, "toolu_2/0", "Write", "notes.md");
    at = await board.said(new RegExp(`session ${second}$`), at);
    at = await board.said(/allow Write\? notes.md$/, at);
    press(board, "deny");
    await board.said(/no question is open$/, at);
    await until("Claude has both", () => world.settled(first).length + world.settled(second).length === 2);
    assert.equal(await board.cut(), 0);
    assert.equal(board.lines.filter((each) => /refused|W desk/.test(each)).length, 0, board.lines.join("\n"));
  });

  for (const lost of ["words", "answer"] as const)
    test(`a decision is made once and leaves room for the next one, where a cut takes ${lost === "words" ? "it" : "the answer to it"}`, async () => {
      await using world = await openWorld();
      await using line = await Cutter.open(() => world.tcpPort);
      const settings = await desk(world, line.port);
      const { session } = settings;
      await using board = new EspBoard(join(build.folder, "approve-button"), settings);
      let at = await board.said(/following from 1$/);
      ask(world, session, "toolu_1/0", "Bash", "date");
      at = await board.said(/allow Bash\? date$/, at);
      line.lose(lost);
      press(board, "allow");
      at = await board.said(/the connection ended/, at);
      at = await board.said(/following from/, at);
      at = await board.said(/no question is open$/, at);
      ask(world, session, "toolu_2/0", "Write", "notes.md");
      at = await board.said(/allow Write\? notes.md$/, at);
      press(board, "deny");
      at = await board.said(/denying Write$/, at);
      await until("Claude has both decisions", () => world.settled(session).length > 1);
      assert.equal(await board.cut(), 0);
      assert.equal(line.connections, 2);
      assert.deepEqual(
        world.settled(session).map(([group, { behavior }]) => [group, behavior]),
        [
          ["toolu_1", "allow"],
          ["toolu_2", "deny"],
        ],
      );
      const answers = (await logOf(world, session)).filter(({ type }) => type === "ask.answer");
      assert.equal(answers.length, 2);
      assert.equal(board.lines.filter((each) => /refused/.test(each)).length, 0, board.lines.join("\n"));
    });

  test("lost Wi-Fi is joined again", async () => {
    await using world = await openWorld();
    await using board = new EspBoard(join(build.folder, "approve-button"), await desk(world, world.tcpPort));
    let at = await board.said(/following from 1$/);
    board.say("wifi down");
    at = await board.said(/no network \(reason 200\)/, at);
    at = await board.said(/^wifi connect$/, at);
    await board.said(/station: connected$/, at);
    assert.equal(await board.cut(), 0);
  });

  test("a key that cannot be read, and one that is revoked, light all lights and end it; a wrong one is tried on", async () => {
    await using world = await openWorld();
    const settings = await desk(world, world.tcpPort);
    await using unread = new EspBoard(join(build.folder, "approve-button"), { ...settings, key: "no key" });
    await unread.said(/^app_main returned$/);
    assert.match(unread.lines.join("\n"), /idf.py menuconfig/);
    assert.deepEqual(lit(unread), ["working", "waiting", "done"]);
    assert.equal(await unread.cut(), 0);

    const other = `${settings.key.slice(0, -4)}${settings.key.endsWith("0000") ? "1111" : "0000"}`;
    await using wrong = new EspBoard(join(build.folder, "approve-button"), { ...settings, key: other });
    const at = await wrong.said(/the connection ended/);
    await wrong.said(/is the key right\?$/, at);
    assert.deepEqual(lit(wrong), []);
    assert.equal(await wrong.cut(), 0);

    await using board = new EspBoard(join(build.folder, "approve-button"), settings);
    await board.said(/following from 1$/);
    await api(world, `tokens/${settings.token}`, undefined, "DELETE");
    await board.said(/^app_main returned$/);
    assert.match(board.lines.join("\n"), /the box said goodbye/);
    assert.deepEqual(lit(board), ["working", "waiting", "done"]);
    assert.equal(await board.cut(), 0);
  });

  test("http-status prints each state once, over a restart of the box, whose tokens are new", async () => {
    await using world = await openWorld();
    const settings = await desk(world, Number(new URL(world.url).port));
    const { session } = settings;
    await using board = new EspBoard(join(build.folder, "http-status"), settings);
    let at = await board.said(/start number 1$/);
    at = await board.said(/Claude is idle$/, at);
    world.say(
      session,
      { type: "status", state: "working", elapsed_ms: 0 },
      { type: "tool.use.start", id: "t1", tool: "Bash", input: { command: "date" } },
    );
    at = await board.said(/Claude is working$/, at);
    at = await board.said(/it uses Bash$/, at);
    ask(world, session, "t1/0", "Bash", "date");
    at = await board.said(/it asks: Allow Bash\?$/, at);
    at = await board.said(/Claude is waiting_for_input$/, at);
    await world.stop();
    await world.start();
    at = await board.said(/Claude is stopped|the turn ended: daemon_restart/, at);
    await api(world, `sessions/${session}/resume`, {});
    world.say(session, { type: "stop", reason: "end_turn" });
    at = await board.said(/the turn ended: end_turn$/, at);
    assert.equal(await board.cut(), 0);
    const shown = board.lines.flatMap((line) => /^I status: (Claude is|the turn ended:) (\w+)$/.exec(line)?.[2] ?? []);
    const told = (await logOf(world, session)).flatMap(({ type, state, reason }) =>
      type === "status" || type === "stop" ? [state ?? reason] : [],
    );
    assert.deepEqual(shown, told.slice(0, shown.length));
    assert.deepEqual(world.faults, []);
  });
});
