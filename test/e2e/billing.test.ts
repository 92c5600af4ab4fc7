/** Billing: sessions that are paid for differently, side by side in one box; none sees what pays for another. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { RESERVED_VARIABLES } from "../../src/agent/command.ts";
import { processesOf, sessionMarker } from "../../src/agent/process-tree.ts";
import { startModel } from "../../src/demo/model.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { TestBox } from "./box.ts";
import { ALL_VERSIONS, claudeCommand, offlineReason } from "./claude-versions.ts";

const OWN_KEY = "sk-ant-dummy-of-one-creator-00000000000000001";
const BOX_KEY = "sk-ant-dummy-of-the-box-itself-0000000000000002";
const TOKEN = "sk-ant-oat01-dummy-of-the-subscription-000000003";
/** Claude keeps the last 20 characters of a key: they count as the key. */
const TRACE_CHARS = 20;

/** A loaded two-core machine may start 2.1.112 in ten seconds, three of them in thirty. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 50;

interface Payer {
  readonly name: string;
  readonly auth: Record<string, unknown>;
  readonly pays: string;
}

const PAYERS: readonly Payer[] = [
  { name: "a key of its own", auth: { mode: "api_key", key: OWN_KEY }, pays: OWN_KEY },
  { name: "the box's key", auth: { mode: "api_key" }, pays: BOX_KEY },
  { name: "the subscription", auth: { mode: "subscription" }, pays: TOKEN },
];

/** Every text in which a credential would be found, with where it stands. */
function* traces(text: string, secrets: readonly string[]): Generator<string> {
  for (const secret of secrets)
    for (const part of [secret, secret.slice(-TRACE_CHARS)]) if (text.includes(part)) yield part;
}

function* files(folder: string): Generator<string> {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const kind = lstatSync(path);
    if (kind.isFile()) yield path;
    // Links too: what a session reaches through one is its own as well.
    else if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) yield* files(path);
  }
}

function variables(pid: number): Record<string, string> {
  const pairs = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}

/** A file that a tool makes: looked for until it is there. */
async function appears(file: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!existsSync(file)) {
    assert.ok(Date.now() < deadline, `waited in vain for ${file}`);
    await pause(LOOK_MS);
  }
}

