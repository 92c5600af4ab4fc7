/** cib attach, tested: keys go out, the screen comes in, and the terminal is given back whatever happens. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { attach } from "../../src/cli/attach.ts";
import type { Link } from "../../src/cli/link.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import type { FeedOptions, Item, VerdictMark } from "../../src/client/feed.ts";
import { CibError } from "../../src/errors.ts";
import type { Frame, PtyFrame, SessionId } from "../../src/frame/frame.ts";
import { stage } from "./stage.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const NEVER = new AbortController().signal;

/** A person at a terminal: types with `keys`, sees `screen`. */
class FakeTerminal implements Terminal {
  isTTY = true;
  cols = 100;
  rows = 30;
  screen = "";
  taken = 0;
  keys: (bytes: Uint8Array) => void = () => assert.fail("the terminal was not taken");
  resized: () => void = () => assert.fail("the terminal was not taken");
  take(keys: (bytes: Uint8Array) => void, resized: () => void): void {
    this.taken++;
    this.keys = keys;
    this.resized = resized;
  }
  write(bytes: Uint8Array): void {
    this.screen += Buffer.from(bytes).toString();
  }
  giveBack(): void {
    this.taken--;
  }
}

/** A link whose frames come from `script`, which sees the commands sent so far. */
class FakeLink implements Link {
  readonly commands: Readonly<Record<string, unknown>>[] = [];
  readonly wants: FeedOptions[] = [];
  sessions: readonly unknown[] = [];
  readonly closed = new AbortController();
  readonly #script: (link: FakeLink) => AsyncIterable<Item>;
  constructor(script: (link: FakeLink) => AsyncIterable<Item>) {
    this.#script = script;
  }
  async run({ cmd, session }: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
    if (cmd === "sessions.list") return { sessions: this.sessions };
    if (cmd === "sessions.get" && session === SESSION) return {};
    throw new CibError("not_found", `no session ${String(session)}`);
  }
  post(command: Readonly<Record<string, unknown>>): boolean {
    this.commands.push(command);
    return true;
  }
  attach(_session: string, want: FeedOptions): AsyncIterable<Item> {
    this.wants.push(want);
    return this.#script(this);
  }
  close(): void {
    this.closed.abort();
  }
  /** Resolves when the person has left. */
  gone(): Promise<void> {
    if (this.closed.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => this.closed.signal.addEventListener("abort", () => resolve()));
  }
}

const bytes = (text: string): PtyFrame => ({
  type: "pty.raw",
  session: SESSION,
  ts: 0,
  offset: 0,
  data: Buffer.from(text),
});
const stopped: Frame = { type: "status", session: SESSION, seq: 9, ts: 0, state: "stopped", elapsed_ms: 0 };
const opened: VerdictMark = { type: "verdict", session: SESSION, epoch: 1, first: 1, last: 8, from: 9, verdict: "ok" };
const typed = (link: FakeLink) =>
  link.commands.filter(({ cmd }) => cmd === "input").map(({ data }) => Buffer.from(data as Uint8Array).toString());

async function run(args: readonly string[], deps: { open: () => Link; terminal: Terminal }, stop = NEVER) {
  const io = stage({ CIB_URL: "http://127.0.0.1:1", CIB_TOKEN: "x" });
  return { code: await attach(args, io, stop, deps), io };
}

async function sit(script: (link: FakeLink, terminal: FakeTerminal) => AsyncIterable<Item>) {
  const terminal = new FakeTerminal();
  const link = new FakeLink((self) => script(self, terminal));
  const { code, io } = await run([SESSION], { open: () => link, terminal });
  return { code, terminal, link, io };
}

