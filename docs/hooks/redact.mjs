// Takes secrets out of what clients see and what Claude reads back from its tools. Kept running: one event a line.
import { createInterface } from "node:readline";

const SECRET = /\b(sk-[\w-]{8,}|ghp_\w{20,}|AKIA[A-Z0-9]{16})\b/g;

const clean = (value) => {
  if (typeof value === "string") return value.replace(SECRET, "[secret]");
  if (Array.isArray(value)) return value.map(clean);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, clean(each)]));
};

for await (const line of createInterface({ input: process.stdin })) {
  const { n, frame } = JSON.parse(line);
  const changed = {};
  for (const field of ["text", "output", "error"]) {
    const cleaned = clean(frame[field]);
    if (JSON.stringify(cleaned) !== JSON.stringify(frame[field])) changed[field] = cleaned;
  }
  const verdict = Object.keys(changed).length > 0 ? "rewrite" : "pass";
  console.log(JSON.stringify({ verdict, n, ...changed }));
}
