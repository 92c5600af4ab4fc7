/** The runners with real child processes that misbehave in every way. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Kept } from "../../src/hooks/kept.ts";
import type { RunRule } from "../../src/hooks/rules.ts";
import { MAX_PROCESSES, MAX_STDOUT_BYTES, type Runner, Spawned } from "../../src/hooks/runner.ts";
import { each, script } from "./scripts.ts";

const workdir = mkdtempSync(join(tmpdir(), "cib-runner-"));
after(() => rmSync(workdir, { recursive: true, force: true }));

/** Far above what a loaded machine needs to start node. */
const PATIENCE_MS = 30_000;
const place = { session: "s", workdir, home: "/home/x", env: { CIB_BOX: "b" } };
const rule = (run: readonly string[], kept = false): RunRule => ({ name: "r", on: ["input"], run: [...run], kept });
const spawned = (run: readonly string[], ms = PATIENCE_MS) => new Spawned(rule(run), place, ms);
const kept = (run: readonly string[], ms = PATIENCE_MS) => new Kept(rule(run, true), place, ms);
const event = (n: number, more: object = {}) => JSON.stringify({ n, ...more });

/** Waits until a process is no more, or a zombie that nobody has buried. */
async function gone(pid: number): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, "latin1") : ") Z";
    if (/\) [ZX]/.test(stat)) return;
    if (performance.now() > end) throw new Error(`process ${pid} goes on: ${stat}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function written(file: string): Promise<string> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    if (text.endsWith("\n")) return text;
    if (performance.now() > end) throw new Error(`never written: ${file}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const STUBBORN = `process.on("SIGTERM", () => {});`;
/** Starts a child that never ends and holds stdout, then writes both pids to `file`. */
const parent = (file: string, then: string) =>
  script(
    `const kid = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
     require("fs").writeFileSync(${JSON.stringify(file)}, process.pid + " " + kid.pid + "\\n"); ${then}`,
  );

for (const [kind, make] of [
  ["a hook started for each event", spawned],
  ["a hook that is kept", kept],
] as const) {
  describe(kind, () => {
    test("answers with a line", async () => {
      const runner: Runner = make(each(`say({ verdict: "pass", n: e.n })`));
      assert.deepEqual(JSON.parse((await runner.ask("input", event(7))).text ?? ""), { verdict: "pass", n: 7 });
      runner.stop();
    });

    test("is killed with all it started when it hangs", async () => {
      const file = join(workdir, `hang-${make.name}`);
      const runner = make(parent(file, `${STUBBORN} setInterval(() => {}, 1000)`), 3_000);
      const { text, error } = await runner.ask("input", event(1));
      assert.deepEqual({ text, error }, { text: undefined, error: "no verdict within 3000 ms" });
      for (const pid of (await written(file)).split(" ")) await gone(Number(pid));
    });

    test("that ends with a wrong status is told so, with what it said", async () => {
      const runner = make(script(`console.error("no such table"); process.exitCode = 3`));
      const { error, stderr } = await runner.ask("input", event(1));
      assert.equal(error, "ended with status 3");
      assert.match(stderr, /no such table/);
    });

    test("that floods stdout is stopped", async () => {
      const runner = make(script(`const s = "x".repeat(65536); const go = () => process.stdout.write(s, go); go()`));
      const { error } = await runner.ask("input", event(1));
      assert.equal(error, `more than ${MAX_STDOUT_BYTES} bytes on stdout`);
    });

    test("that floods stderr is stopped, and little of it is kept", async () => {
      const runner = make(script(`const s = "x".repeat(65536); const go = () => process.stderr.write(s, go); go()`));
      const { error, stderr } = await runner.ask("input", event(1));
      assert.ok(error);
      assert.equal(stderr.length, 1024);
    });

    test("may end without reading a long event", async () => {
      const runner = make(script(`process.stdout.write('{"verdict":"pass"}\\n'); process.stdin.destroy()`));
      const { text, error } = await runner.ask("input", event(1, { text: "x".repeat(8 * 1024 * 1024) }));
      assert.ok(text !== undefined || error !== undefined);
      runner.stop();
    });

    test("that cannot run is told so", async () => {
      assert.equal((await make(["/no/such/program"]).ask("input", event(1))).error, "could not run: ENOENT");
    });

    test("sees a clean environment and the session's folder", async () => {
      process.env["CIB_AUTH_TOKEN"] = "secret-of-the-daemon";
      const runner = make(
        each(
          `say({ env: Object.keys(process.env).filter((n) => n !== "CIB_EVENT").sort(), cwd: process.cwd(), home: process.env.HOME })`,
        ),
      );
      const { text = "" } = await runner.ask("input", event(1));
      delete process.env["CIB_AUTH_TOKEN"];
      runner.stop();
      const { env, cwd, home } = JSON.parse(text) as { env: string[]; cwd: string; home: string };
      // Node hands the last one on by itself, where the tests' coverage is measured.
      const known = ["CIB_BOX", "CIB_HOOK_SESSION", "HOME", "LANG", "LC_ALL", "PATH", "TZ", "NODE_V8_COVERAGE"];
      assert.deepEqual(
        env.filter((name) => !known.includes(name)),
        [],
      );
      assert.deepEqual([cwd, home], [workdir, "/home/x"]);
    });

    test("leaves no process behind when its session stops", async () => {
      const file = join(workdir, `stop-${make.name}`);
      const runner = make(parent(file, `${STUBBORN} setInterval(() => {}, 1000)`));
      const answer = runner.ask("input", event(1));
      const pids = (await written(file)).split(" ");
      runner.stop();
      assert.equal((await answer).error, "stopped");
      for (const pid of pids) await gone(Number(pid));
    });
  });
}

const root = process.getuid?.() === 0;
test("a hook runs as the session's user, with no other group and no way back", {
  skip: !root && "needs root",
}, async () => {
  const user = { uid: 65_534, gid: 65_534 };
  const asks = script(
    `const status = require("fs").readFileSync("/proc/self/status", "utf8");
     console.log(JSON.stringify({ uid: process.getuid(), groups: process.getgroups(), caps: /CapEff:\\s*0+\\n/.test(status), locked: /NoNewPrivs:\\s*1/.test(status) }))`,
  );
  const runner = new Spawned(rule(asks), { ...place, workdir: "/", user }, PATIENCE_MS);
  const { text = "", error, stderr } = await runner.ask("input", event(1));
  assert.equal(error, undefined, stderr);
  assert.deepEqual(JSON.parse(text), { uid: user.uid, groups: [user.gid], caps: true, locked: true });
});

test("a grandchild that holds stdout does not keep a hook's answer back, and ends with it", async () => {
  const file = join(workdir, "grandchild");
  const runner = spawned(parent(file, `process.stdout.write('{"verdict":"pass"}', () => process.exit(0))`));
  assert.equal((await runner.ask("input", event(1))).text, '{"verdict":"pass"}');
  for (const pid of (await written(file)).split(" ")) await gone(Number(pid));
});

describe("a kept hook", () => {
  test("is asked one event at a time, in order, by one process", async () => {
    const runner = kept(each(`setTimeout(() => say({ n: e.n, pid: process.pid }), e.n === 0 ? 20 : 0)`));
    const answers = await Promise.all([0, 1, 2, 3].map((n) => runner.ask("input", event(n))));
    const said = answers.map(({ text = "" }) => JSON.parse(text) as { n: number; pid: number });
    assert.deepEqual(
      said.map(({ n }) => n),
      [0, 1, 2, 3],
    );
    assert.equal(new Set(said.map(({ pid }) => pid)).size, 1);
    runner.stop();
  });

  test("is started again after it died in the middle of a line", async () => {
    const runner = kept(
      each(`if (e.n === 1) { process.stdout.write('{"verdict":"pa'); process.exit(1) } else say({ n: e.n })`),
    );
    const [dead, alive] = await Promise.all([runner.ask("input", event(1)), runner.ask("input", event(2))]);
    assert.equal(dead.error, "ended with status 1");
    assert.deepEqual(JSON.parse(alive.text ?? ""), { n: 2 });
    runner.stop();
  });

  test("that answers twice is started again: its second answer is nobody's", async () => {
    const runner = kept(each(`process.stdout.write(e.n === 1 ? '{"n":1}\\n{"n":9}\\n' : '{"n":2}\\n')`));
    assert.equal((await runner.ask("input", event(1))).error, "more than one verdict for an event");
    assert.deepEqual(JSON.parse((await runner.ask("input", event(2))).text ?? ""), { n: 2 });
    runner.stop();
  });

  test("whose rule is gone ends once it has answered", async () => {
    const runner = kept(each(`say({ pid: process.pid })`));
    const answer = runner.ask("input", event(1));
    runner.retire();
    await gone((JSON.parse((await answer).text ?? "") as { pid: number }).pid);
  });
});

describe("more events at once than processes may run", () => {
  /** A program that leaves its number in a folder and answers when the folder holds `go`. */
  const held = (name: string) => {
    const folder = join(workdir, name);
    mkdirSync(folder);
    const go = join(folder, "go");
    const run = script(
      `let n = ""; process.stdin.on("data", (d) => { n += d; }).on("end", () => {
         const { existsSync, writeFileSync } = require("fs");
         writeFileSync(${JSON.stringify(folder)} + "/" + JSON.parse(n).n, "");
         const wait = () => existsSync(${JSON.stringify(go)}) ? console.log(n) : setTimeout(wait, 20); wait(); });`,
    );
    const started = (): number[] =>
      readdirSync(folder)
        .filter((file) => file !== "go")
        .map(Number);
    return { run, started, go: () => writeFileSync(go, "") };
  };
  const running = async (started: () => number[], many: number): Promise<void> => {
    const end = performance.now() + PATIENCE_MS;
    while (started().length < many) {
      if (performance.now() > end) throw new Error(`only ${started().length} of ${many} began`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const numbers = Array.from({ length: MAX_PROCESSES + 3 }, (_, n) => n);

  test("wait for one that ends, the oldest first, and are all answered", async () => {
    const { run, started, go } = held("bounded");
    const runner = spawned(run);
    const order: number[] = [];
    const answers = numbers.map(async (n) => {
      const { text = "" } = await runner.ask("input", event(n));
      order.push(n);
      return (JSON.parse(text) as { n: number }).n;
    });
    await running(started, MAX_PROCESSES);
    assert.deepEqual(
      started().sort((a, b) => a - b),
      numbers.slice(0, MAX_PROCESSES),
    );
    go();
    assert.deepEqual(await Promise.all(answers), numbers);
    assert.equal(new Set(order).size, numbers.length);
  });

  test("are answered by the deadline, those that wait too", async () => {
    const runner = spawned(held("late").run, 4_000);
    const began = performance.now();
    const answers = await Promise.all(numbers.map((n) => runner.ask("input", event(n))));
    assert.deepEqual(new Set(answers.map(({ error }) => error)), new Set(["no verdict within 4000 ms"]));
    assert.ok(performance.now() - began < 2 * 4_000, "waiting is a part of it");
  });

  test("end together: no process begins for those that wait", async () => {
    const { run, started } = held("stopped");
    const runner = spawned(run);
    const answers = numbers.map((n) => runner.ask("input", event(n)));
    await running(started, MAX_PROCESSES);
    runner.stop();
    for (const { error } of await Promise.all(answers)) assert.equal(error, "stopped");
    assert.equal(started().length, MAX_PROCESSES);
  });
});
