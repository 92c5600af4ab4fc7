/** docs/examples/cib_tcp.py, run as it is against the real daemon. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";

const SCRIPT = fileURLToPath(new URL("../../docs/examples/cib_tcp.py", import.meta.url));
const DEADLINE_MS = 30_000;

/** Debian's packages are for Debian's own Python, which need not be the first on PATH. */
const PYTHON = ["/usr/bin/python3", "python3"].find((python) => imports(python, "cbor2, cryptography")) ?? "python3";

function imports(python: string, modules: string): boolean {
  return spawnSync(python, ["-c", `import ${modules}`]).status === 0;
}

/** The command `needs` is to look for: one that cannot be there when Python lacks the module. */
function commandOf(module: string): string {
  return imports(PYTHON, module) ? "python3" : `Python's ${module}`;
}

const missing = [
  needs("python3-cryptography", commandOf("cryptography")).skip,
  needs("python3-cbor2", commandOf("cbor2")).skip,
].filter((line) => line !== false);
const options = { skip: missing.length > 0 ? missing.join("; ") : false, timeout: 4 * DEADLINE_MS };

type Session = Parameters<World["say"]>[0];
type Line = Readonly<Record<string, unknown>>;

async function api(world: World, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${world.url}/api/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${world.master}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const reply = (await response.json()) as Record<string, unknown>;
  assert.ok(response.ok, JSON.stringify(reply));
  return reply;
}

async function openSession(world: World): Promise<Session> {
  return (await api(world, "sessions", { title: "python" }))["session"] as Session;
}

async function deviceKey(world: World): Promise<string> {
  const scopes = ["sessions:read", "sessions:input", "sessions:answer"];
  const { key } = await api(world, "tokens", { label: "python", scopes, device: true });
  const { id, secret } = key as { id: string; secret: string };
  return `${id}:${secret}`;
}

async function logOf(world: World, session: Session, from: number): Promise<Line[]> {
  return (await api(world, `sessions/${session}/frames?from=${from}&limit=1000`))["frames"] as Line[];
}

/** The script while it runs, with what it printed so far. */
class Client implements Disposable {
  readonly lines: Line[] = [];
  stderr = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #home = mkdtempSync(join(tmpdir(), "cib-python-"));
  readonly #waiting = new Set<() => void>();

  constructor(port: number, key: string, session: string, ...more: string[]) {
    const env = { PATH: process.env["PATH"], HOME: this.#home, CIB_DEVICE_KEY: key };
    const child = spawn(PYTHON, ["-B", SCRIPT, `127.0.0.1:${port}`, session, ...more], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#ended = Promise.all([
      once(child, "close"),
      once(createInterface(child.stdout).on("line", this.#take), "close"),
    ]);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    void once(child, "close").then(() => this.#tell());
  }

  readonly #take = (line: string): void => {
    this.lines.push(JSON.parse(line) as Line);
    this.#tell();
  };

  #tell(): void {
    for (const look of this.#waiting) look();
  }

  /** When it has printed a line that fits. */
  async printed(what: string, fits: (line: Line) => boolean): Promise<Line> {
    return await new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        clearTimeout(deadline);
        this.#waiting.delete(look);
        then();
      };
      const fail = (why: string): void =>
        settle(() => reject(new Error(`${why} without ${what}: ${JSON.stringify(this.lines)} ${this.stderr}`)));
      const look = (): void => {
        const line = this.lines.find(fits);
        if (line !== undefined) settle(() => resolve(line));
        else if (this.#child.exitCode !== null) fail(`it ended with ${this.#child.exitCode}`);
      };
      const deadline = setTimeout(() => fail(`${DEADLINE_MS} ms went by`), DEADLINE_MS);
      this.#waiting.add(look);
      look();
    });
  }

