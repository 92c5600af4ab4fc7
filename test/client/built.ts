/** The client's bundle, fresh from the source: dist may be older. */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** As .ci/build.mjs makes it, but that names may stay as they were written. */
export async function clientBundle(minify: boolean): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: fileURLToPath(new URL("../..", import.meta.url)),
    entryPoints: ["src/client/client.ts"],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    platform: "browser",
    minify,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}
