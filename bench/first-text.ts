/** First text: from Claude's own hook call to the frame at a client, and the same with a bare server in the daemon's place. */
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { prepare } from "../src/agent/command.ts";
import { spawnPty } from "../src/agent/pty.ts";
import { readSessionFile, sessionFile } from "../src/agent/status.ts";
import { detectVersion, rowFor } from "../src/agent/versions.ts";
import type { SessionId } from "../src/frame/frame.ts";
import { claude, create, DEADLINE_MS, Follower, reach, send, type World, world } from "./box.ts";
import type { Question } from "./question.ts";
import { median, num, quantile } from "./stats.ts";

/** Lines of one turn, and turns of each way; the ways take turns. */
const LINES = 20;
const TURNS = 3;
const LINE_MS = 150;
const HOOKS = 200;
const HOOK_MS = 15;
/** The paste before the Enter, as the daemon leaves it. */
const PASTE_MS = 200;

/** When the model wrote each line and when it was seen, by its words. */
type Times = Map<string, number>;

export const firstText: Question = {
  name: "first-text",
  asks: "How long from Claude's own hook call to the text frame at a WebSocket client?",
  async run() {
    const wrote: Times = new Map();
    let turns = 0;
    await using w = await world(() => ({ blocks: [{ text: lines(turns++, wrote) }] }));
    const session = await create(w.box);
    await send(w.box, session, "warm up");
    await reach(w.box, session, "idle");
    const seen: Times = new Map();
    let posted = (_text: string, _at: number): void => undefined;
    using follower = new Follower(w.box, `session=${session}&types=text.delta`, (frame, at) => {
      if (frame.type !== "text.delta") return;
      note(seen, frame.text, at);
      posted(frame.text, at);
    });
    await follower.opened;
    await using bare = await BareClaude.start(w);

    for (let i = 0; i < TURNS; i++) {
      await bare.turn(`go ${i}`);
      await send(w.box, session, `go ${i}`);
      await reach(w.box, session, "idle");
    }
    const through = differences(wrote, seen);
    const direct = differences(wrote, bare.seen);

    const own: number[] = [];
    const hook = hookOf(w, session);
    for (let i = 0; i < HOOKS; i++) {
      own.push(
        await new Promise<number>((done, fail) => {
          const timer = setTimeout(() => fail(new Error("first-text: no frame for a hook call")), DEADLINE_MS);
          const from = performance.now();
          posted = (text, at) => {
            if (text !== `posted ${i}\n`) return;
            clearTimeout(timer);
            done(at - from);
          };
          hook(`posted ${i}\n`, i);
        }),
      );
      await pause(HOOK_MS);
    }
    const row = (name: string, ms: readonly number[]) => [
      name,
      String(ms.length),
      num(median(ms)),
      num(quantile(ms, 0.95)),
      num(Math.max(...ms)),
    ];
    return {
      columns: ["from → to", "n", "median ms", "p95", "most"],
      rows: [
        row("hook call → frame at the client (the daemon's part)", own),
        row("model's newline → frame at the client (Claude and daemon)", through),
        row("model's newline → hook call at a bare HTTP server (Claude alone)", direct),
        ["difference of the last two", "", num(median(through) - median(direct)), "", ""],
      ],
      notes: [
        `First row: a MessageDisplay call as Claude makes it, posted to the hook address of a live session over one kept connection, until its text.delta has arrived and is decoded; ${HOOK_MS} ms apart. Other rows: real Claude Code and a scripted model that writes a line every ${LINE_MS} ms, ${TURNS} turns each way, alternating; model, client and bare server are one process with one clock. Claude hands over whole lines, so a line's first letters wait for its end.`,
      ],
      figures: {
        hook_ms: median(own),
        through_ms: median(through),
        bare_ms: median(direct),
        added_ms: median(through) - median(direct),
      },
    };
  },
};

/** Each line with its newline as one piece; its time is taken as it is handed to the socket. */
async function* lines(turn: number, wrote: Times): AsyncGenerator<string> {
  for (let i = 0; i < LINES; i++) {
    const line = `turn ${turn} line ${i}.`;
    wrote.set(line, performance.now());
    yield `${line}\n`;
    await pause(LINE_MS);
  }
}

function note(seen: Times, text: string, at: number): void {
  for (const [line] of text.matchAll(/turn \d+ line \d+\./g)) if (!seen.has(line)) seen.set(line, at);
}

