/** The ways in that HTTP offers: WebSocket in JSON and in CBOR, and REST with server-sent events. */
import { type IncomingMessage, request } from "node:http";
import { NodeSocket } from "../../src/client/node-socket.ts";
import { decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { type Caller, Inbox, Refused, type Stream, type Verdict, type Way } from "./way.ts";
import type { World } from "./world.ts";

type Fields = Record<string, unknown>;
interface Arrived {
  readonly frame: Frame;
  readonly bytes: number;
}

export function webSocket(format: "json" | "cbor"): Way {
  return {
    name: `WebSocket, ${format}`,
    leastBytes: format === "json" ? 512 : 128,
    connect: async (world, token) => {
      // Commands and each stream have a socket of their own, so that a stalled stream stalls nothing else.
      const sockets: NodeSocket[] = [];
      const dial = async () => {
        const wire = await openSocket(world, token, format);
        sockets.push(wire.socket);
        return wire;
      };
      const main = await dial();
      return {
        run: (command) => main.ask(command),
        follow: async (want) => {
          const wire = await dial();
          const verdict = (await wire.ask({ cmd: "attach", ...want })) as unknown as Verdict;
          return {
            verdict,
            next: () => wire.frames.take(),
            ended: wire.ended,
            stall: () => wire.socket.pause(),
            resume: () => wire.socket.resume(),
            cut: () => wire.socket.terminate(),
          };
        },
        close: () => {
          for (const socket of sockets) socket.close();
        },
      };
    },
  };
}

interface Wire {
  readonly socket: NodeSocket;
  readonly frames: Inbox<Arrived>;
  readonly ended: Promise<string>;
  ask(command: Readonly<Record<string, unknown>>): Promise<Fields>;
}

function openSocket(world: World, token: string, format: "json" | "cbor"): Promise<Wire> {
  const socket = new NodeSocket(`${world.url}/ws`, [`cib.v1.${format}`, `bearer.${token}`]);
  const frames = new Inbox<Arrived>();
  const owed = new Map<string, { resolve(reply: Fields): void; reject(why: Error): void }>();
  let asked = 0;
  let bye: string | undefined;
  let over: Refused | undefined;
  return new Promise((resolve, reject) => {
    const ended = new Promise<string>((end) => {
      socket.onclose = ({ code, reason }) => {
        const why = new Refused({
          code: code === 4401 ? "unauthorized" : `closed_${code}`,
          message: reason,
          retryable: false,
        });
        over = why;
        for (const each of owed.values()) each.reject(why);
        frames.end(why);
        reject(why);
        end(bye ?? reason);
      };
    });
    socket.onmessage = ({ data }) => {
      const bytes = Buffer.byteLength(data as string);
      const value = typeof data === "string" ? (JSON.parse(data) as Fields) : decodeValue(data as Buffer);
      if (Array.isArray(value)) return frames.put({ frame: frameOf(value) as Frame, bytes });
      const message = value as Fields;
      if ("type" in message) return frames.put({ frame: message as unknown as Frame, bytes });
      if (typeof message["bye"] === "string") bye = message["bye"];
      const { re, ok, error, ...fields } = message;
      const waiting = owed.get(String(re));
      owed.delete(String(re));
      if (ok === true) waiting?.resolve(fields);
      else waiting?.reject(new Refused(error));
    };
    const ask = (command: Readonly<Record<string, unknown>>) =>
      new Promise<Fields>((done, failed) => {
        if (over !== undefined) {
          failed(over);
          return;
        }
        const id = typeof command["id"] === "string" ? command["id"] : `ask-${asked++}`;
        owed.set(id, { resolve: done, reject: failed });
        // Without an id of the test's own the command must not count as exactly-once.
        const once =
          command["id"] === undefined &&
          ["input", "sessions.create", "tokens.create", "send"].includes(String(command["cmd"]));
        if (once) owed.set("null", { resolve: done, reject: failed });
        const message = once ? command : { ...command, id };
        socket.send(format === "json" ? JSON.stringify(message) : encodeValue(message));
      });
    socket.onopen = () => resolve({ socket, frames, ended, ask });
  });
}

/** Which route a command travels by: method and path. What the path does not hold goes into the body, or into the query where there is none. */
const ROUTES: Readonly<Record<string, readonly [string, string]>> = {
  health: ["GET", "/api/health"],
  "sessions.list": ["GET", "/api/sessions"],
  "sessions.get": ["GET", "/api/sessions/:session"],
  "sessions.create": ["POST", "/api/sessions"],
  "sessions.stop": ["DELETE", "/api/sessions/:session"],
  "sessions.resume": ["POST", "/api/sessions/:session/resume"],
  input: ["POST", "/api/sessions/:session/input"],
  send: ["POST", "/api/sessions/:session/send"],
  "queue.list": ["GET", "/api/sessions/:session/queue"],
  "queue.cancel": ["DELETE", "/api/sessions/:session/queue/:input"],
  "asks.list": ["GET", "/api/sessions/:session/asks"],
  answer: ["POST", "/api/sessions/:session/answer"],
  model: ["POST", "/api/sessions/:session/model"],
  effort: ["POST", "/api/sessions/:session/effort"],
  mode: ["POST", "/api/sessions/:session/mode"],
  interrupt: ["POST", "/api/sessions/:session/interrupt"],
  resize: ["POST", "/api/sessions/:session/resize"],
  frames: ["GET", "/api/sessions/:session/frames"],
  "conversations.list": ["GET", "/api/conversations"],
  "hooks.get": ["GET", "/api/hooks"],
  "hooks.put": ["PUT", "/api/hooks"],
  "login.start": ["POST", "/api/login"],
  "login.status": ["GET", "/api/login"],
  "login.code": ["POST", "/api/login/code"],
  "tokens.list": ["GET", "/api/tokens"],
  "tokens.create": ["POST", "/api/tokens"],
  "tokens.revoke": ["DELETE", "/api/tokens/:token"],
};

/** A command that has a route, with every field of its path, and in a query nothing but what text can say. */
function saidByRest(command: Readonly<Record<string, unknown>>): boolean {
  const { cmd, ...fields } = command;
  const [method, path] = ROUTES[String(cmd)] ?? (cmd === "attach" ? ["GET", "/api/sessions/:session"] : []);
  if (path === undefined) return false;
  return (
    path.split("/").every((part) => !part.startsWith(":") || isText(fields[part.slice(1)])) &&
    (method === "POST" || method === "PUT" || Object.entries(fields).every(([name, value]) => saidByText(name, value)))
  );
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

/** In a query everything is text: numbers, flags and lists can only be meant where they belong. */
function saidByText(name: string, value: unknown): boolean {
  if (Array.isArray(value)) return name === "types" && value.length > 0 && value.every(isText);
  if (typeof value === "boolean") return name === "pty";
  return isText(value) ? name !== "types" : typeof value === "number" && NUMBERS.includes(name);
}

const NUMBERS = ["from", "epoch", "limit", "max_bytes", "pty_from"];

export const restAndEvents: Way = {
  name: "REST and SSE",
  leastBytes: 512,
  says: saidByRest,
  connect: async (world, token) => {
    const open: IncomingMessage[] = [];
    const caller: Caller = {
      run: async (command) => {
        const { cmd, ...rest } = command;
        const fields: Fields = { ...rest };
        const [method, pattern] = ROUTES[String(cmd)] ?? ["GET", `/api/${String(cmd)}`];
        const path = pattern.replace(/:(\w+)/g, (_, name: string) => {
          const value = fields[name];
          delete fields[name];
          return encodeURIComponent(String(value));
        });
        const inBody = method === "POST" || method === "PUT";
        const query = inBody || Object.keys(fields).length === 0 ? "" : `?${queryOf(fields)}`;
        const response = await send(world, token, method, path + query, inBody ? JSON.stringify(fields) : undefined);
        const body = JSON.parse(await textOf(response)) as Fields;
        if ((response.statusCode ?? 500) >= 400) throw new Refused(body["error"]);
        return body;
      },
      follow: async ({ session, ...want }) => {
        const response = await send(world, token, "GET", `/api/sessions/${session}/events?${queryOf(want)}`);
        if (response.statusCode !== 200) throw new Refused((JSON.parse(await textOf(response)) as Fields)["error"]);
        open.push(response);
        return streamOf(response);
      },
      close: () => {
        for (const response of open) response.destroy();
      },
    };
    return caller;
  },
};

async function streamOf(response: IncomingMessage): Promise<Stream> {
  const verdicts = new Inbox<Verdict>();
  const frames = new Inbox<Arrived>();
  let bye = "cut";
  let rest = "";
  const ended = new Promise<string>((resolve) => response.on("close", () => resolve(bye)));
  response.on("error", () => {});
  response.on("close", () => frames.end(new Error(`the stream has ended: ${bye}`)));
  response.setEncoding("utf8");
  response.on("data", (chunk: string) => {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      const event = /^event: (.*)$/m.exec(block)?.[1];
      if (data === undefined) continue;
      if (event === "verdict") verdicts.put(JSON.parse(data) as Verdict);
      else if (event === "bye") bye = (JSON.parse(data) as { bye: string }).bye;
      else if (event === undefined) frames.put({ frame: JSON.parse(data) as Frame, bytes: Buffer.byteLength(data) });
    }
  });
  return {
    verdict: await verdicts.take(),
    next: () => frames.take(),
    ended,
    stall: () => response.pause(),
    resume: () => response.resume(),
    cut: () => response.destroy(),
  };
}

function send(world: World, token: string, method: string, path: string, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { "content-length": Buffer.byteLength(body) }),
    };
    const sent = request(world.url + path, { method, agent: false, headers }, resolve);
    sent.on("error", reject);
    sent.end(body);
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function queryOf(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`)
    .join("&");
}