describe("at the terminal", () => {
  test("keys go out as they are and the screen comes in, until the session stops", async () => {
    const { code, terminal, link, io } = await sit(async function* (_link, person) {
      yield bytes("\x1b[2Jhello");
      person.keys(Buffer.from("hi\r"));
      yield stopped;
    });
    assert.equal(code, 1);
    assert.equal(terminal.screen, "\x1b[2Jhello");
    assert.deepEqual(typed(link), ["hi\r"]);
    assert.match(io.said.err, /has ended/);
    assert.deepEqual(link.wants, [{ pty: true, types: ["status"] }]);
  });

  for (const [name, key] of [
    ["plain", "\x1d"],
    ["kitty's", "\x1b[93;5u"],
    ["xterm's", "\x1b[27;5;93~"],
  ] as const) {
    test(`ctrl-] leaves, in ${name} spelling; what came before it is still typed`, async () => {
      const { code, link, io } = await sit(async function* (self, person) {
        yield bytes("$ ");
        person.keys(Buffer.from(`last${key}lost`));
        await self.gone();
      });
      assert.equal(code, 0);
      assert.deepEqual(typed(link), ["last"]);
      assert.match(io.said.err, /it goes on/);
    });
  }

  test("what the terminal itself answers is not typed", async () => {
    const { link } = await sit(async function* (_link, person) {
      const answers = [
        "\x1b[?62;22c",
        "\x1b[>0;276;0c",
        "\x1b[24;80R",
        "\x1b[?2026;2$y",
        "\x1bP>|xterm(390)\x1b\\",
        "\x1b]11;rgb:0000/0000/0000\x07",
        "\x1b[?1u",
      ];
      for (const answer of answers) person.keys(Buffer.from(answer));
      for (const key of ["a\x1b[24;80Rb", "\x1b[A", "\x1b[1;2R", "é"]) person.keys(Buffer.from(key));
      yield stopped;
    });
    assert.deepEqual(typed(link), ["ab", "\x1b[A", "\x1b[1;2R", "é"]);
  });

  test("the session gets the terminal's size at once, a little less first so that it draws again, and whenever it changes", async () => {
    const { link } = await sit(async function* (self, person) {
      yield opened;
      yield bytes("");
      while (self.commands.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
      person.cols = 50;
      person.resized();
      yield stopped;
    });
    const size = { cmd: "resize", session: SESSION, cols: 100, rows: 30 };
    assert.deepEqual(link.commands, [{ ...size, rows: 29 }, size, { ...size, cols: 50 }]);
  });

  test("the terminal is given back after a refusal, which is told", async () => {
    const terminal = new FakeTerminal();
    // biome-ignore lint/correctness/useYield: it refuses before the first frame
    const link = new FakeLink(async function* () {
      throw new CibError("forbidden", "this token may not see the terminal");
    });
    await assert.rejects(
      run([SESSION], { open: () => link, terminal }),
      /^Failure: forbidden: this token may not see the terminal$/,
    );
    assert.equal(terminal.taken, 0);
    assert.ok(link.closed.signal.aborted);
  });

  test("a signal ends it and gives the terminal back", async () => {
    const terminal = new FakeTerminal();
    const stop = new AbortController();
    const link = new FakeLink(async function* (self) {
      yield bytes("$ ");
      stop.abort();
      await self.gone();
    });
    await run([SESSION], { open: () => link, terminal }, stop.signal);
    assert.equal(terminal.taken, 0);
  });

  test("without a terminal it says what to do instead", async () => {
    const terminal = new FakeTerminal();
    terminal.isTTY = false;
    const open = () => assert.fail("must not connect");
    await assert.rejects(run([SESSION], { open, terminal }), /no terminal; --frames/);
  });
});

describe("as frames", () => {
  const text: Frame = { type: "text.delta", session: SESSION, seq: 4, ts: 0, text: "Hello" };
  const deps = (link: FakeLink) => ({ open: () => link, terminal: new FakeTerminal() });
  const once = () =>
    new FakeLink(async function* () {
      yield text;
    });

  test("each is a line, from where and of which types was asked", async () => {
    const link = once();
    const args = [SESSION, "--frames", "--from", "4", "--types", "text.delta,stop"];
    const { code, io } = await run(args, deps(link));
    assert.equal(code, 0);
    assert.equal(io.said.out, "    4  text      Hello\n");
    assert.deepEqual(link.wants, [{ from: 4, types: ["text.delta", "stop"] }]);
  });

  test("--json gives the frame as it is", async () => {
    const { io } = await run([SESSION, "--json"], deps(once()));
    assert.deepEqual(JSON.parse(io.said.out), text);
  });

  test("what is no longer kept is said beside the frames", async () => {
    const link = new FakeLink(async function* () {
      yield { ...opened, verdict: "gap", first: 5 };
      yield { type: "gap", from: 9, to: 12 };
      yield { ...opened, verdict: "ahead" };
    });
    const { io } = await run([SESSION, "--frames", "--from", "1"], deps(link));
    assert.equal(io.said.out, "");
    assert.match(io.said.err, /before 5 are no longer kept\n.*9 to 11 are no longer kept\n.*forget those from 9 on\n/s);
  });

  test("a wrong session is told before the terminal is taken", async () => {
    const link = once();
    const terminal = new FakeTerminal();
    terminal.take = () => assert.fail("must not take the terminal");
    const other = SESSION.replace("0190", "0191");
    await assert.rejects(run([other], { open: () => link, terminal }), /^Failure: not_found: no session 0191/);
    assert.deepEqual(link.wants, []);
  });

  test("a paste goes out in pieces that every link takes, in order", async () => {
    const pasted = Buffer.from(Array.from({ length: 40_000 }, (_, i) => 97 + (i % 26)));
    const { link } = await sit(async function* (_link, person) {
      yield bytes("");
      person.keys(pasted);
      yield stopped;
    });
    const sizes = link.commands.map(({ data }) => (data as Uint8Array).length);
    assert.deepEqual(sizes, [15_360, 15_360, 9280]);
    assert.equal(typed(link).join(""), String(pasted));
  });

  for (const [args, message] of [
    [[SESSION, "--frames", "--from", "x"], /from: expected a whole number/],
    [[SESSION, "--frames", "--types", "text"], /no frame type "text"/],
    [[SESSION, "--from", "1"], /go with --frames/],
    [[SESSION, "more"], /what to do with "more"/],
  ] as const) {
    test(`"attach ${args.slice(1).join(" ")}" is refused with a reason`, async () => {
      await assert.rejects(run(args, deps(once())), message);
    });
  }
});

describe("which session", () => {
  const sessions = [
    { session: SESSION, state: "idle", title: "one" },
    { session: "0190aaaa-7a11-7c33-9a55-1234567890ab", state: "stopped" },
  ];
  const found = async (given: readonly string[], list: unknown[]) => {
    const link = new FakeLink(async function* () {});
    link.sessions = list;
    const seen: string[] = [];
    link.attach = (session) => {
      seen.push(session);
      return (async function* () {})();
    };
    await attach([...given, "--frames"], stage({ CIB_URL: "http://127.0.0.1:1", CIB_TOKEN: "x" }), NEVER, {
      open: () => link,
      terminal: new FakeTerminal(),
    });
    return seen;
  };

  test("the only one that runs needs no name", async () => assert.deepEqual(await found([], sessions), [SESSION]));
  test("the beginning of its id is enough", async () =>
    assert.deepEqual(await found(["0190a"], sessions), [sessions[1]?.session]));
  test("several are listed", async () =>
    assert.rejects(found(["0190"], sessions), /several sessions.*\n {2}0190f0c2.*idle {2}one/));
  test("none is said so", async () => {
    await assert.rejects(found(["ff"], sessions), /no session begins with "ff"/);
    await assert.rejects(found([], []), /no session runs/);
  });
});
