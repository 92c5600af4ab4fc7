/** Echo: what the way through the daemon adds to a keystroke. */
import { setTimeout as pause } from "node:timers/promises";
import { spawnPty } from "../src/agent/pty.ts";
import { encodeValue } from "../src/frame/codec.ts";
import { boxWith, create, DEADLINE_MS, Follower } from "./box.ts";
import type { Question } from "./question.ts";
import { median, num, quantile } from "./stats.ts";

/** Keys of one stretch; both ways take turns, so that noise hits both alike. */
const KEYS = 60;
const ROUNDS = 10;
/** A fast typist, ten times over. */
const BETWEEN_MS = 10;
/** Echoes what it is given as the terminal does, until it is ended. */
const PROGRAM = "exec cat";

/** One way to a terminal: sends a key, and is told what comes back. */
interface Way {
  press(key: string): void;
  heard: (text: string) => void;
}

export const echo: Question = {
  name: "echo",
  asks: "How much later does a key echo through the daemon than through node-pty alone?",
  async run() {
    await using box = await boxWith(PROGRAM);
    const session = await create(box);
    const through: Way = { press: () => undefined, heard: () => undefined };
    using follower = new Follower(box, `session=${session}&types=status&pty=true`, (frame) => {
      if (frame.type === "pty.raw") through.heard(Buffer.from(frame.data).toString("latin1"));
    });
    await follower.opened;
    through.press = (key) => follower.send(encodeValue({ cmd: "input", session, data: key, encoding: "utf8" }));

    const bare: Way = { press: () => undefined, heard: () => undefined };
    const spec = {
      argv: ["/bin/sh", "-c", PROGRAM],
      env: { PATH: process.env["PATH"] ?? "" },
      cwd: "/",
      cols: 120,
      rows: 40,
    };
    const pty = spawnPty(spec, { data: (bytes) => bare.heard(bytes.toString("latin1")), exit: () => undefined });
    bare.press = (key) => pty.write(key);

    try {
      for (const way of [bare, through]) await stretch(way);
      const bareMs: number[] = [];
      const throughMs: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        bareMs.push(...(await stretch(bare)));
        throughMs.push(...(await stretch(through)));
      }
      const row = (name: string, ms: readonly number[]) => [
        name,
        num(median(ms)),
        num(quantile(ms, 0.95)),
        num(quantile(ms, 0.99)),
      ];
      const more = median(throughMs) - median(bareMs);
      return {
        columns: ["way", "median ms", "p95", "p99"],
        rows: [
          row("node-pty in the measuring process", bareMs),
          row("WebSocket → daemon → node-pty and back", throughMs),
          ["the daemon's way adds", num(more), "", ""],
        ],
        notes: [
          `${ROUNDS * KEYS} single keys each, ${BETWEEN_MS} ms apart, none lost. Behind both terminals runs \`cat\`, in the daemon in Claude Code's place (CIB_CLAUDE), so the echo is the kernel's: this is the way, not what Claude needs to draw a key. The way through the daemon is two more processes' turns, a WebSocket each way, CBOR, and the check of scope.`,
        ],
        figures: { bare_ms: median(bareMs), ms: median(throughMs), more_ms: more },
      };
    } finally {
      process.kill(pty.pid, "SIGKILL");
    }
  },
};

async function stretch(way: Way): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < KEYS; i++) {
    // A line is never longer than the terminal's own buffer (4,096).
    const key = i === KEYS - 1 ? "\r" : String.fromCharCode(97 + (i % 26));
    times.push(await pressed(way, key));
    await pause(BETWEEN_MS);
  }
  // The last key made cat repeat the line: it belongs to no key.
  return times.slice(0, -1);
}

function pressed(way: Way, key: string): Promise<number> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`echo: ${JSON.stringify(key)} did not come back`)), DEADLINE_MS);
    const from = performance.now();
    way.heard = (text) => {
      if (!text.includes(key)) return;
      clearTimeout(timer);
      way.heard = () => undefined;
      done(performance.now() - from);
    };
    way.press(key);
  });
}
