/** Microcontrollers in QEMU, with the box's real daemon at the other end of their serial line. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";
import { BadLine } from "./bad-line.ts";
import { Board } from "./board.ts";
import { Bridge } from "./bridge.ts";
import { flashBytes, MCU, make } from "./firmware.ts";
import { modem } from "./modem.ts";

const qemu = needs("qemu-system-arm", "qemu-system-arm");
const gcc = needs("gcc-arm-none-eabi", "arm-none-eabi-gcc");
const newlib = needs("libnewlib-arm-none-eabi", "arm-none-eabi-gcc");
const tools = { skip: qemu.skip || gcc.skip || newlib.skip };

/** The whole encrypted client, its stack and a record of 512 bytes included. */
const RAM_BUDGET_BYTES = 3 * 1024;

const PERMISSION = {
  type: "ask.question",
  id: "toolu_01A09q90qw90lq917835lq9/0",
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
  input: { command: "rm -rf build" },
  summary: "rm -rf build",
} as const satisfies FrameBody;

const WAITING = { type: "status", state: "waiting_for_input", elapsed_ms: 0 } as const satisfies FrameBody;

/** What Claude is handed: once, and nothing else. */
const ALLOWED = [["toolu_01A09q90qw90lq917835lq9", { behavior: "allow" }]];

async function create(world: World): Promise<SessionId> {
  const response = await fetch(`${world.url}/api/sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${world.master}` },
    body: "{}",
  });
  return ((await response.json()) as { session: SessionId }).session;
}

async function mint(world: World): Promise<{ id: string; token: string }> {
  const response = await fetch(`${world.url}/api/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${world.master}` },
    body: JSON.stringify({ label: "desk", scopes: ["sessions:read", "sessions:answer"] }),
  });
  return (await response.json()) as { id: string; token: string };
}

function texts(from: number, count: number): FrameBody[] {
  return Array.from({ length: count }, (_, i) => ({ type: "text.delta", text: `line ${from + i}` }));
}

/** That the board had frames 1 to `last`, each once and in order. */
function inOrder(board: Board, last: number): void {
  assert.deepEqual(
    board.numbers("frame"),
    Array.from({ length: last }, (_, i) => i + 1),
  );
}

