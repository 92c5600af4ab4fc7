/** MQTT: one session's frames to 50 subscribers through our broker, against aedes alone and Mosquitto where it is installed; and what a connection weighs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { generate } from "mqtt-packet";
import { Child } from "./child.ts";
import type { Order, Where } from "./mqtt-broker.ts";
import { cpuSeconds, memory } from "./proc.ts";
import type { Question } from "./question.ts";
import { median, num } from "./stats.ts";

const SUBSCRIBERS = 50;
/** To each. 5,000 × 260 bytes = 1.3 MB: whoever reads slowly is still within what our broker lets wait for one (8 MiB). */
const MESSAGES = 5_000;
const BYTES = 200;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
/** Of these, the connections are weighed in so many. */
const WEIGHED = 3;
const QUICK_WEIGHED = 1;
/** Idle connections, over as many tokens as the limit of one token (64) asks for. */
const IDLE_TOKENS = 10;
const SETTLE_MS = 2_000;
const LISTEN_TRY_MS = 20;

type Kind = Order["kind"] | "mosquitto";

interface Run {
  readonly perSecond: number;
  /** Of the broker, for one message to one subscriber. */
  readonly cpuUs: number;
  /** Of a packet on the wire, its fixed header left out. */
  readonly bytes: number;
}

/** A broker that runs, with as much as this many tokens. */
interface Running extends AsyncDisposable {
  readonly pid: number;
  readonly where: Where;
  /** Publishes them all; the subscribers say when they have them. */
  publish(): void;
}

export const mqtt: Question = {
  name: "mqtt",
  asks: `How many messages a second reach ${SUBSCRIBERS} MQTT subscribers, and what does a connection weigh?`,
  async run(quick = false) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const mosquitto = installed("mosquitto");
    const runs: Record<Kind, Run[]> = { daemon: [], aedes: [], mosquitto: [] };
    const weights: number[] = [];
    for (let i = 0; i < rounds; i++) {
      runs.daemon.push(await measure("daemon"));
      runs.aedes.push(await measure("aedes"));
      if (mosquitto !== undefined) runs.mosquitto.push(await measure("mosquitto", mosquitto));
      if (i < (quick ? QUICK_WEIGHED : WEIGHED)) weights.push(await weight());
    }
    const of = (kind: Kind, what: (run: Run) => number) => median(runs[kind].map(what));
    const speed = (kind: Kind) => of(kind, (run) => run.perSecond);
    const row = (name: string, kind: Kind) =>
      runs[kind].length === 0
        ? [name, "-", "-", "-", "-"]
        : [
            name,
            num(speed(kind), 0),
            num(of(kind, (run) => run.cpuUs)),
            num(
              of(kind, (run) => run.bytes),
              0,
            ),
            num(speed("daemon") / speed(kind)),
          ];
    const ratio = speed("daemon") / speed("aedes");
    return {
      columns: ["", "messages/s delivered", "broker CPU µs a message", "bytes a packet", "daemon : this"],
      rows: [row("daemon", "daemon"), row("aedes alone", "aedes"), row("Mosquitto", "mosquitto")],
      notes: [
        `QoS 0, ${MESSAGES} messages of about ${BYTES} bytes to each of ${SUBSCRIBERS} subscribers, medians of ${rounds} interleaved rounds. Ten are due a turn of the loop; aedes has taken ten before it gets the next, Mosquitto is sent them by one publisher. The daemon also numbers, encodes and logs (CIB_FSYNC=turn) every frame. The subscribers are one other process of raw sockets that count packets.`,
        `A connection of our broker, idle with one subscription: ${num(median(weights), 1)} KB of resident size each (${num(Math.min(...weights), 1)} to ${num(Math.max(...weights), 1)}), ${IDLE_TOKENS * SUBSCRIBERS} of them with ${IDLE_TOKENS} tokens, after ${SUBSCRIBERS} that came and went; no collection is forced.`,
      ],
      figures: { ratio, per_s: speed("daemon"), cpu_us: of("daemon", (run) => run.cpuUs), kb: median(weights) },
    };
  },
};

async function measure(kind: Kind, program?: string): Promise<Run> {
  await using broker = program === undefined ? await ours(kind as Order["kind"], 1) : await theirs(program);
  await using subscribers = await subscribe(broker.where, MESSAGES);
  const before = cpuSeconds(broker.pid);
  broker.publish();
  const { ms, bytes } = await subscribers.line<{ ms: number; bytes: number }>();
  const cpu = cpuSeconds(broker.pid) - before;
  const delivered = SUBSCRIBERS * MESSAGES;
  return { perSecond: delivered / (ms / 1000), cpuUs: (cpu * 1e6) / delivered, bytes: bytes / delivered };
}

/** KB for each idle connection. */
async function weight(): Promise<number> {
  await using broker = await ours("daemon", IDLE_TOKENS);
  {
    await using _ = await subscribe({ ...broker.where, users: broker.where.users.slice(0, 1) }, 0);
  }
  await pause(SETTLE_MS);
  const before = memory(broker.pid).rss;
  await using _ = await subscribe(broker.where, 0);
  await pause(SETTLE_MS);
  return (memory(broker.pid).rss - before) / (IDLE_TOKENS * SUBSCRIBERS);
}

/** 50 of each user, in one process. */
async function subscribe(where: Where, messages: number): Promise<Child> {
  const child = Child.file("mqtt-subscribers.ts", [JSON.stringify(where), String(SUBSCRIBERS), String(messages)]);
  await child.line();
  return child;
}

async function ours(kind: Order["kind"], tokens: number): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-mqtt-"));
  const order: Order = { kind, folder, messages: MESSAGES, bytes: BYTES, tokens };
  const child = Child.file("mqtt-broker.ts", [JSON.stringify(order)]);
  return {
    where: await child.line<Where>(),
    pid: child.pid,
    publish: () => child.say("go"),
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function theirs(program: string): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "cib-bench-mosquitto-"));
  const port = await freePort();
  const file = join(folder, "mosquitto.conf");
  // Nothing dropped for a slow reader, as nothing is dropped by the others.
  const lines = [`listener ${port} 127.0.0.1`, "allow_anonymous true", "max_queued_messages 0", "set_tcp_nodelay true"];
  writeFileSync(file, `${lines.join("\n")}\n`);
  const child = spawn(program, ["-c", file], { stdio: "ignore" });
  if (child.pid === undefined) throw new Error("mosquitto: did not start");
  while (!(await listens(port))) await pause(LISTEN_TRY_MS);
  const topic = "cib/00000000-0000-4000-8000-000000000000/frames/text.delta";
  const publisher = connect(port, "127.0.0.1").setNoDelay(true);
  const hello = { protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 600 } as const;
  publisher.write(generate({ cmd: "connect", ...hello, clientId: "publisher" }));
  await once(publisher, "data");
  const payload = Buffer.alloc(BYTES, "lorem ");
  const packet = generate({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false });
  return {
    where: { port, topic, users: [{ name: "user", password: "none" }] },
    pid: child.pid,
    publish: () => void publisher.write(Buffer.concat(Array.from({ length: MESSAGES }, () => packet))),
    async [Symbol.asyncDispose]() {
      publisher.destroy();
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Mosquitto cannot be told to find one. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((tell) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => tell(true)).once("error", () => tell(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** Debian puts daemons into sbin, which is not on everybody's PATH. */
function installed(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path);
        return true;
      } catch {
        return false;
      }
    });
}
