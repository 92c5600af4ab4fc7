/** Bridge: this box at a foreign broker: its sessions as the token may see them, commands for them, and sealed links for devices. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Control, Principal } from "../../control/control.ts";
import { asCibError } from "../../errors.ts";
import { TIMERS, type Timers } from "../timers.ts";
import type { Transport } from "../transport.ts";
import type { BridgeSettings } from "./bridge-address.ts";
import { Commands, type Dropped } from "./bridge-commands.ts";
import { Cursors } from "./bridge-cursors.ts";
import type { Incoming, Line } from "./bridge-line.ts";
import { BridgeLinks } from "./bridge-links.ts";
import { Memory } from "./bridge-memory.ts";
import { Online } from "./bridge-online.ts";
import { Outbox } from "./bridge-outbox.ts";
import { Queue } from "./bridge-queue.ts";
import { BridgeSessions } from "./bridge-sessions.ts";
import { parseTopic, ROOT } from "./topics.ts";

/** First wait before another try; it doubles, */
export const FIRST_WAIT_MS = 1_000;
/** up to this: a broker that comes back is found within a minute. */
export const LONGEST_WAIT_MS = 60_000;
/** A line that held as long was a good one: the next wait is the first again. */
export const STEADY_MS = 10_000;

export interface BridgeOptions extends BridgeSettings {
  /** The box's own id, of which it has its name where the settings give it none. */
  readonly id: string;
  /** Home Assistant's discovery prefix; undefined: no discovery. */
  readonly home?: string | undefined;
  readonly version: string;
  /** Folder for its queue and cursors. */
  readonly folder: string;
  readonly now: () => number;
  /** A line for the operator: the broker is gone, or there again; the token does not hold. */
  say(line: string): void;
  onFault(where: string, thrown: unknown): void;
  /** A sealed link over the broker was refused. */
  onRefused?(address: string, why: string): void;
  /** A message of the broker (its host) was thrown away without an answer: see DROPPED. */
  onDropped?(broker: string, why: Dropped): void;
  readonly timers?: Timers;
  readonly random?: () => number;
  readonly limits?: { readonly queueBytes?: number };
}

export interface BridgeTransport extends Transport {
  /** For health: no address, no name, no secret. */
  readonly counts: Readonly<Record<string, unknown>>;
}

export function createBridge(options: BridgeOptions): BridgeTransport {
  return new Bridge(options);
}

/** Everything that outlives a line. */
interface Parts {
  readonly control: Control;
  readonly cursors: Cursors;
  readonly queue: Queue;
  readonly memory: Memory;
  readonly commands: Commands;
  readonly outbox: Outbox;
  readonly sessions: BridgeSessions;
  readonly links: BridgeLinks;
}

