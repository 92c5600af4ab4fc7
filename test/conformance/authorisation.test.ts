/** Authorisation over every way in: commands × scopes × transports, each cell tried, and told in the same words everywhere. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { COMMANDS, type CommandName } from "../../src/control/commands.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { casesFor, NOBODY } from "../control/cases.ts";
import { WAYS } from "./every-way.ts";
import { type Caller, outcomeOf, type Way } from "./way.ts";
import { openWorld, type World } from "./world.ts";

type Fields = Readonly<Record<string, unknown>>;
type Told = Map<string, unknown>;

/** A login that would start Claude is pointless where a token pays. */
const ENV = { CLAUDE_CODE_OAUTH_TOKEN: "sk-ant-oat01-dummy" };
/** The gate forgives an address after 10 min. */
const FORGIVEN_MS = 11 * 60_000;
const OVER = ["unauthorized", "slow_down"];

interface Cell {
  readonly command: Fields;
  readonly needs: readonly Scope[];
}

/** A cell, tried by a principal that holds these scopes. */
interface Held {
  readonly cell: Cell;
  readonly holds: readonly Scope[];
  readonly name: string;
}

/** One cell a command and each of its variants; the one that ends the session comes last. */
function cellsFor(session: SessionId): Cell[] {
  const cases = Object.entries(casesFor(session)) as [CommandName, ReturnType<typeof casesFor>[CommandName]][];
  const cells = cases.flatMap(([cmd, variants]) =>
    variants.map(({ args, more = [] }) => ({ command: { cmd, ...args }, needs: [...COMMANDS[cmd].scope, ...more] })),
  );
  const attach: Cell[] = [
    { command: { cmd: "attach", session }, needs: ["sessions:read"] },
    { command: { cmd: "attach", session, pty: true }, needs: ["sessions:read", "pty:read"] },
  ];
  const ends = ({ command }: Cell) => command["cmd"] === "sessions.stop";
  return [...cells.filter((cell) => !ends(cell)), ...attach, ...cells.filter(ends)];
}

/** What each way was told, by cell: compared at the end. */
const told = new Map<Way, Told>(WAYS.map((way) => [way, new Map()]));
const shown = ({ cmd, ...args }: Fields) => `${String(cmd)} ${JSON.stringify(args)}`;

