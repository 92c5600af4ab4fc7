/** The map as code: who may import whom, and what a file looks like. MAP.md gives the reasons. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** What a folder may import, beside itself: folders, or single files by their path. */
const MAY: Readonly<Record<string, readonly string[] | "all">> = {
  errors: [],
  // The one way to change a file so that a power loss leaves the old one or the new one.
  files: [],
  // What the operator reads when the daemon itself is at fault.
  faults: ["errors"],
  // What was opened is closed in the opposite order.
  undo: [],
  // What the box is known by.
  identity: ["files"],
  // How a native package is loaded, and what a person is told where it does not load.
  addon: [],
  // Signals that end in time, whatever the garbage collector does.
  deadline: [],
  // Patterns with `*`, in linear time.
  wildcard: [],
  // Work, one after the other; and a command line for another user.
  turnstile: [],
  "as-user": [],
  frame: ["errors"],
  crypto: ["errors"],
  agent: ["frame", "errors", "files", "addon", "deadline", "wildcard", "turnstile", "as-user"],
  hooks: ["frame", "errors", "files", "deadline", "wildcard", "turnstile", "as-user"],
  session: ["frame", "hooks", "agent/agent.ts", "errors", "files", "deadline", "wildcard", "turnstile"],
  auth: ["crypto", "errors", "files", "type frame"],
  control: ["session", "auth", "frame", "errors", "deadline"],
  transport: ["control", "frame", "errors", "type crypto"],
  "transport/http": ["transport", "control", "frame", "errors", "addon", "type crypto"],
  "transport/mqtt": ["transport", "control", "frame", "errors", "type crypto"],
  "transport/tcp": ["transport", "control", "frame", "errors", "type crypto"],
  client: ["frame", "crypto", "errors"],
  ui: ["client"],
  // The scripted model and the presenter speak to the box as any client does.
  demo: ["errors", "frame", "client"],
  // The bounds of a setting are the part's that it sets.
  config: ["errors", "session/answers.ts", "transport/mqtt/bridge-address.ts"],
  // Why somebody was turned away, in words of the parts that do it.
  refused: ["auth/envelopes.ts", "crypto/fault.ts", "transport/mqtt/bridge-commands.ts"],
  // One daemon a data folder.
  lock: ["errors", "files"],
  cli: "all",
  daemon: "all",
  main: "all",
};

/** What only these may import, beside itself. */
const ONLY_FROM: Readonly<Record<string, readonly string[]>> = {
  demo: ["main", "daemon", "cli"],
  cli: ["main"],
  daemon: ["main", "cli"],
  main: [],
};

/** One package, one importer. A folder stands for every file in it. */
const IMPORTER: Readonly<Record<string, string>> = {
  "node-pty": "agent/pty.ts",
  ws: "client/node-socket.ts",
  "uWebSockets.js": "transport/http/listener.ts",
  "cbor-x": "frame/codec.ts",
  "@noble/ciphers": "crypto/aead-noble.ts",
  "@noble/curves": "crypto/aead-noble.ts",
  "@noble/hashes": "crypto/aead-noble.ts",
  aedes: "transport/mqtt/broker.ts",
  "mqtt-packet": "transport/mqtt/packets.ts",
  "@valibot/to-json-schema": "transport/http",
};
/** The one schema library: wherever something from outside is checked. */
const EVERYWHERE = ["valibot"];

/** One concept a file: 60 to 250 lines; past this it is two concepts. */
const MAX_LINES = 350;