class Bridge implements BridgeTransport {
  readonly name = "mqtt bridge";
  readonly #o: BridgeOptions;
  readonly #box: string;
  readonly #root: string;
  readonly #timers: Timers;
  readonly #online: Online;
  readonly #dropped: Partial<Record<Dropped, number>> = {};
  #Line: typeof Line | undefined;
  #parts: Parts | undefined;
  #who: Principal | undefined;
  #line: Line | undefined;
  /** Tries since the last good line. */
  #tries = 0;
  #upSince: number | undefined;
  #told: string | undefined;
  #cancelRetry: (() => void) | undefined;
  #lineOver: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(options: BridgeOptions) {
    this.#o = options;
    this.#box = options.name ?? options.id.replaceAll("-", "").slice(0, 12);
    this.#root = `${ROOT}/${this.#box}`;
    this.#timers = options.timers ?? TIMERS;
    this.#online = new Online({ topic: `${this.#root}/online`, now: options.now, timers: this.#timers });
  }

  get counts(): Readonly<Record<string, unknown>> {
    const { queue, links } = this.#parts ?? {};
    return {
      connected: this.#line?.ready === true,
      token: this.#o.token === undefined ? "none" : this.#who === undefined ? "refused" : "ok",
      links: links?.counts.live ?? 0,
      unacknowledged: this.#line?.unacked ?? 0,
      queued: queue?.size.messages ?? 0,
      ...(Object.keys(this.#dropped).length > 0 && { dropped: { ...this.#dropped } }),
    };
  }

  /** Resolves when its files are open: whether the broker is there makes no difference. Rejects with the system's error. */
  async start(control: Control, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#who = this.#enter(control);
    await mkdir(this.#o.folder, { recursive: true, mode: 0o700 });
    // Only here: a daemon without a bridge does not pay for its packets.
    ({ Line: this.#Line } = await import("./bridge-line.ts"));
    this.#parts = await this.#open(control, signal);
    await this.#parts.commands.resume();
    signal.addEventListener("abort", () => void this.#stop(), { once: true });
    this.#who?.ended.addEventListener("abort", () => this.#tokenEnded(), { once: true });
    this.#connect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }

  #enter(control: Control): Principal | undefined {
    const { token, say } = this.#o;
    if (token === undefined) return undefined;
    try {
      return control.enter({ bearer: token, address: "CIB_MQTT_BRIDGE_TOKEN", encrypted: true });
    } catch (thrown) {
      const { message } = asCibError(thrown);
      say(`bridge: CIB_MQTT_BRIDGE_TOKEN: ${message}; only sealed links are carried until the daemon has another one`);
      return undefined;
    }
  }

  #tokenEnded(): void {
    const why = String(this.#who?.ended.reason);
    this.#who = undefined;
    this.#o.say(`bridge: CIB_MQTT_BRIDGE_TOKEN has been ${why}; only sealed links are carried from now on`);
    if (this.#line?.up === true) this.#line.unsubscribe(this.#filters());
    this.#parts?.sessions.forget();
  }

  async #open(control: Control, signal: AbortSignal): Promise<Parts> {
    const { folder, now, limits, version, frames, home } = this.#o;
    const [root, timers] = [this.#root, this.#timers];
    const fault = (thrown: unknown) => this.#o.onFault("bridge", thrown);
    const cursors = await Cursors.open({ file: join(folder, "cursors.json"), now, timers, fault });
    const queue = await Queue.open(join(folder, "queue.jsonl"), fault, limits?.queueBytes);
    const memory = await Memory.open(join(folder, "commands.jsonl"), fault);
    const outbox = new Outbox(queue, root);
    const commands = new Commands({
      control,
      root,
      who: () => this.#who,
      memory,
      reply: (topic, payload) => outbox.push(topic, payload),
      dropped: (why) => this.#drop(why),
      fault,
      signal,
    });
    const who = this.#who;
    const place =
      home === undefined ? undefined : { prefix: home, root, reply: `${root}/reply/home-assistant`, version };
    const sessions = new BridgeSessions({
      control,
      who,
      root,
      frames,
      home: place,
      cursors,
      timers,
      fault,
      stalled: (why) => this.#line?.cut(why),
    });
    const refused = this.#o.onRefused;
    const links = new BridgeLinks(root, { control, now, timers, fault, refused });
    return { control, cursors, queue, memory, outbox, commands, sessions, links };
  }

  #connect(): void {
    const parts = this.#parts;
    const Dial = this.#Line;
    if (parts === undefined || Dial === undefined || this.#stopped !== undefined) return;
    this.#cancelRetry = undefined;
    const { address, ca } = this.#o;
    this.#lineOver = new Promise((over) => {
      const line: Line = new Dial(
        {
          address,
          ...(ca !== undefined && { ca }),
          clientId: `cib-${this.#box}`,
          will: { topic: this.#online.topic, payload: "0" },
          timers: this.#timers,
        },
        {
          connected: () => this.#connected(line, parts),
          message: (incoming) => this.#message(incoming, parts),
          tooLarge: () => this.#drop("too large"),
          denied: (filter) => this.#denied(filter),
          room: () => {
            parts.sessions.drained();
            parts.links.drained();
          },
          acknowledged: (packetId) => parts.links.acknowledged(packetId),
          fault: (thrown) => this.#o.onFault("bridge", thrown),
          closed: (why) => {
            this.#closed(why, parts);
            over();
          },
        },
      );
      this.#line = line;
    });
  }

  #connected(line: Line, parts: Parts): void {
    const { host, port } = this.#o.address;
    this.#upSince = this.#o.now();
    if (this.#told !== undefined) this.#o.say(`bridge: connected to ${host}:${port}`);
    this.#told = undefined;
    this.#online.begin((topic, payload) => line.publish(topic, payload, true));
    line.subscribe([`${this.#root}/link/+/up`, this.#online.topic, ...(this.#who ? this.#filters() : [])]);
    if (this.#who === undefined) line.unsubscribe(this.#filters());
    parts.links.begin(line);
    parts.outbox.begin((topic, payload, done) => line.publish(topic, payload, false, done));
    parts.sessions.begin(line);
  }

  #denied(filter: string): void {
    // Who may not read its own word cannot set it right, and needs nothing else of it.
    if (filter !== this.#online.topic) this.#o.say(`bridge: the broker does not let us subscribe to ${filter}`);
  }

  /** Where plain commands come in. */
  #filters(): readonly string[] {
    return [`${this.#root}/cmd`, `${this.#root}/+/cmd`];
  }

  /** Rejects with the system's error only: what fails for another reason would fail again, and for ever. */
  async #message(incoming: Incoming, { commands, links }: Parts): Promise<void> {
    try {
      const topic = parseTopic(incoming.topic, this.#root);
      if (incoming.topic === this.#online.topic) this.#online.heard(incoming.payload);
      else if (topic?.kind === "up" && !incoming.retain) links.message(topic.key, incoming.payload);
      else await commands.take(incoming);
    } catch (thrown) {
      this.#o.onFault("bridge", thrown);
      if (typeof (thrown as { code?: unknown } | null)?.code === "string") throw thrown;
    }
  }

  #drop(why: Dropped): void {
    this.#dropped[why] = (this.#dropped[why] ?? 0) + 1;
    // Who sent it is the broker's secret.
    this.#o.onDropped?.(this.#o.address.host, why);
  }

  #closed(why: string, { links, outbox, sessions }: Parts): void {
    links.end();
    outbox.end();
    sessions.end();
    this.#online.end();
    this.#line = undefined;
    if (this.#stopped !== undefined) return;
    const { address, now, random = Math.random } = this.#o;
    if (this.#upSince !== undefined && now() - this.#upSince >= STEADY_MS) this.#tries = 0;
    this.#upSince = undefined;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#tries, LONGEST_WAIT_MS);
    this.#tries = Math.min(this.#tries + 1, 16);
    // Half of it by chance: a fleet does not come back all at once.
    this.#cancelRetry = this.#timers.after(Math.round(wait * (0.5 + random() / 2)), () => this.#connect());
    if (why === this.#told) return;
    this.#told = why;
    this.#o.say(`bridge: ${address.host}:${address.port}: ${why}; trying again until it works`);
  }

  #stop(): Promise<void> {
    this.#stopped ??= this.#sayGoodbye();
    return this.#stopped;
  }

  async #sayGoodbye(): Promise<void> {
    this.#cancelRetry?.();
    const parts = this.#parts;
    if (parts === undefined) return;
    parts.sessions.end();
    parts.links.stop();
    this.#online.end();
    this.#line?.publish(this.#online.topic, Buffer.from("0"), true);
    this.#line?.close();
    await this.#lineOver;
    await parts.cursors.close();
    await parts.queue.close();
    await parts.memory.close();
  }
}
