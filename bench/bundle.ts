/** Bundle: how many bytes a box has to load, and what they are made of. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { ROOT } from "./child.ts";
import type { Question } from "./question.ts";
import { num } from "./stats.ts";

/** Inputs named one by one; the others are a line together. */
const NAMED = 10;
const NAMED_OF_CLIENT = 4;

export const bundle: Question = {
  name: "bundle",
  asks: "How large is dist/cib.mjs, the one file beside the native addons; and the client that a page loads?",
  async run() {
    execFileSync(process.execPath, [".ci/build.mjs"], { cwd: ROOT, stdio: "inherit" });
    const { bytes, gzip, inputs } = measure();
    const client = measure("client/client.mjs");
    const share = (n: number) => [num(n), `${num((100 * n) / bytes, 1)} %`];
    const named = inputs.slice(0, NAMED);
    const rest = inputs.slice(NAMED).reduce((sum, [, n]) => sum + n, 0);
    return {
      columns: ["part", "bytes", "share"],
      rows: [
        ["**whole**", ...share(bytes)],
        ["whole, gzip", ...share(gzip)],
        ...named.map(([name, n]) => [name, ...share(n)]),
        [`${inputs.length - named.length} other files and what belongs to none`, ...share(rest)],
        ["**dist/client/client.mjs**", num(client.bytes), ""],
        ["the client, gzip", num(client.gzip), ""],
        ...client.inputs.slice(0, NAMED_OF_CLIENT).map(([name, n]) => [name, num(n), ""]),
      ],
      notes: ["Parts as the bundle's source map assigns its bytes."],
      figures: { bytes, client_bytes: client.bytes, client_gzip: client.gzip },
    };
  },
};

/** Of a bundle as it lies in dist/. `inputs`: packages whole, own files one by one, largest first. */
export function measure(file = "cib.mjs"): {
  bytes: number;
  gzip: number;
  inputs: readonly (readonly [string, number])[];
} {
  const code = readFileSync(`${ROOT}/dist/${file}`);
  const map = JSON.parse(readFileSync(`${ROOT}/dist/${file}.map`, "utf8")) as SourceMap;
  const inputs = [...shares(code.toString("utf8"), map)].sort(([, a], [, b]) => b - a);
  return { bytes: code.length, gzip: gzipSync(code).length, inputs };
}

interface SourceMap {
  readonly sources: readonly string[];
  readonly mappings: string;
}

/** Bytes by input: each mapped stretch of a line belongs to its source, up to the next stretch. */
function shares(code: string, { sources, mappings }: SourceMap): Map<string, number> {
  const sizes = new Map<string, number>();
  const rows = mappings.split(";");
  let source = 0;
  for (const [row, line] of code.split("\n").entries()) {
    const segments = rows[row] ?? "";
    let column = 0;
    let owner = "";
    for (const segment of segments === "" ? [] : segments.split(",")) {
      const [columns = 0, sourceStep] = vlq(segment);
      add(sizes, owner, line.slice(column, column + columns));
      column += columns;
      source += sourceStep ?? 0;
      owner = sourceStep === undefined ? "" : inputName(sources[source] ?? "");
    }
    add(sizes, owner, `${line.slice(column)}\n`);
  }
  return sizes;
}

function add(sizes: Map<string, number>, owner: string, text: string): void {
  if (text !== "") sizes.set(owner, (sizes.get(owner) ?? 0) + Buffer.byteLength(text));
}

function inputName(path: string): string {
  const inModules = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  return inModules ?? path.replace(/^(\.\.\/)+/, "");
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Base64 VLQ (ECMA-426 §6.2): five bits a digit, least first, the lowest bit is the sign. */
function vlq(segment: string): number[] {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const char of segment) {
    const digit = BASE64.indexOf(char);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    value = 0;
    shift = 0;
  }
  return numbers;
}
