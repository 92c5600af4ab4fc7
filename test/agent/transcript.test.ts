import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { Position } from "../../src/agent/agent.ts";
import type { Json } from "../../src/agent/json.ts";
import { LineCutter, MAX_LINE_BYTES } from "../../src/agent/lines.ts";
import type { Source } from "../../src/agent/source.ts";
import { newState } from "../../src/agent/state.ts";
import { shows, Transcript } from "../../src/agent/transcript.ts";
import { translate } from "../../src/agent/translate.ts";
import { rowFor } from "../../src/agent/versions.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { parse } from "../transcripts/replay.ts";

const scratch = mkdtempSync(join(tmpdir(), "cib-transcript-"));
let runs = 0;
afterEach(() => rmSync(join(scratch, "projects"), { recursive: true, force: true }));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

const fresh = (): { root: string; file: (name: string) => string } => {
  const root = join(scratch, "projects", String(runs++));
  mkdirSync(join(root, "work"), { recursive: true });
  return { root, file: (name) => join(root, "work", `${name}.jsonl`) };
};
const follower = (
  root: string,
  at: Position,
  line: (line: Json, agent: string | undefined) => void,
  skipped: (bytes: number) => void = () => undefined,
): Transcript =>
  new Transcript(root, at, 0, {
    line,
    skipped,
    fault(what) {
      throw what;
    },
  });
const user = (content: string, timestamp = "2026-01-01T00:00:00.000Z"): string =>
  `${JSON.stringify({ type: "user", message: { role: "user", content }, timestamp })}\n`;

describe("the line cutter", () => {
  it("gives the same lines however the bytes are cut", () => {
    const piece = fc.string({ unit: "grapheme", maxLength: 40 }).map((s) => s.replaceAll("\n", ""));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.array(fc.nat(400), { maxLength: 30 }), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
        const cutter = new LineCutter(0);
        const got: string[] = [];
        let from = 0;
        for (const to of [...cuts.filter((cut) => cut <= bytes.length).sort((a, b) => a - b), bytes.length]) {
          cutter.push(
            bytes.subarray(from, to),
            (line) => got.push(line),
            () => assert.fail("nothing is too long"),
          );
          from = to;
        }
        assert.deepEqual(
          got,
          lines.filter((line) => line.trim() !== ""),
        );
        assert.equal(cutter.offset, bytes.length);
      }),
    );
  });

  it("passes over a line above its limit, counts its bytes, and goes on with the next", () => {
    const cutter = new LineCutter(0);
    const got: string[] = [];
    const skipped: number[] = [];
    const push = (text: string): void =>
      cutter.push(
        Buffer.from(text),
        (line) => got.push(line),
        (bytes) => skipped.push(bytes),
      );
    push("a\n");
    const chunk = "x".repeat(1024 * 1024);
    for (let i = 0; i < 20; i++) push(chunk);
    push("\nb\n");
    assert.deepEqual(got, ["a", "b"]);
    assert.deepEqual(skipped, [20 * 1024 * 1024]);
    assert.equal(cutter.offset, 2 + 20 * 1024 * 1024 + 1 + 2);
    assert.ok(20 * 1024 * 1024 > MAX_LINE_BYTES);
  });
});

