/** Clients: memory of a connection that only waits. */
import { setTimeout as pause } from "node:timers/promises";
import { boxWith, create } from "./box.ts";
import { BARE_UWS, Child } from "./child.ts";
import { memory } from "./proc.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const CLIENTS = 500;
/** Opened and closed again before the count: code compiled, pools made. */
const WARM_CLIENTS = 50;
const ROUNDS = 5;
const SETTLE_MS = 2_000;

/** What crowd.ts is told: `paths` are opened `count` times. */
type Kind = "ws" | "ws-attached" | "sse" | "bare";

export const clients: Question = {
  name: "clients",
  asks: `How much memory does the daemon need for each of ${CLIENTS} idle clients?`,
  async run() {
    const kinds: readonly [Kind, string][] = [
      ["bare", "bare uWebSockets.js, WebSocket"],
      ["ws", "WebSocket, following nothing"],
      ["ws-attached", "WebSocket, following a session"],
      ["sse", "event stream of a session"],
    ];
    const samples = new Map<Kind, number[]>(kinds.map(([kind]) => [kind, []]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const [kind] of kinds) samples.get(kind)?.push(await perClient(kind));
    }
    const kb = (kind: Kind) => median(samples.get(kind) ?? []);
    return {
      columns: ["client", "KB each, median", "least", "most"],
      rows: kinds.map(([kind, name]) => {
        const all = samples.get(kind) ?? [];
        return [name, num(kb(kind), 1), num(Math.min(...all), 1), num(Math.max(...all), 1)];
      }),
      notes: [
        `Growth of the resident size from before ${CLIENTS} clients connect to ${SETTLE_MS / 1000} s after, divided by ${CLIENTS}; a fresh daemon for each of ${ROUNDS} rounds, after ${WARM_CLIENTS} clients that came and went. No collection is forced, so garbage of the ${CLIENTS} handshakes is in it. What the kernel keeps for a socket is not.`,
      ],
      figures: { bare_kb: kb("bare"), ws_kb: Math.max(kb("ws"), kb("ws-attached")), sse_kb: kb("sse") },
    };
  },
};

async function perClient(kind: Kind): Promise<number> {
  if (kind === "bare") {
    await using server = Child.script(BARE_UWS);
    return await growth(server.pid, await server.line<number>(), "ws", "/");
  }
  await using box = await boxWith("exec cat");
  const session = await create(box);
  // At rest: the clients are to be the only thing that happens.
  await box.call("DELETE", `/api/sessions/${session}?signal=kill`);
  const port = Number(new URL(box.url).port);
  if (kind === "sse") return await growth(box.pid, port, "sse", `/api/sessions/${session}/events`);
  return await growth(box.pid, port, "ws", kind === "ws" ? "/ws" : `/ws?session=${session}`);
}

async function growth(pid: number, port: number, as: "ws" | "sse", path: string): Promise<number> {
  {
    await using warm = Child.file("crowd.ts", [String(port), String(WARM_CLIENTS), as, path]);
    await warm.line();
  }
  await pause(SETTLE_MS);
  const before = memory(pid).rss;
  await using crowd = Child.file("crowd.ts", [String(port), String(CLIENTS), as, path]);
  await crowd.line();
  await pause(SETTLE_MS);
  return (memory(pid).rss - before) / CLIENTS;
}
