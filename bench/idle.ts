/** Idle: what a box costs that nobody uses. */
import { setTimeout as pause } from "node:timers/promises";
import { TestBox } from "../test/e2e/box.ts";
import { create, reach, send, world } from "./box.ts";
import { BARE_UWS, Child, EMPTY_NODE } from "./child.ts";
import { cpuSeconds, memory, wakeups } from "./proc.ts";
import type { Question } from "./question.ts";
import { num } from "./stats.ts";

/** Start-up garbage is collected, lazy threads have ended, and Claude has drawn its last hint by then. */
const SETTLE_MS = 30_000;
const WATCH_MS = 30_000;

interface Watched {
  readonly rss: number;
  readonly pss: number;
  readonly wakeups: number;
  readonly cpu: number;
}

export const idle: Question = {
  name: "idle",
  asks: "What does a daemon cost while nothing happens, alone and with a session of real Claude Code at rest?",
  async run() {
    await using empty = Child.script(EMPTY_NODE);
    await using bare = Child.script(BARE_UWS);
    await Promise.all([empty.line(), bare.line()]);
    await using box = await TestBox.start({ model: "http://127.0.0.1:9" });
    await using inhabited = await world(() => ({ blocks: [{ text: "Done.\n" }] }));
    const session = await create(inhabited.box);
    await send(inhabited.box, session, "hello");
    await reach(inhabited.box, session, "idle");
    const names = [
      "node, only waiting",
      "bare uWebSockets.js",
      "cib serve, no session",
      "cib serve, one session at rest",
    ];
    const pids = [empty.pid, bare.pid, box.pid, inhabited.box.pid];
    await pause(SETTLE_MS);
    const watched = await watch(pids);
    const [, , alone, resting] = watched as [Watched, Watched, Watched, Watched];
    return {
      columns: ["process", "RSS MB", "PSS MB", "wakeups/s", "CPU %"],
      rows: watched.map((w, i) => [names[i] ?? "", num(w.rss, 1), num(w.pss, 1), num(w.wakeups, 1), num(w.cpu, 2)]),
      notes: [
        `All four at the same time, over ${WATCH_MS / 1000} s after ${SETTLE_MS / 1000} s of rest; all listeners up, no client. Wakeups are the voluntary context switches of all threads; about 1.2 of them are uWebSockets.js' own timers. PSS divides what several Node processes share, so it is lower here than on a box that runs one. CPU time has a step of 10 ms, ${num(1 / (WATCH_MS / 1000))} % here. The last row is the daemon only: Claude Code is a process of its own and costs what it costs.`,
      ],
      figures: {
        rss_mb: alone.rss,
        pss_mb: alone.pss,
        wakeups_per_s: alone.wakeups,
        session_rss_mb: resting.rss,
        session_wakeups_per_s: resting.wakeups,
      },
    };
  },
};

async function watch(pids: readonly number[]): Promise<Watched[]> {
  const look = () => pids.map((pid) => ({ wakeups: wakeups(pid), cpu: cpuSeconds(pid), at: performance.now() }));
  const before = look();
  await pause(WATCH_MS);
  return look().map((now, i) => {
    const { at, wakeups: woke, cpu } = before[i] as (typeof before)[number];
    const seconds = (now.at - at) / 1000;
    const { rss, pss } = memory(pids[i] as number);
    return {
      // MB as everyone else prints them: of 1,024 × 1,024 bytes.
      rss: rss / 1024,
      pss: pss / 1024,
      wakeups: (now.wakeups - woke) / seconds,
      cpu: (100 * (now.cpu - cpu)) / seconds,
    };
  });
}