describe("authorisation", () => {
  let world: World;
  let now = Date.now();
  /** Bound tokens must not see it. */
  let foreign: SessionId;

  before(async () => {
    world = await openWorld(ENV, () => now);
    const caller = await WAYS[0]?.connect(world, world.master);
    foreign = (await caller?.run({ cmd: "sessions.create" }))?.["session"] as SessionId;
    caller?.close();
  });
  after(() => world[Symbol.asyncDispose]());

  for (const way of WAYS) {
    const at = told.get(way) as Told;
    let master: Caller;
    let mine: SessionId;

    const mint = async (scopes: readonly Scope[], more: Fields = {}) =>
      master.run({ cmd: "tokens.create", label: "device", scopes, ...more });
    const as = async <T>(token: unknown, body: (caller: Caller) => Promise<T>): Promise<T> => {
      const caller = await way.connect(world, String(token));
      try {
        return await body(caller);
      } finally {
        caller.close();
      }
    };
    /** Cells by the scopes that a principal for them holds, so that each principal connects once. */
    const grouped = (cells: readonly Held[]): Iterable<readonly Held[]> => {
      const groups = new Map<string, Held[]>();
      for (const held of cells) groups.set(held.holds.join(), [...(groups.get(held.holds.join()) ?? []), held]);
      return groups.values();
    };
    /** The outcome, with what differs from way to way left out. */
    const tried = async (caller: Caller, { command }: Cell, name: string) => {
      const outcome = await outcomeOf(caller, command);
      at.set(name, JSON.parse(JSON.stringify(outcome).replaceAll(mine, "<mine>")));
      return outcome;
    };

    describe(way.name, () => {
      before(async () => {
        master = await way.connect(world, world.master);
        mine = (await master.run({ cmd: "sessions.create" }))["session"] as SessionId;
      });
      after(() => master.close());

      test("a principal that lacks one of the needed scopes is refused", async () => {
        const cells = cellsFor(mine).flatMap((cell) =>
          cell.needs.map((missing) => ({
            cell,
            holds: SCOPES.filter((scope) => scope !== missing),
            name: `${shown(cell.command)} without ${missing}`.replaceAll(mine, "<mine>"),
          })),
        );
        for (const group of grouped(cells)) {
          const { token } = await mint(group[0]?.holds ?? []);
          await as(token, async (caller) => {
            for (const { cell, name } of group) {
              const { code } = await tried(caller, cell, name);
              assert.equal(code, "forbidden", name);
            }
          });
        }
        assert.deepEqual(world.prompts(mine), []);
        assert.notEqual((await master.run({ cmd: "sessions.get", session: mine }))["state"], "stopped");
      });

      test("one that is bound to another session sees this one as little as one that there is not", async () => {
        const { token } = await mint(SCOPES, { sessions: [mine] });
        await as(token, async (caller) => {
          for (const session of [foreign, NOBODY]) {
            for (const cell of cellsFor(session)) {
              if (cell.command["session"] !== session) continue;
              const name = `${shown(cell.command)} bound elsewhere`;
              const outcome = await tried(caller, cell, name);
              assert.deepEqual(
                outcome,
                { code: "not_found", message: `no session ${session}`, retryable: false },
                name,
              );
            }
          }
        });
        assert.deepEqual(world.prompts(foreign), []);
      });

      test("a token that was revoked or has expired gets nothing", async () => {
        const revoked = await mint(SCOPES);
        const live = await way.connect(world, String(revoked["token"]));
        await live.run({ cmd: "health" });
        await master.run({ cmd: "tokens.revoke", token: revoked["id"] });
        const ended = cellsFor(mine).slice(0, 3);
        for (const { command } of ended)
          assert.equal((await outcomeOf(live, command)).code, "unauthorized", `${shown(command)} on a live connection`);
        live.close();
        const expired = await mint(SCOPES, { ttl_s: 60 });
        now += 61_000;
        for (const { token } of [revoked, expired]) {
          const code = await as(token, (caller) => outcomeOf(caller, { cmd: "sessions.list" })).then(
            (outcome) => outcome.code,
            (thrown: unknown) => (thrown as { code?: string }).code ?? String(thrown),
          );
          assert.ok(OVER.includes(code), code);
        }
        now += FORGIVEN_MS;
      });

      test("a principal that holds exactly the needed scopes is let through", async () => {
        const cells = cellsFor(mine).map((cell) => ({
          cell,
          // A token without any scope is none: this one opens no command.
          holds: cell.needs.length > 0 ? cell.needs : (["metrics:read"] as const),
          name: `${shown(cell.command)} allowed`.replaceAll(mine, "<mine>"),
        }));
        let tries = 0;
        for (const group of grouped(cells)) {
          const { token } = await mint(group[0]?.holds ?? []);
          await as(token, async (caller) => {
            for (const { cell, name } of group) {
              const { code } = await tried(caller, cell, name);
              assert.equal(code === "forbidden" || code === "unauthorized", false, `${name}: ${code}`);
              tries++;
            }
          });
        }
        assert.equal(tries, cellsFor(mine).length);
        assert.deepEqual(world.prompts(mine), ["hello", "hello"]);
      });
    });
  }

  test("every way tells the same in the same words", () => {
    const [first, ...others] = WAYS;
    const expected = told.get(first as Way) as Told;
    assert.ok(expected.size > 3 * Object.keys(COMMANDS).length, `${expected.size} cells`);
    for (const way of others) {
      const cells = told.get(way);
      assert.equal(cells?.size, expected.size, way.name);
      for (const [name, outcome] of expected)
        assert.deepEqual(cells?.get(name), outcome, `${name}: ${way.name} is not as ${first?.name}`);
    }
    assert.deepEqual(world.faults, []);
  });
});
