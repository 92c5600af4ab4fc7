/** The stage of the command line's tests: what it says is kept, and a box that only plays its part answers on loopback. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Io } from "../../src/cli/io.ts";

export interface Stage extends Io {
  readonly said: { out: string; err: string };
}

export function stage(env: Io["env"] = {}, cwd = "/nowhere"): Stage {
  const said = { out: "", err: "" };
  return {
    env,
    cwd,
    said,
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
  };
}

export interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly token: string | undefined;
  readonly body: unknown;
}

/** Answers every request with what `reply` gives, and keeps what was asked. */
export async function fakeBox(reply: (asked: Asked) => { status?: number; body: unknown }) {
  const asked: Asked[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const one = {
      method: request.method,
      url: request.url,
      token: request.headers.authorization?.replace(/^Bearer /, ""),
      body: text === "" ? undefined : JSON.parse(text),
    };
    asked.push(one);
    const { status = 200, body } = reply(one);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
