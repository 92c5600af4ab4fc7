// Build: everything but the native addons in one file, dist/cib.mjs.
import { chmodSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUNDLE = join(ROOT, "dist/cib.mjs");

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const started = performance.now();
const options = {
  absWorkingDir: ROOT,
  entryPoints: ["src/main.ts"],
  outfile: BUNDLE,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20.19",
  minify: true,
  sourcemap: "linked",
  legalComments: "none",
  // Native addons are found in node_modules next to dist.
  external: ["node-pty", "uWebSockets.js", "cbor-extract"],
  // MQTT's parser brings a copy of Node's own streams: 79 KB, and as much memory.
  alias: { "readable-stream": "node:stream" },
  // cbor-x asks for cbor-extract while loading; commands are small, and one less native addon is one less to go wrong.
  define: { CIB_VERSION: JSON.stringify(version), "process.env.CBOR_NATIVE_ACCELERATION_DISABLED": '"true"' },
  banner: {
    js: '#!/usr/bin/env node\nimport { createRequire as cibRequire } from "node:module"; const require = cibRequire(import.meta.url);',
  },
  logLevel: "warning",
};
// esbuild has said what is wrong.
await build(options).catch(() => process.exit(1));
chmodSync(BUNDLE, 0o755);

// The reference client for others to import, and beside it what only Node has.
const client = {
  absWorkingDir: ROOT,
  outdir: "dist/client",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
};
await Promise.all([
  // Also for pages that load it as it is.
  build({
    ...client,
    entryPoints: ["src/client/client.ts"],
    platform: "browser",
    minify: true,
    sourcemap: "linked",
  }),
  build({
    ...client,
    entryPoints: ["src/client/node-socket.ts", "src/client/node-tcp.ts"],
    platform: "node",
    packages: "external",
  }),
  build({ ...client, entryPoints: { "aead-node": "src/crypto/aead-node.ts" }, platform: "node" }),
]).catch(() => process.exit(1));
const kilobytes = Math.round(statSync(BUNDLE).size / 1000);
process.stderr.write(`build: dist/cib.mjs, ${kilobytes} KB, ${Math.round(performance.now() - started)} ms\n`);
