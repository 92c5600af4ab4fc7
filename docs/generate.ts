/** Generate: writes what derives from the sources, so that it can never say anything else. `--check` only compares. */
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ERRORS } from "../src/errors.ts";
import { openapi } from "../src/transport/http/openapi.ts";
import { exchange, knownAnswer } from "./aes-example.ts";
import { cddl } from "./cddl.ts";
import { header } from "./header.ts";
import { conversation, conversationX25519 } from "./link-example.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Every generated file by its path in the repository, with its whole text. */
function generated(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/frames.cddl", cddl()],
    ["mcu/include/cib_frames.h", header()],
    ["docs/ERRORS.md", errors()],
    ["docs/AES-TRANSPORT.md", filled("docs/AES-TRANSPORT.md", { exchange, "known answer": knownAnswer })],
    ["docs/openapi.json", `${JSON.stringify(openapi(), undefined, 2)}\n`],
    [
      "docs/PROTOCOL.md",
      filled("docs/PROTOCOL.md", { "link example": conversation, "link example, X25519": conversationX25519 }),
    ],
  ]);
}

/** A document whose marked parts are computed: each stands between `<!-- generated: name -->` and `<!-- end -->`. */
function filled(path: string, parts: Readonly<Record<string, () => string>>): string {
  let text = readFileSync(join(ROOT, path), "utf8");
  for (const [name, part] of Object.entries(parts)) {
    const start = `<!-- generated: ${name} -->\n`;
    const from = text.indexOf(start);
    const to = text.indexOf("\n<!-- end -->", from);
    if (from < 0 || to < 0) throw new Error(`${path}: no part "${name}" to fill`);
    text = text.slice(0, from + start.length) + part() + text.slice(to);
  }
  return text;
}

/** The paths whose text on disk is not what the sources say. */
export function stale(): string[] {
  const files = generated();
  return [...files.keys()].filter((path) => {
    const file = join(ROOT, path);
    return !existsSync(file) || readFileSync(file, "utf8") !== files.get(path);
  });
}

function errors(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, close, retryable, fault, advice }]) =>
      `| \`${code}\` | ${status} | ${close} | ${retryable ? "yes" : "no"} | ${fault} | ${advice} |`,
  );
  return `<!-- Generated from src/errors.ts by \`npm run generate\`. -->
# Errors

Every refusal is a row of this table, on every transport: \`{"error": {"code", "message", "retryable"}}\` with the HTTP
status over REST, \`{"re", "ok": false, "error": {…}}\` over a link. Where an error ends a WebSocket, the close code is
4000 + the status and the reason is the code. The message names the field and what arrived; programs go by the code.

*Retry*: whether the same call may succeed later, unchanged. *Fault*: who has to act.

| code | HTTP | WebSocket close | retry | fault | what to do |
|---|---|---|---|---|---|
${rows.join("\n")}
`;
}

function main(check: boolean): void {
  const old = stale();
  if (check && old.length > 0) {
    process.stderr.write(`stale: ${old.join(", ")}; run npm run generate\n`);
    process.exitCode = 1;
  }
  if (check) return;
  const files = generated();
  for (const path of old) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), files.get(path) ?? "");
    process.stdout.write(`${path}\n`);
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main(process.argv.includes("--check"));
}