/** Holds every session's tool until the gate is written to, so that a whole tree stands still to be looked at. */
async function boxWithThree(version: string) {
  const model = await startModel(({ last }) => {
    const gate = /^hold (\S+)$/m.exec(last)?.[1];
    if (gate === undefined) return { blocks: [{ text: "Done.\n" }] };
    return {
      blocks: [{ tool: "Bash", input: { command: `touch ${gate}.reached; cat ${gate}`, description: "wait" } }],
    };
  });
  const box = await TestBox.start({
    model: model.url,
    claude: await claudeCommand(version),
    env: { ANTHROPIC_API_KEY: BOX_KEY, CLAUDE_CODE_OAUTH_TOKEN: TOKEN },
  });
  return {
    model,
    box,
    async [Symbol.asyncDispose]() {
      await box[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

for (const version of ALL_VERSIONS) {
  describe(`three payers side by side with ${version}`, async () => {
    const skip = (await offlineReason(version)) ?? false;

    test("each session's processes, files and calls show its own credential and no other", { skip }, async () => {
      await using world = await boxWithThree(version);
      const { box, model } = world;
      const sessions = await Promise.all(
        PAYERS.map(async (payer) => {
          const { status, body } = await box.call("POST", "/api/sessions", { auth: payer.auth, title: payer.name });
          assert.equal(status, 201, JSON.stringify(body));
          const id = String(body["session"]) as SessionId;
          const gate = join(box.folder, `gate-${id}`);
          execFileSync("mkfifo", [gate]);
          const path = `/api/sessions/${id}`;
          const turn = box.call("POST", `${path}/send`, { text: `hold ${gate}`, timeout_ms: PATIENCE_MS });
          return { ...payer, id, gate, path, turn };
        }),
      );
      for (const { id, gate, turn, name, pays, path } of sessions) {
        const early = turn.then(async () => {
          const { body } = await box.call("GET", `${path}/frames?from=1&limit=50`);
          return assert.fail(`ended early: ${JSON.stringify(body)} ${JSON.stringify(model.requests.at(-1)?.last)}`);
        });
        await Promise.race([appears(`${gate}.reached`), early]);
        const others = PAYERS.filter((payer) => payer.pays !== pays).map((payer) => payer.pays);
        const pids = await processesOf(sessionMarker(id), undefined);
        assert.ok(pids.length >= 2, `${name}: Claude and its tool, got ${pids.length}`);
        for (const pid of pids) {
          for (const file of ["environ", "cmdline"])
            assert.deepEqual([...traces(readFileSync(`/proc/${pid}/${file}`, "utf8"), others)], [], `${name}: ${file}`);
          assert.deepEqual([...traces(readFileSync(`/proc/${pid}/cmdline`, "utf8"), [pays])], [], `${name}: its own`);
          const env = variables(pid);
          if (pays === TOKEN) assert.equal(env["ANTHROPIC_API_KEY"], undefined);
          else assert.equal(env["CLAUDE_CODE_OAUTH_TOKEN"], undefined);
        }
        const config = variables(pids[0] ?? 0)["CLAUDE_CONFIG_DIR"] ?? assert.fail("no CLAUDE_CONFIG_DIR");
        const run = join(box.folder, "home", ".claude-in-box", id);
        const found = [config, run].flatMap((folder) => [...files(folder)]);
        assert.ok(found.some((file) => file.endsWith(".jsonl")) && found.some((file) => file.startsWith(run)));
        for (const file of found)
          assert.deepEqual([...traces(readFileSync(file, "utf8"), others)], [], `${name}: ${file}`);
      }
      for (const { gate } of sessions) writeFileSync(gate, "go\n");
      for (const { turn } of sessions) assert.equal((await turn).status, 200);

      for (const { id, name, pays, path } of sessions) {
        const calls = model.calls.filter((call) => call.conversation === id);
        assert.ok(calls.length >= 2, `${name}: its calls are told apart`);
        for (const { key, bearer } of calls) {
          assert.equal(key, pays === TOKEN ? undefined : pays, name);
          assert.equal(bearer, pays === TOKEN ? TOKEN : undefined, name);
        }
        const { body } = await box.call("GET", `${path}/frames?limit=1000`);
        assert.deepEqual(
          [
            ...traces(
              JSON.stringify(body),
              PAYERS.map((payer) => payer.pays),
            ),
          ],
          [],
          `${name}: frames`,
        );
      }
      await box.end("SIGTERM");
      for (const file of files(box.data))
        assert.deepEqual(
          [
            ...traces(
              readFileSync(file, "utf8"),
              PAYERS.map((payer) => payer.pays),
            ),
          ],
          [],
          file,
        );
      assert.deepEqual(
        [
          ...traces(
            box.printed.join("\n"),
            PAYERS.map((payer) => payer.pays),
          ),
        ],
        [],
      );
    });
  });
}

describe("what a creator may say of paying", () => {
  test("a variable that names a payer, a place to send to, or the box's marks is refused by name", async () => {
    const model = await startModel(() => ({ blocks: [{ text: "Done.\n" }] }));
    await using box = await TestBox.start({ model: model.url });
    for (const name of RESERVED_VARIABLES) {
      const { status, body } = await box.call("POST", "/api/sessions", { env: { MINE: "1", [name]: OWN_KEY } });
      assert.equal(status, 400, name);
      const { code, message } = body["error"] as { code: string; message: string };
      assert.equal(code, "bad_request");
      assert.ok(message.includes(name) && !message.includes(OWN_KEY), message);
    }
    assert.deepEqual((await box.call("GET", "/api/sessions")).body["sessions"], []);
    await model[Symbol.asyncDispose]();
  });
});