  /** Its exit code. */
  async ended(): Promise<number | null> {
    const deadline = setTimeout(() => this.#child.kill("SIGKILL"), DEADLINE_MS);
    await this.#ended;
    clearTimeout(deadline);
    return this.#child.exitCode;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
    rmSync(this.#home, { recursive: true, force: true });
  }
}

/** Passes bytes on; with `cut` it ends the first connection in the middle of the record that answers the client's third message, its command. */
class Forward implements AsyncDisposable {
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: () => number, cut: boolean) {
    this.#server = createServer((client) => {
      const cuts = ++this.connections === 1 && cut;
      const box = connect(target(), "127.0.0.1");
      let messages = 0;
      client.on("data", (bytes) => {
        messages++;
        box.write(bytes);
      });
      box.on("data", (bytes) => {
        if (!cuts || messages < 3) client.write(bytes);
        else {
          client.end(bytes.subarray(0, 10));
          box.destroy();
        }
      });
      for (const [one, other] of [
        [client, box],
        [box, client],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => undefined).on("close", () => other.end());
      }
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

test(
  "the Python client prints every frame of a session as the log has it, old ones and new ones",
  options,
  async () => {
    await using world = await openWorld();
    const session = await openSession(world);
    world.say(
      session,
      { type: "text.delta", text: "Grüße \u001b[31m 🙂", message: "m1" },
      { type: "text.delta", text: "long ".repeat(10_000), message: "m2" },
      { type: "thinking", text: "hm" },
      { type: "tool.use.start", id: "t1", tool: "Bash", input: { command: "date", items: [1], options: { a: null } } },
      { type: "tool.use.result", id: "t1", tool: "Bash", output: null, error: "no", duration_ms: 3 },
      { type: "todo.update", items: [{ id: "1", subject: "a", status: "pending", activeForm: "doing a" }] },
      { type: "usage", input: 1, output: 2, cache_read: 3, cache_write: 4, model: "m", cost_usd: 0.25 },
      { type: "meta", note: "n" },
      { type: "error", code: "c", message: "m" },
    );
    using client = new Client(world.tcpPort, await deviceKey(world), session, "--from", "1");
    await client.printed("the old frames", (line) => line["type"] === "error");
    world.say(
      session,
      { type: "hook", name: "h", event: "Stop", payload: { a: [1] } },
      { type: "stop", reason: "end_turn" },
    );
    await client.printed("the new frames", (line) => line["type"] === "stop");
    assert.deepEqual(client.lines, await logOf(world, session, 1));
    assert.equal(client.stderr, "");
  },
);

test("--say hands Claude one text and ends with its turn, not with one before it", options, async () => {
  await using world = await openWorld();
  const session = await openSession(world);
  world.say(session, { type: "stop", reason: "end_turn" });
  using client = new Client(world.tcpPort, await deviceKey(world), session, "--from", "1", "--say", "Run date");
  assert.equal(await client.ended(), 0, client.stderr);
  assert.deepEqual(world.prompts(session), ["Run date"]);
  assert.deepEqual(client.lines, (await logOf(world, session, 1)).slice(0, client.lines.length));
  assert.equal(client.lines.filter(({ type }) => type === "stop").length, 2);
});

for (const decision of ["allow", "deny"] as const)
  test(`--${decision} answers the next question, and none from before`, options, async () => {
    await using world = await openWorld();
    const session = await openSession(world);
    const ask = (id: string): void =>
      world.say(session, {
        type: "ask.question",
        id,
        of: 1,
        kind: "permission",
        prompt: "Allow Bash?",
        options: [{ label: "Allow", description: "runs it" }, { label: "Deny" }],
        multiSelect: false,
        tool: "Bash",
        input: { command: "date" },
        summary: "date",
      });
    ask("old/0");
    using client = new Client(world.tcpPort, await deviceKey(world), session, "--from", "1", `--${decision}`);
    await client.printed("the old question", (line) => line["id"] === "old/0");
    ask("new/0");
    const answer = await client.printed("the answer", (line) => line["type"] === "ask.answer");
    assert.equal(answer["id"], "new/0");
    assert.equal(answer["answer"], decision);
    const frames = await logOf(world, session, 1);
    assert.deepEqual(client.lines, frames.slice(0, client.lines.length));
    assert.equal(frames.filter(({ type }) => type === "ask.answer").length, 1);
    // The frame is on disk before Claude has the answer.
    while (world.settled(session).length === 0) await api(world, "health");
    const [settled, ...others] = world.settled(session);
    assert.deepEqual([settled?.[0], settled?.[1].behavior, others], ["new", decision, []]);
  });

test("a link cut between a command and its reply loses nothing and does nothing twice", options, async () => {
  await using world = await openWorld();
  const session = await openSession(world);
  world.say(session, { type: "text.delta", text: "before" });
  await using proxy = new Forward(() => world.tcpPort, true);
  const port = await proxy.listen();
  using client = new Client(port, await deviceKey(world), session, "--from", "1", "--say", "Run date");
  assert.equal(await client.ended(), 0, client.stderr);
  assert.equal(proxy.connections, 2);
  assert.match(client.stderr, /coming back/);
  assert.deepEqual(world.prompts(session), ["Run date"]);
  const frames = await logOf(world, session, 1);
  assert.equal(frames.filter(({ state }) => state === "accepted").length, 1);
  assert.deepEqual(client.lines, frames.slice(0, client.lines.length));
});

test("frames that the box made while it was restarted reach the Python client in order", options, async () => {
  await using world = await openWorld();
  const session = await openSession(world);
  world.say(session, { type: "text.delta", text: "before" });
  await using proxy = new Forward(() => world.tcpPort, false);
  using client = new Client(await proxy.listen(), await deviceKey(world), session, "--from", "1");
  await client.printed("the first text", (line) => line["text"] === "before");
  await world.stop();
  await world.start();
  world.say(session, { type: "text.delta", text: "after" });
  await client.printed("the second text", (line) => line["text"] === "after");
  assert.deepEqual(client.lines, (await logOf(world, session, 1)).slice(0, client.lines.length));
});

test("a wrong secret ends the Python client with 1 and a line that says where to look", options, async () => {
  await using world = await openWorld();
  const session = await openSession(world);
  const key = await deviceKey(world);
  using client = new Client(world.tcpPort, `${key.slice(0, -4)}${key.endsWith("0000") ? "1111" : "0000"}`, session);
  assert.equal(await client.ended(), 1);
  assert.match(client.stderr, /^cib_tcp: no link: .*CIB_DEVICE_KEY.*\n$/);
  assert.deepEqual(client.lines, []);
});

test("without a key the Python client says which variable it wants and ends with 2", options, async () => {
  using client = new Client(1, "", "0190f0c2-7a11-7c33-9a55-1234567890ab");
  assert.equal(await client.ended(), 2);
  assert.match(client.stderr, /CIB_DEVICE_KEY/);
});
