/** Parsers of HTTP and of the command line: routes and queries, the headers that decide who comes in, a device's key as text. */
import { findAnyBox } from "../../src/cli/box.ts";
import { Failure, UsageError } from "../../src/cli/io.ts";
import { CibError } from "../../src/errors.ts";
import { Door, protocolsOf } from "../../src/transport/http/door.ts";
import type { Request } from "../../src/transport/http/peer.ts";
import { match, ROUTES, readQuery, refuseTokens } from "../../src/transport/http/routes.ts";
import { FakeControl } from "../transport/http/fake.ts";
import { bytes, only, type Parser, SESSION, text } from "./parser.ts";

const HEADERS = ["host", "origin", "sec-websocket-protocol", "authorization", "sec-fetch-site"] as const;
const control = new FakeControl();
const door = new Door(control, { hosts: ["box.example", "*.home.example:8080"], tls: false });

/** One header a line, in that order; an empty line is none. */
function requestOf(input: Uint8Array): Request {
  const lines = text(input).split("\n");
  const given = HEADERS.map((name, i) => [name, lines[i] ?? ""] as const).filter(([, value]) => value !== "");
  const [path, query] = ["/ws", lines[HEADERS.length] ?? ""];
  const target = `${path}?${query}`;
  return {
    method: "GET",
    target,
    path,
    query,
    headers: new Map(given),
    headerBytes: input.length,
    address: "192.0.2.1",
  };
}

/** Whether a browser at this origin may speak: its host is the box's own. Read by another parser than the door's. */
function isOurs(origin: string, host: string): boolean {
  // What no URL parser takes, such as broken Punycode, no browser sends; but it must look like a name.
  const name = URL.canParse(origin) ? new URL(origin).hostname : (/^https?:\/\/([\w.-]+)/i.exec(origin)?.[1] ?? "");
  return (
    /^https?:\/\/(.*)$/i.exec(origin)?.[1]?.toLowerCase() === host.toLowerCase() ||
    name.toLowerCase() === "box.example" ||
    name.toLowerCase().endsWith(".home.example")
  );
}

export const HTTP_PARSERS: readonly Parser[] = [
  {
    name: "request",
    seeds: [
      bytes("GET /api/sessions limit=1&cursor=x"),
      bytes(`GET /api/sessions/${SESSION}/frames from=1&types=stop,status`),
    ],
    run: (input) => {
      const [method = "", path = "", query = ""] = text(input).split(" ");
      only([CibError], () => void match(method, path));
      only([CibError], () => refuseTokens(query));
      for (const route of ROUTES)
        only([CibError], () => void readQuery(query, "query" in route ? route.query : undefined));
    },
  },
  {
    name: "door",
    seeds: [
      bytes("127.0.0.1:8080\nhttp://127.0.0.1:8080\ncib.v1.cbor, bearer.abc\n\nsame-origin\nsession=x"),
      bytes("[::1]:80\n\n\nBearer abc\nnone\n"),
      bytes("box.example\nhttp://evil.example?.home.example\n\nBearer abc\n\n"),
      bytes("tv.home.example:8080\nhttps://tv.home.example\n\nBearer abc\n\n"),
    ],
    run: (input) => {
      const request = requestOf(input);
      protocolsOf(request);
      only([CibError], () => void door.shows(request));
      only([CibError], () => {
        door.check(request, true);
        const origin = request.headers.get("origin");
        if (origin !== undefined && !isOurs(origin, request.headers.get("host") ?? ""))
          throw new Error(`door: let in ${origin}`);
      });
      control.credentials.length = 0;
      only([CibError], () => void door.enter(request));
      const [shown] = control.credentials;
      if (shown?.bearer?.includes(",")) throw new Error("door: two tokens as one");
    },
  },
  {
    name: "device-key",
    seeds: [bytes(`0123456789abcdef:${"0a".repeat(32)}`), bytes(`0123456789ABCDEF:${"0A".repeat(32)}\n`)],
    run: (input) => {
      const key = text(input);
      const nothing = () => undefined;
      const io = { env: { CIB_DEVICE_KEY: key, CIB_URL: "tcp://127.0.0.1:1" }, cwd: "/", out: nothing, err: nothing };
      only([UsageError, Failure], () => {
        try {
          const box = findAnyBox({}, io);
          if ("key" in box && `${box.key.id}:${box.key.secret}` !== key.trim()) throw new Error("key: another one");
        } catch (thrown) {
          if (key.length > 20 && (thrown as Error).message.includes(key)) throw new Error("key: repeated in an error");
          throw thrown;
        }
      });
    },
  },
];
