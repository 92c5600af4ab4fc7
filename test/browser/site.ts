/** A site on loopback for tests in a browser: a few files under a policy as strict as a page's can be. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** No inline script, no eval, no new Function; connections anywhere, for a box may be anywhere. */
export const STRICT_POLICY = "default-src 'none'; script-src 'self'; connect-src *";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  mjs: "text/javascript; charset=utf-8",
  map: "application/json",
};

export interface Site extends AsyncDisposable {
  readonly port: number;
}

/** Serves these files, by their paths: content, or a URL of a file on disk. */
export async function serveSite(files: Readonly<Record<string, string | URL>>, policy = STRICT_POLICY): Promise<Site> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://site").pathname;
    const file = Object.hasOwn(files, path) ? files[path] : undefined;
    const type = TYPES[path === "/" ? "html" : (path.split(".").at(-1) ?? "")] ?? "application/octet-stream";
    // A browser asks for an icon by itself.
    const status = file === undefined ? (path === "/favicon.ico" ? 204 : 404) : 200;
    response.writeHead(status, {
      "content-type": type,
      "content-security-policy": policy,
      "cache-control": "no-store",
    });
    response.end(file instanceof URL ? readFileSync(file) : file);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
