/** Turn: what one turn of real Claude Code makes the daemon write and sync. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { create, reach, send, world } from "./box.ts";
import { ROOT } from "./child.ts";
import { io } from "./proc.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const TURNS = 5;
const LINES = 50;

export const turn: Question = {
  name: "turn",
  asks: `What does the daemon write for a turn with a tool call and ${LINES} lines of text?`,
  async run() {
    const rows: string[][] = [];
    const figures: Record<string, number> = {};
    for (const policy of ["turn", "always", "off"]) {
      const one = await measure(policy);
      rows.push([
        policy,
        ...[one.frames, one.log, one.ledger, one.meta, one.toDisk, one.syncs].map((value) => num(value, 0)),
      ]);
      figures[`${policy}_syncs`] = one.syncs;
      figures[`${policy}_disk_bytes`] = one.toDisk;
      figures[`${policy}_log_bytes`] = one.log;
    }
    return {
      columns: ["CIB_FSYNC", "frames", "log bytes", "ledger bytes", "meta.json bytes", "bytes to the disk", "fsyncs"],
      rows,
      notes: [
        `One turn, median of ${TURNS}: input accepted and typed, one Bash call, ${LINES} lines 10 ms apart, which Claude Code hands over several at a time, the end. "To the disk" is write_bytes of the daemon: whole 4 KiB pages as they become dirty; Claude Code's own files are not in it. Fsyncs are all of fsync and fdatasync: the ledger's for the acceptance and for the typing, the log's, and those of meta.json by write-rename.`,
      ],
      figures,
    };
  },
};

interface Measured {
  readonly frames: number;
  readonly log: number;
  readonly ledger: number;
  readonly meta: number;
  readonly toDisk: number;
  readonly syncs: number;
}

async function measure(policy: string): Promise<Measured> {
  const scratch = mkdtempSync(join(tmpdir(), "cib-bench-turn-"));
  using _ = { [Symbol.dispose]: () => rmSync(scratch, { recursive: true, force: true }) };
  const counted = join(scratch, "syncs");
  writeFileSync(counted, "");
  const hook = pathToFileURL(join(ROOT, "bench/count-syncs.mjs")).href;
  const text = Array.from(
    { length: LINES },
    (_, i) => `This is line ${i} of an answer of usual length, more or less.\n`,
  );
  let calls = 0;
  await using w = await world(
    () =>
      calls++ % 2 === 0
        ? { blocks: [{ tool: "Bash", input: { command: "true", description: "nothing" } }] }
        : { blocks: [{ text, everyMs: 10 }] },
    { CIB_FSYNC: policy, NODE_OPTIONS: `--import ${hook}`, CIB_BENCH_SYNCS: counted },
  );
  const session = await create(w.box);
  const folder = join(w.box.data, "sessions", session);
  const look = async () => {
    const { body } = await w.box.call("GET", `/api/sessions/${session}`);
    return {
      frames: Number(body["last"]),
      log: sizes(folder, /^transcript/),
      ledger: sizes(w.box.data, /^ledger/),
      toDisk: io(w.box.pid).write_bytes,
      syncs: statSync(counted).size,
    };
  };
  await send(w.box, session, "warm up");
  await reach(w.box, session, "idle");
  const all: Measured[] = [];
  for (let i = 0; i < TURNS; i++) {
    const before = await look();
    await send(w.box, session, `do it again, for the ${i}th time`);
    await reach(w.box, session, "idle");
    const after = await look();
    all.push({
      frames: after.frames - before.frames,
      log: after.log - before.log,
      ledger: after.ledger - before.ledger,
      meta: sizes(folder, /^meta\.json$/),
      // Less the page that counting the syncs has made dirty itself.
      toDisk: after.toDisk - before.toDisk - 4096,
      syncs: after.syncs - before.syncs,
    });
  }
  const of = (field: keyof Measured) => median(all.map((one) => one[field]));
  return {
    frames: of("frames"),
    log: of("log"),
    ledger: of("ledger"),
    meta: of("meta"),
    toDisk: of("toDisk"),
    syncs: of("syncs"),
  };
}

function sizes(folder: string, name: RegExp): number {
  return readdirSync(folder)
    .filter((file) => name.test(file))
    .reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
}
