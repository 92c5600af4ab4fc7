/** Start: from spawn to listening. */
import { spawnSync } from "node:child_process";
import { startModel } from "../src/demo/model.ts";
import { TestBox } from "../test/e2e/box.ts";
import { ROOT } from "./child.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const ROUNDS = 9;

export const start: Question = {
  name: "start",
  asks: "How long from spawning `cib serve`, without sessions, to its listening line?",
  async run() {
    await using model = await startModel(() => ({ blocks: [] }));
    await using box = await TestBox.start({ model: model.url });
    const empty: number[] = [];
    const version: number[] = [];
    const serve: number[] = [];
    // The first start made the folders and filled the caches: it is not counted. Rounds alternate, so that noise hits all alike.
    for (let i = 0; i < ROUNDS; i++) {
      await box.end("SIGTERM");
      empty.push(timed(["-e", "0"]));
      version.push(timed(["dist/cib.mjs", "--version"]));
      const from = performance.now();
      await box.start();
      serve.push(performance.now() - from);
    }
    const ratio = median(serve) / median(empty);
    const row = (name: string, times: readonly number[]) => [
      name,
      num(median(times), 1),
      num(Math.min(...times), 1),
      num(Math.max(...times), 1),
      num(median(times) / median(empty), 1),
    ];
    return {
      columns: ["what", "median ms", "least", "most", "ratio"],
      rows: [
        row("node -e 0, run to exit", empty),
        row("cib --version, run to exit", version),
        row("cib serve to listening", serve),
      ],
      notes: [`${ROUNDS} rounds, alternating, warm files; as seen by the parent process.`],
      figures: { ms: median(serve), ratio },
    };
  },
};

function timed(args: readonly string[]): number {
  const from = performance.now();
  spawnSync(process.execPath, args, { cwd: ROOT, stdio: "ignore" });
  return performance.now() - from;
}
