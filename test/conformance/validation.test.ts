/** Validation over every way in: commands that are wrong in one place, generated from the table, are refused everywhere in the same words. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { COMMANDS, type CommandName, parseAttach, parseCommand } from "../../src/control/commands.ts";
import { CibError } from "../../src/errors.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { casesFor } from "../control/cases.ts";
import { WAYS } from "./every-way.ts";
import { outcomeOf, type Way } from "./way.ts";
import { openWorld, type World } from "./world.ts";

type Fields = Readonly<Record<string, unknown>>;

/** What no field takes, or only some; a name within every limit of a head or a topic. */
const WRONG: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  2 ** 60,
  1e300,
  "",
  "\u0000",
  "no such thing",
  "x".repeat(3000),
  [],
  [[]],
  ["no such thing"],
  {},
  { a: 1 },
];

/** Every valid command with one field wrong, missing or too many: those that the schema refuses, with its words. */
function wrongOnes(session: SessionId): Map<string, { command: Fields; expected: object }> {
  const valid = [
    ...Object.entries(casesFor(session)).flatMap(([cmd, cases]) => cases.map(({ args }) => ({ cmd, ...args }))),
    { cmd: "attach", session, from: 1, epoch: 1, types: ["stop"], max_bytes: 1024, pty: false, pty_from: 0 },
  ];
  const found = new Map<string, { command: Fields; expected: object }>();
  for (const command of valid) {
    for (const changed of changesOf(command)) {
      const expected = refusalOf(changed);
      if (expected !== undefined) found.set(JSON.stringify(changed), { command: changed, expected });
    }
  }
  return found;
}

function* changesOf(command: Fields): Generator<Fields> {
  const { cmd } = command;
  const known = cmd === "attach" ? {} : COMMANDS[cmd as CommandName].args;
  for (const name of new Set([...Object.keys(command), ...Object.keys(known)])) {
    // An id ties replies to requests, too: each way has its own checks of it.
    if (name === "cmd" || name === "id") continue;
    const { [name]: _, ...without } = command;
    yield without;
    for (const wrong of WRONG) yield { ...command, [name]: wrong };
  }
  yield { ...command, surplus: 1 };
}

function refusalOf({ cmd, ...args }: Fields): object | undefined {
  try {
    if (cmd === "attach") parseAttach(args);
    else parseCommand({ cmd, ...args });
    return undefined;
  } catch (thrown) {
    assert.ok(thrown instanceof CibError);
    return { code: thrown.code, message: thrown.message, retryable: thrown.row.retryable };
  }
}

describe("a wrong command", () => {
  let world: World;
  let wrong: ReturnType<typeof wrongOnes>;
  before(async () => {
    world = await openWorld();
    const caller = await (WAYS[0] as Way).connect(world, world.master);
    wrong = wrongOnes((await caller.run({ cmd: "sessions.create" }))["session"] as SessionId);
    caller.close();
  });
  after(() => world[Symbol.asyncDispose]());

  for (const way of WAYS) {
    test(`is refused in the schema's own words over ${way.name}`, async () => {
      const caller = await way.connect(world, world.master);
      let tries = 0;
      for (const [name, { command, expected }] of wrong) {
        if (way.says?.(command) === false) continue;
        assert.deepEqual(await outcomeOf(caller, command), expected, name.slice(0, 200));
        tries++;
      }
      caller.close();
      assert.ok(tries > 400, `${tries} commands`);
      assert.deepEqual(world.faults, []);
    });
  }
});