function differences(wrote: Times, seen: Times): number[] {
  return [...seen].flatMap(([line, at]) => {
    const from = wrote.get(line);
    // The first line of a turn waits for Claude to draw the answer's head, the last for the end of the message: all count.
    return from === undefined ? [] : [at - from];
  });
}

/** Posts MessageDisplay calls as Claude does, to the address in the session's settings. */
function hookOf(w: World, session: string): (delta: string, n: number) => void {
  const file = join(w.box.folder, "home/.claude-in-box", session, "settings.json");
  const settings = JSON.parse(readFileSync(file, "utf8")) as {
    hooks: { MessageDisplay: { hooks: { url: string }[] }[] };
  };
  const url = settings.hooks.MessageDisplay[0]?.hooks[0]?.url;
  if (url === undefined) throw new Error("first-text: this Claude Code has no MessageDisplay hook");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return (delta, n) => {
    const body = JSON.stringify({
      session_id: session,
      hook_event_name: "MessageDisplay",
      turn_id: "bench",
      message_id: `bench-${n}`,
      index: 0,
      final: false,
      delta,
    });
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    request(url, { method: "POST", agent, headers }, (res) => res.resume()).end(body);
  };
}

/** The same Claude Code with one hook, to a server that does nothing but look at the clock. */
class BareClaude implements AsyncDisposable {
  readonly seen: Times = new Map();
  readonly #server = createServer((req, res) => {
    let body = "";
    req.setEncoding("utf8").on("data", (part: string) => {
      body += part;
    });
    req.on("end", () => {
      const at = performance.now();
      res.writeHead(200, { "content-type": "application/json" }).end("{}");
      const { hook_event_name: event, delta } = JSON.parse(body) as { hook_event_name?: string; delta?: string };
      if (event === "MessageDisplay") note(this.seen, delta ?? "", at);
      if (event === "Stop") this.#stopped();
    });
  });
  #stopped: () => void = () => undefined;
  #pty: ReturnType<typeof spawnPty> | undefined;
  #status = "";
  #gone: Promise<void> = Promise.resolve();

  static async start(w: World): Promise<BareClaude> {
    const bare = new BareClaude();
    await new Promise<void>((done) => bare.#server.listen(0, "127.0.0.1", done));
    const { port } = bare.#server.address() as AddressInfo;
    const session = "00000000-0000-4000-8000-000000000001" as SessionId;
    const home = join(w.box.folder, "bare");
    const spec = {
      session,
      conversation: session,
      start: "new",
      workdir: join(home, "work"),
      model: "sonnet",
      bypass: true,
      cols: 120,
      rows: 40,
      home,
      engine: "pty",
      askTimeoutS: 600,
      configDir: join(home, ".claude"),
      projectsDir: join(home, ".claude", "projects"),
      runDir: join(home, "run"),
      credential: { mode: "api_key", key: "sk-ant-dummy-000000000000000000000000000000" },
      env: {},
      baseUrl: w.model.url,
      thinking: false,
    } as const;
    await mkdir(spec.workdir, { recursive: true });
    const { row } = rowFor(await detectVersion(claude(), { PATH: process.env["PATH"] ?? "" }));
    const hooks = { ...row, hooks: ["MessageDisplay", "Stop"] };
    const launch = await prepare(spec, hooks, "bench", claude(), (event) => `http://127.0.0.1:${port}/${event}`);
    bare.#gone = new Promise((gone) => {
      bare.#pty = spawnPty(
        { ...launch, cwd: spec.workdir, cols: 120, rows: 40 },
        { data: () => undefined, exit: () => gone() },
      );
    });
    bare.#status = sessionFile(spec.configDir, bare.#pty?.pid ?? 0);
    return bare;
  }

  /** Types one prompt and resolves at the end of its turn. */
  async turn(prompt: string): Promise<void> {
    const until = Date.now() + DEADLINE_MS;
    while ((await readSessionFile(this.#status))?.state !== "idle") {
      if (Date.now() > until) throw new Error("first-text: Claude is not idle");
      await pause(50);
    }
    const stopped = new Promise<void>((done, fail) => {
      this.#stopped = done;
      setTimeout(() => fail(new Error("first-text: the turn did not end")), DEADLINE_MS).unref();
    });
    this.#pty?.write(`\x1b[200~${prompt}\x1b[201~`);
    await pause(PASTE_MS);
    this.#pty?.write("\r");
    await stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#pty !== undefined) process.kill(this.#pty.pid, "SIGKILL");
    await this.#gone;
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
