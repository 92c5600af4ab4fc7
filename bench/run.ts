/** Bench: `npm run bench [--check] [--quick] [question...]` answers questions about speed and size with a baseline in the same run. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { bundle } from "./bundle.ts";
import { ROOT } from "./child.ts";
import { clients } from "./clients.ts";
import { crypto } from "./crypto.ts";
import { echo } from "./echo.ts";
import { envelope } from "./envelope.ts";
import { fanOut } from "./fan-out.ts";
import { firstText } from "./first-text.ts";
import { idle } from "./idle.ts";
import { log } from "./log.ts";
import { mqtt } from "./mqtt.ts";
import { probing } from "./probing.ts";
import { type Answer, exceeded, type Limit, type Question } from "./question.ts";
import { start } from "./start.ts";
import { table } from "./stats.ts";
import { steer } from "./steer.ts";
import { tcp } from "./tcp.ts";
import { turn } from "./turn.ts";

const QUESTIONS: readonly Question[] = [
  bundle,
  start,
  idle,
  clients,
  firstText,
  echo,
  steer,
  log,
  turn,
  fanOut,
  crypto,
  envelope,
  tcp,
  mqtt,
  probing,
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { check: { type: "boolean" }, quick: { type: "boolean" } },
});
const unknown = positionals.filter((name) => !QUESTIONS.some((question) => question.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `bench: no question ${unknown.join(", ")}; there are ${QUESTIONS.map((q) => q.name).join(", ")}\n`,
  );
  process.exit(2);
}
const asked = positionals.length === 0 ? QUESTIONS : QUESTIONS.filter(({ name }) => positionals.includes(name));
const limits = JSON.parse(readFileSync(`${ROOT}/bench/budget.json`, "utf8")) as Record<string, Limit>;

const answers: Record<string, Answer> = {};
const pages: string[] = [];
for (const question of asked) {
  process.stderr.write(`bench: ${question.name} …\n`);
  const answer = await question.run(values.quick);
  answers[question.name] = answer;
  const page = [`## ${question.name}`, question.asks, table(answer.columns, answer.rows), ...answer.notes].join("\n\n");
  process.stdout.write(`${page}\n\n`);
  pages.push(page);
}

const figures = Object.fromEntries(
  Object.entries(answers).flatMap(([name, answer]) =>
    Object.entries(answer.figures).map(([figure, value]) => [`${name}.${figure}`, Number(value.toPrecision(6))]),
  ),
);
const machine = `${availableParallelism()} cores, ${process.arch}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
const date = new Date().toISOString().slice(0, 10);
const over = exceeded(figures, limits);
writeFileSync(
  `${ROOT}/bench/last.json`,
  `${JSON.stringify({ date, commit: commit(), machine, figures, over, answers }, null, 2)}\n`,
);
if (asked.length === QUESTIONS.length && values.quick !== true) {
  writeFileSync(`${ROOT}/bench/last.md`, report());
}

for (const line of over) process.stderr.write(`bench: over budget: ${line}\n`);
process.exit(values.check === true && over.length > 0 ? 1 : 0);

function report(): string {
  const budget = Object.entries(limits).map(([name, { max, min, unit }]) => {
    const value = figures[name];
    return [
      name,
      value === undefined ? "" : String(value),
      max === undefined ? `at least ${min}` : String(max),
      unit,
      over.some((line) => line.startsWith(`${name}:`)) ? "over" : "kept",
    ];
  });
  const head = `# Benchmarks, last full run\n\n\`npm run bench\`, ${date}, commit ${commit()}: ${machine}, a virtual machine shared with other work.`;
  return `${[head, table(["figure", "measured", "limit", "unit", "budget"], budget), ...pages].join("\n\n")}\n`;
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
    return `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain", "src") === "" ? "" : " with changes"}`;
  } catch {
    return "unknown";
  }
}