describe("STM32 in QEMU", { ...tools, timeout: 300_000 }, () => {
  before(async () => {
    await make("test/qemu");
  });

  for (const [machine, part] of [
    ["netduinoplus2", "f405"],
    ["stm32vldiscovery", "f100"],
  ] as const)
    test(`${part}: bytes come and go through its serial line`, async () => {
      await using bridge = await Bridge.open(0);
      let heard = "";
      bridge.passage = {
        up: (bytes) => {
          if (heard === "") bridge.give(Buffer.from("abc".repeat(500)));
          heard += bytes.toString();
          if (heard.length === 1 + 3000) bridge.give(Buffer.from("."));
          return Buffer.alloc(0);
        },
      };
      await using board = await Board.start({
        machine,
        firmware: `echo-${part}`,
        words: ["hello", "there"],
        port: bridge.port,
      });
      assert.equal(await board.exit(), 0, board.tail());
      assert.equal(heard, `?${"aabbcc".repeat(500)}`);
      assert.equal(board.lines[0], "there");
    });

  test("an encrypted client with 3 KiB of RAM follows, and approves, on a part that has 8", async (t) => {
    await using world = await openWorld();
    const session = await create(world);
    const key = await deviceKey(world);
    await using bridge = await Bridge.open(world.tcpPort);
    await using board = await Board.start({
      machine: "stm32vldiscovery",
      firmware: "link-f100",
      words: [`${key.id}:${key.secret}`, session],
      port: bridge.port,
    });
    await board.line("frame 1");
    world.say(session, ...texts(0, 200), { type: "text.delta", text: "x".repeat(2000) }, PERMISSION, WAITING);
    await board.line("lamp 3");
    await board.touch("a");
    await board.line("lamp 2", await board.line("pressed 1"));
    assert.deepEqual(world.settled(session), ALLOWED);
    await board.touch("q");
    assert.equal(await board.exit(), 0, board.tail());
    inOrder(board, board.numbers("frame").at(-1) ?? 0);
    const [ram = Infinity] = board.numbers("ram");
    t.diagnostic(
      `F100: ${flashBytes(join(MCU, "build/qemu/link-f100.elf"))} bytes of flash, ${ram} of RAM, ${board.numbers("stack")} of these the stack`,
    );
    assert.ok(ram <= RAM_BUDGET_BYTES, `${ram} bytes of RAM`);
    assert.deepEqual(world.faults, []);
  });

  test("a desk with a key follows and denies over an encrypted link through an ESP module, and over noise", async () => {
    await using world = await openWorld();
    const session = await create(world);
    const key = await deviceKey(world);
    await using bridge = await Bridge.open(world.tcpPort);
    let noise = false;
    const down = (bytes: Buffer): void => {
      if (noise) bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
      noise = false;
      bridge.give(bytes);
    };
    bridge.passage = modem(bridge, { down }, []);
    await using board = await Board.start({
      machine: "netduinoplus2",
      firmware: "desk-key-f405",
      words: [session, `${key.id}:${key.secret}`],
      port: bridge.port,
    });
    await board.line("frame 1");
    world.say(session, ...texts(0, 50));
    await board.line("frame 50");
    noise = true;
    world.say(session, ...texts(50, 50), PERMISSION, WAITING);
    await board.line("lit waiting");
    assert.ok(bridge.opened > 1);
    await board.touch("D");
    await board.line("dark waiting");
    assert.deepEqual(
      world.settled(session).map(([group, { behavior }]) => [group, behavior]),
      [[ALLOWED[0]?.[0], "deny"]],
    );
    inOrder(board, board.numbers("frame").at(-1) ?? 0);
    assert.deepEqual(world.faults, []);
  });

  test("a desk over MQTT and a bad line has 500 frames once and in order, and its button approves once", async (t) => {
    await using world = await openWorld();
    const session = await create(world);
    const token = await mint(world);
    await using bridge = await Bridge.open(world.mqttPort);
    // The line breaks between the answer and its reply: the board has to say it again, and it must not happen twice.
    let answers = 0;
    const broken = (packet: Buffer) => packet.includes("answer") && answers++ === 0;
    const duplicate = new EventEmitter();
    const replied = once(duplicate, "reply");
    const line = new BadLine(bridge, 20_261_124, broken, (packet) => {
      if (packet.includes("duplicate")) duplicate.emit("reply");
    });
    const commands: string[] = [];
    bridge.passage = modem(bridge, line, commands);
    await using board = await Board.start({
      machine: "netduinoplus2",
      firmware: "desk-f405",
      words: [session, token.id, token.token, `${token.id}-desk`],
      port: bridge.port,
    });
    await board.line("frame 1");
    assert.ok(commands.includes('AT+CWJAP="a \\"quoted\\" name","p\\,w\\\\d"'), commands.join("\n"));
    for (let said = 0; said < 500; said += 50) {
      world.say(session, ...texts(said, 50));
      await board.until(`${said} frames`, () => (board.numbers("frame").length > said ? true : undefined));
    }
    world.say(session, PERMISSION, WAITING);
    await board.line("lit waiting");
    await board.touch("A");
    await board.until("the answer", () => (world.settled(session).length > 0 ? true : undefined));
    await board.touch("a");
    await board.until("the lamp", (lines) =>
      lines.lastIndexOf("lit working") > lines.lastIndexOf("lit waiting") ? true : undefined,
    );
    await replied;
    const last = board.numbers("frame").at(-1) ?? 0;
    assert.ok(last > 500);
    inOrder(board, last);
    assert.deepEqual(world.settled(session), ALLOWED);
    assert.ok(line.breaks > 1 && line.repeats > 10, `${line.breaks} breaks, ${line.repeats} repeats`);
    assert.equal(line.subscribes, 2 * line.welcomes);
    t.diagnostic(
      `F405: ${last} frames over ${bridge.opened} connections, ${line.breaks} breaks, ${line.repeats} repeats; ` +
        `${flashBytes(join(MCU, "build/qemu/desk-f405.elf"))} bytes of flash`,
    );
    assert.deepEqual(world.faults, []);
  });
});