interface Module {
  /** Below src/, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly target: string;
  readonly typeOnly: boolean;
}

/** Static and dynamic imports and re-exports, comments left out. */
function importsOf(text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const statements = code.matchAll(/^\s*(import|export)\s+(type\s)?(?:[\w*${},\s]+?\sfrom\s*)?["']([^"']+)["']/gm);
  const calls = code.matchAll(/\b(?:import|require)\(\s*["']([^"']+)["']/g);
  return [
    ...Array.from(statements, ([, , type, target = ""]) => ({ target, typeOnly: type !== undefined })),
    ...Array.from(calls, ([, target = ""]) => ({ target, typeOnly: false })),
  ];
}

/** The longest row of the map that a path belongs to. */
function areaOf(path: string): string | undefined {
  const bare = path.replace(/\.ts$/, "");
  return Object.keys(MAY)
    .filter((area) => bare === area || path.startsWith(`${area}/`))
    .sort((a, b) => b.length - a.length)[0];
}

const resolved = (from: string, target: string) => normalize(join(dirname(from), target));

/** Everything that is wrong with these modules, one line each. */
function violations(modules: readonly Module[]): string[] {
  const wrong = modules.flatMap((module) => [...formOf(module), ...importsWrongIn(module)]);
  return [...wrong, ...circles(modules)];
}

function formOf({ path, text }: Module): string[] {
  const wrong: string[] = [];
  const lines = text.split("\n").length - 1;
  if (areaOf(path) === undefined) wrong.push(`${path}: stands nowhere on the map`);
  if (!/^(#!.*\n)?\/\*\*\s*\*?\s*\S/.test(text)) wrong.push(`${path}: does not open with a doc comment`);
  if (lines > MAX_LINES) wrong.push(`${path}: ${lines} lines, more than ${MAX_LINES}`);
  if (/(^|\/)(utils?|helpers?|common|misc|shared|index)\.ts$/.test(path)) wrong.push(`${path}: names no concept`);
  // Node 20 collects it together with a timeout in it: src/deadline.ts.
  if (/AbortSignal\.any\(/.test(text)) wrong.push(`${path}: AbortSignal.any may never fire; use deadline.ts`);
  if (/^export\s+default\b/m.test(text)) wrong.push(`${path}: default export`);
  if (/^export\s+(type\s+)?(\*|\{[^}]*\})(\s+as\s+\w+)?\s+from\b/m.test(text))
    wrong.push(`${path}: passes on what another file exports`);
  return wrong;
}

function importsWrongIn({ path, text }: Module): string[] {
  const area = areaOf(path) ?? path;
  return importsOf(text).flatMap(({ target, typeOnly }) => {
    if (target.startsWith("node:")) return [];
    if (!target.startsWith(".")) return packageWrong(path, target);
    if (!/\.(ts|json)$/.test(target)) return [`${path}: imports ${target} without its .ts`];
    const file = resolved(path, target);
    const other = areaOf(file) ?? file;
    if (other === area) return [];
    const callers = ONLY_FROM[other];
    if (callers !== undefined && !callers.includes(area))
      return [`${path}: may not import ${file}, only ${callers.join(", ") || "nobody"} may`];
    const allowed = MAY[area] ?? [];
    if (allowed === "all" || allowed.includes(other) || allowed.includes(file)) return [];
    if (typeOnly && allowed.includes(`type ${other}`)) return [];
    return [`${path}: may not import ${file}`];
  });
}

function packageWrong(path: string, target: string): string[] {
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  if (EVERYWHERE.includes(name)) return [];
  const importer = IMPORTER[name];
  if (importer === undefined) return [`${path}: package ${name} is not on the map`];
  if (path === importer || path.startsWith(`${importer}/`)) return [];
  return [`${path}: only ${importer} may import ${name}`];
}

/** Circles of imports; types count, for they tie files together as well. */
function circles(modules: readonly Module[]): string[] {
  const edges = new Map(
    modules.map(({ path, text }) => [
      path,
      importsOf(text)
        .filter(({ target }) => target.startsWith("."))
        .map(({ target }) => resolved(path, target)),
    ]),
  );
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push(`circle: ${[...way.slice(at), path].join(" → ")}`);
    if (at >= 0 || done.has(path)) return;
    for (const next of edges.get(path) ?? []) walk(next, [...way, path]);
    done.add(path);
  };
  for (const path of edges.keys()) walk(path, []);
  return found;
}

const paths = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => path.endsWith(".ts"))
  .sort();
const modules = paths.map((path) => ({ path, text: readFileSync(join(SRC, path), "utf8") }));

describe("the map", () => {
  test("every file of src/ keeps the rules", () => {
    assert.deepEqual(violations(modules), []);
  });

  test("every dependency is on the map", () => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(SRC, "../package.json"), "utf8")) as {
      dependencies?: object;
    };
    const unknown = Object.keys(dependencies).filter(
      (name) => IMPORTER[name] === undefined && !EVERYWHERE.includes(name),
    );
    assert.deepEqual(unknown, []);
  });

