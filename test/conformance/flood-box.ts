/** A world in a process of its own, so that its memory can be measured: driven over the parent's channel, ends with it. */
import type { SessionId } from "../../src/frame/frame.ts";
import { openWorld } from "./world.ts";

/** What the parent says. */
export type Order =
  | { readonly do: "measure" }
  | { readonly do: "say"; readonly session: SessionId; readonly text: string };

/** What it is told. */
export interface Report {
  readonly url?: string;
  readonly tcpPort?: number;
  readonly mqttPort?: number;
  /** Resident bytes after a collection. */
  readonly rss?: number;
  /** Time that it has worked. */
  readonly cpuMs?: number;
  readonly faults?: readonly string[];
}

const world = await openWorld();
const tell = (report: Report): void => {
  process.send?.(report);
};

process.on("message", (order: Order) => {
  if (order.do === "say") {
    world.say(order.session, { type: "text.delta", text: order.text });
    return;
  }
  globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  tell({ cpuMs: (user + system) / 1000, rss: process.memoryUsage().rss, faults: world.faults.map(String) });
});
process.on("disconnect", () => void world[Symbol.asyncDispose]());
tell({ url: world.url, tcpPort: world.tcpPort, mqttPort: world.mqttPort });