describe("following a transcript", () => {
  const here = dirname(fileURLToPath(import.meta.url));
  const recorded = (version: string, scenario: string): Source[] =>
    parse(readFileSync(join(here, "..", "transcripts", version, scenario, "in.jsonl"), "utf8"));
  /** What must not depend on how the file was written: the frames, where those of text alone are joined. */
  const joined = (frames: readonly FrameBody[]): string[] => {
    const out: string[] = [];
    for (const frame of frames) {
      const last = out.at(-1);
      const head = frame.type === "text.delta" ? `text ${frame.message} ${frame.agent}: ` : undefined;
      if (head !== undefined && last?.startsWith(head))
        out[out.length - 1] = last + (frame.type === "text.delta" ? frame.text : "");
      else
        out.push(head === undefined ? JSON.stringify(frame) : head + (frame.type === "text.delta" ? frame.text : ""));
    }
    return out;
  };

  for (const [version, scenario] of [
    ["2.1.197", "clear"],
    ["2.1.112", "clear"],
    ["2.1.112", "parallel-tools"],
    ["2.1.330", "tasks"],
  ] as const) {
    it(`${version} ${scenario}: any way of cutting and delaying the writes, and of rolling over to new files, gives the same frames`, async () => {
      const lines = recorded(version, scenario).flatMap((source) =>
        source.src === "line" && source.agent === undefined ? [source.line] : [],
      );
      const bytes = lines.map((line) => Buffer.from(`${JSON.stringify(line)}\n`));
      const told = (run: (on: (line: Json) => void) => Promise<void>): Promise<string[]> => {
        const state = newState(rowFor(version).row, true);
        const frames: FrameBody[] = [];
        // The prompt opens the turn as its hook would; everything else comes from the transcript alone.
        frames.push(...translate(state, { src: "hook", at: 0, event: "UserPromptSubmit", body: {} }));
        return run((line) => void frames.push(...translate(state, { src: "line", at: 0, line }))).then(() =>
          joined(frames),
        );
      };
      const expected = await told(async (on) => lines.forEach(on));
      assert.ok(expected.some((frame) => frame.includes('"stop"')));
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat(lines.length), { maxLength: 3 }),
          fc.array(fc.tuple(fc.nat(2000), fc.boolean()), { minLength: 1, maxLength: 40 }),
          async (rollovers, cuts) => {
            const { root, file } = fresh();
            let names = 0;
            let name = file(String(names));
            const got = await told(async (on) => {
              using transcript = follower(root, { file: name, offset: 0 }, on);
              let turn = 0;
              for (const [i, line] of bytes.entries()) {
                if (rollovers.includes(i)) {
                  name = file(String(++names));
                  await transcript.follow(name, 0);
                }
                for (let from = 0; from < line.length; ) {
                  const [size, read] = cuts[turn++ % cuts.length] ?? [0, true];
                  const to = Math.min(line.length, from + size + 1);
                  appendFileSync(name, line.subarray(from, to));
                  if (read) await transcript.drain();
                  from = to;
                }
              }
              await transcript.drain();
            });
            assert.deepEqual(got, expected);
          },
        ),
        { numRuns: 40 },
      );
    });
  }

  it("reads the rest of the old file before the new one, and neither twice", async () => {
    const { root, file } = fresh();
    const got: unknown[] = [];
    using transcript = follower(root, { file: file("a"), offset: 0 }, (line) => got.push(line["n"]));
    writeFileSync(file("a"), '{"n":1}\n');
    await transcript.drain();
    appendFileSync(file("a"), '{"n":2}\n{"n":');
    writeFileSync(file("b"), '{"n":3}\n');
    await transcript.follow(file("b"), 0);
    await transcript.drain();
    await transcript.drain();
    assert.deepEqual(got, [1, 2, 3]);
    assert.deepEqual(transcript.at, { file: file("b"), offset: 8 });
  });

  it("tells a subagent's lines from the main ones, and refuses names that lead elsewhere", async () => {
    const { root, file } = fresh();
    const got: [unknown, string | undefined][] = [];
    using transcript = follower(root, { file: file("a"), offset: 0 }, (line, agent) => got.push([line["n"], agent]));
    mkdirSync(join(root, "work", "a", "subagents"), { recursive: true });
    writeFileSync(join(root, "work", "a", "subagents", "agent-x1.jsonl"), '{"n":1}\n');
    writeFileSync(join(scratch, "secret.jsonl"), '{"n":"secret"}\n');
    transcript.agent("x1");
    transcript.agent("../../../../secret");
    await transcript.follow(join(root, "..", "..", "secret.jsonl"), 0);
    await transcript.drain();
    assert.deepEqual(got, [[1, "x1"]]);
    assert.equal(transcript.at.file, file("a"));
  });

  it("starts in the middle where it is told to, in bytes", async () => {
    const { root, file } = fresh();
    const first = '{"n":"äöü 漢字"}\n';
    writeFileSync(file("a"), `${first}{"n":2}\n`);
    const got: unknown[] = [];
    using transcript = follower(root, { file: file("a"), offset: Buffer.byteLength(first) }, (line) =>
      got.push(line["n"]),
    );
    await transcript.drain();
    assert.deepEqual(got, [2]);
  });
});

describe("whether a transcript shows a prompt", () => {
  it("looks from the position on: two equal texts are two prompts", async () => {
    const { file } = fresh();
    writeFileSync(file("a"), user("same"));
    const offset = readFileSync(file("a")).length;
    assert.equal(await shows({ file: file("a"), offset: 0 }, "same"), true);
    assert.equal(await shows({ file: file("a"), offset }, "same"), false);
    appendFileSync(file("a"), user("same"));
    assert.equal(await shows({ file: file("a"), offset }, "same"), true);
  });

  it("does not care about line ends, tabs, outer blanks and the marks around long pastes", async () => {
    const { file } = fresh();
    writeFileSync(file("a"), user('\n\n<pasted_content id="e838">\none\n    two\n</pasted_content id="e838">\n'));
    assert.equal(await shows({ file: file("a"), offset: 0 }, " one\r\n\ttwo\r\n"), true);
    assert.equal(await shows({ file: file("a"), offset: 0 }, "one"), false);
  });

  it("knows commands and their arguments, and takes neither results nor reminders for prompts", async () => {
    const { file } = fresh();
    const command =
      "<command-name>/model</command-name>\n            <command-message>model</command-message>\n            <command-args>haiku</command-args>";
    const result = `${JSON.stringify({ type: "user", message: { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "echoed" }] } })}\n`;
    writeFileSync(
      file("a"),
      user(command) +
        user("<local-command-stdout>echoed</local-command-stdout>") +
        user("<bash-input>ls -l</bash-input>") +
        result,
    );
    const at = { file: file("a"), offset: 0 };
    assert.equal(await shows(at, "/model haiku"), true);
    assert.equal(await shows(at, "/model"), false);
    assert.equal(await shows(at, "!ls -l"), true);
    assert.equal(await shows(at, "echoed"), false);
  });

  it("follows /clear into the file it made, and no other file of the folder", async () => {
    const { file } = fresh();
    writeFileSync(file("a"), user("old", "2026-01-01T00:00:00.000Z"));
    writeFileSync(file("stranger"), user("wanted", "2026-01-01T00:00:05.000Z"));
    const at = { file: file("a"), offset: 0 };
    assert.equal(await shows(at, "wanted"), false);
    writeFileSync(
      file("b"),
      user("<command-name>/clear</command-name>", "2026-01-01T00:00:06.000Z") +
        user("wanted", "2026-01-01T00:00:07.000Z"),
    );
    assert.equal(await shows(at, "wanted"), true);
  });

  it("a missing file shows nothing", async () => {
    assert.equal(await shows({ file: fresh().file("none"), offset: 0 }, "x"), false);
  });
});