  for (const path of paths.filter((path) => !path.startsWith("ui/"))) {
    test(`src/${path} loads by itself`, async () => {
      await assert.doesNotReject(import(pathToFileURL(join(SRC, path)).href));
    });
  }
});

describe("the rules themselves", () => {
  const good = "/** A: stands here. */\nexport const a = 1;\n";
  const rules: readonly (readonly [string, Module, RegExp])[] = [
    ["a file off the map", { path: "manager/a.ts", text: good }, /nowhere on the map/],
    ["a file without its sentence", { path: "frame/a.ts", text: "export const a = 1;\n" }, /doc comment/],
    ["a file of two concepts", { path: "frame/a.ts", text: good + "\n".repeat(MAX_LINES) }, /lines, more than/],
    ["a file called utils", { path: "frame/utils.ts", text: good }, /names no concept/],
    ["a default export", { path: "frame/a.ts", text: `${good}export default a;\n` }, /default export/],
    ["a barrel", { path: "frame/a.ts", text: `${good}export { b } from "./b.ts";\n` }, /passes on/],
    ["a star barrel", { path: "frame/a.ts", text: `${good}export * from "./b.ts";\n` }, /passes on/],
    [
      "the frame knowing a session",
      { path: "frame/a.ts", text: `${good}import { log } from "../session/log.ts";\n` },
      /may not import session\/log.ts/,
    ],
    [
      "a session knowing an engine",
      { path: "session/a.ts", text: `${good}import {\n  b,\n  c,\n} from "../agent/pty.ts";\n` },
      /may not import agent\/pty.ts/,
    ],
    [
      "a transport knowing its sibling",
      { path: "transport/tcp/a.ts", text: `${good}import type { B } from "../http/rest.ts";\n` },
      /may not import transport\/http/,
    ],
    [
      "a transport using a key",
      { path: "transport/tcp/a.ts", text: `${good}import { b } from "../../crypto/link.ts";\n` },
      /may not import crypto/,
    ],
    [
      "a hidden import",
      { path: "frame/a.ts", text: `${good}export const b = () => import("../control/control.ts");\n` },
      /may not import control/,
    ],
    ["a side effect", { path: "frame/a.ts", text: `${good}import "../auth/gate.ts";\n` }, /may not import auth/],
    [
      "the demo in the way",
      { path: "session/a.ts", text: `${good}import { b } from "../demo/model.ts";\n` },
      /may not import demo/,
    ],
    [
      "a second importer of a package",
      { path: "control/a.ts", text: `${good}import { encode } from "cbor-x";\n` },
      /only frame\/codec.ts may import cbor-x/,
    ],
    [
      "a stray package",
      { path: "frame/a.ts", text: `${good}import left from "left-pad/deep";\n` },
      /left-pad is not on the map/,
    ],
    ["an import without .ts", { path: "frame/a.ts", text: `${good}import { b } from "./b";\n` }, /without its .ts/],
  ];
  for (const [what, module, expected] of rules) {
    test(`${what} is found`, () => assert.match(violations([module]).join("\n"), expected));
  }

  test("a circle is found, also through types", () => {
    const one = { path: "frame/one.ts", text: `${good}import { b } from "./two.ts";\n` };
    const two = { path: "frame/two.ts", text: `${good}import type { a } from "./one.ts";\n` };
    assert.match(violations([one, two]).join("\n"), /circle: frame\/one.ts → frame\/two.ts → frame\/one.ts/);
  });

  test("what the map allows is left alone", () => {
    const text = `${good}import { open } from "node:fs";\nimport type { Aead } from "../../crypto/aead.ts";\nimport { control } from "../../control/control.ts";\n// import { x } from "../../session/log.ts";\n`;
    assert.deepEqual(violations([{ path: "transport/http/a.ts", text }]), []);
  });
});
