/** The package as others get it: packed, unpacked in a project of their own, imported and type-checked there. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DEADLINE_MS = 120_000;
const run = promisify(execFile);

/** A page: the browser's own types, and none of Node's. */
const PAGE = `
import { CibError, type Client, ConnectionLost, connect, type Frame, type Item, type SocketClass } from "claude-in-box/client";
const client: Client = connect({ url: "http://box:8080", token: "t", format: "cbor", WebSocket });
connect({ url: location.origin, key: { id: "0", secret: "1", boot: 7 }, x25519: "require", onState: (state) => state === "lost" });
export const reply: unknown = (await client.run({ cmd: "sessions.create" }))["session"];
const feed = client.attach("s", { from: 1, types: ["text.delta", "stop"] });
for await (const item of feed) {
  if (item.type === "text.delta") document.body.append(item.text.toUpperCase());
  if (item.type === "pty.raw") new Blob([item.data.slice()]);
  if (item.type === "verdict" && item.verdict === "ahead") console.log(item.from + 1);
  // @ts-expect-error: a stop has no text
  if (item.type === "stop") item.text;
}
export const { from, epoch }: { from: number | undefined; epoch: number | undefined } = feed.position;
export const lost = (thrown: unknown): boolean => thrown instanceof ConnectionLost;
export const code = (thrown: unknown): string => (thrown instanceof CibError ? thrown.code : "");
export const numbered = (item: Item): item is Frame => "seq" in item;
export const fits: SocketClass = WebSocket;
// @ts-expect-error: no such format
connect({ url: "", token: "", format: "xml" });
// @ts-expect-error: a command has a name
void client.run({ session: "s" });
`;
const SCRIPT = `
import { CibError, connect } from "claude-in-box/client";
import { nodeProvider } from "claude-in-box/client/aead-node";
import { NodeSocket } from "claude-in-box/client/node-socket";
import { NodeTcp } from "claude-in-box/client/node-tcp";
const key = { id: "00".repeat(8), secret: "11".repeat(32) };
const clients = [
  connect({ url: "tcp://127.0.0.1:1", key, Tcp: NodeTcp, provider: nodeProvider }),
  connect({ url: "http://127.0.0.1:1", token: "t", WebSocket: NodeSocket }),
];
class Trusting extends NodeSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols, { ca: new Uint8Array() });
  }
}
export const trusting = Trusting;
for (const client of clients) client.close();
if (new CibError("forbidden", "").code !== "forbidden") throw new Error();
console.log("imported");
`;
const STRICT = {
  strict: true,
  noEmit: true,
  target: "es2022",
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
};

describe("the packed package", () => {
  const folder = mkdtempSync(join(tmpdir(), "cib-packed-"));
  const env = { PATH: process.env["PATH"], HOME: folder, npm_config_cache: join(folder, "cache") };
  const options = { cwd: ROOT, env, timeout: DEADLINE_MS };
  const tsc = (...args: string[]) =>
    run(join(ROOT, "node_modules/.bin/tsc"), args, options).catch((thrown: { stdout?: string }) => {
      throw new Error(`tsc: ${thrown.stdout ?? String(thrown)}`);
    });

  before(async () => {
    await tsc("-p", ".ci/types.json");
    // Without its prepack: that builds dist anew, under the other tests.
    await run("npm", ["pack", "--ignore-scripts", "--offline", "--pack-destination", folder], options);
    mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    await run("tar", ["-xzf", `claude-in-box-${version}.tgz`, "-C", "node_modules"], { ...options, cwd: folder });
    await run("mv", ["node_modules/package", "node_modules/claude-in-box"], { ...options, cwd: folder });
    // What npm would have installed with it, and what a project in TypeScript has.
    for (const name of ["ws", "@types/node", "@types/ws", "undici-types"])
      symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    writeFileSync(join(folder, "page.ts"), PAGE);
    writeFileSync(join(folder, "script.ts"), SCRIPT);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function check(file: string, compilerOptions: object): Promise<void> {
    const project = join(folder, `${file}.json`);
    writeFileSync(project, JSON.stringify({ compilerOptions: { ...STRICT, ...compilerOptions }, files: [file] }));
    await tsc("-p", project);
  }

  const browser = { lib: ["es2022", "dom", "dom.asynciterable"], types: [] };
  const node = { lib: ["es2022"], types: ["node"] };

  test("a page's project type-checks, resolved as bundlers do", () =>
    check("page.ts", { ...browser, module: "esnext", moduleResolution: "bundler" }));

  test("a page's project type-checks, resolved as Node does", () =>
    check("page.ts", { ...browser, module: "nodenext", moduleResolution: "nodenext" }));

  test("a script's project with all four entries type-checks, resolved as bundlers do", () =>
    check("script.ts", { ...node, module: "esnext", moduleResolution: "bundler" }));

  test("a script's project with all four entries type-checks, resolved as Node does", () =>
    check("script.ts", { ...node, module: "nodenext", moduleResolution: "nodenext" }));

  test("a script's project needs no types of Node's", () =>
    check("script.ts", { lib: ["es2022", "dom"], types: [], module: "nodenext", moduleResolution: "nodenext" }));

  test("all four entries load and work from where npm puts them", async () => {
    const text = SCRIPT.replaceAll(/: string(\[\])?/g, "");
    writeFileSync(join(folder, "script.mjs"), text);
    const { stdout } = await run(process.execPath, ["script.mjs"], { ...options, cwd: folder });
    assert.equal(stdout, "imported\n");
  });
});
