/** A world for the suite: the real daemon in this process, with a scripted engine in Claude's place, that can stop, start again and lose power. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Settlement } from "../../src/agent/agent.ts";
import { readConfig } from "../../src/config.ts";
import { type Daemon, startDaemon } from "../../src/daemon.ts";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import { freePort } from "../free-port.ts";
import { ScriptEngine } from "./engine.ts";

export const MASTER = "conformance-master-token-of-32-characters";

export interface World extends AsyncDisposable {
  /** "http://127.0.0.1:<port>", the same after a restart. */
  readonly url: string;
  /** Port of the raw TCP links: another one after a restart. */
  readonly tcpPort: number;
  /** Port of MQTT without TLS: another one after a restart. */
  readonly mqttPort: number;
  /** Port of MQTT over TLS, where CIB_MQTTS_LISTEN is not off. */
  readonly mqttsPort: number;
  readonly master: string;
  /** Every prompt that reached Claude in this session. */
  prompts(session: SessionId): readonly string[];
  /** Frames as if Claude had made them. */
  say(session: SessionId, ...bodies: FrameBody[]): void;
  /** What Claude was handed for its questions, in order. */
  settled(session: SessionId): readonly (readonly [string, Settlement])[];
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops as a power loss would: the last `frames` of the session's log were never on the disk. Then starts. */
  losePower(session: SessionId, frames: number): Promise<void>;
  readonly faults: readonly unknown[];
  /** The operator's log. */
  readonly printed: readonly string[];
}

/** `now`: the box's clock, ms since 1970. */
export async function openWorld(env: Readonly<Record<string, string>> = {}, now = Date.now): Promise<World> {
  const world = new DaemonWorld(env, await freePort(), now);
  await world.start();
  return world;
}

class DaemonWorld implements World {
  readonly master = MASTER;
  readonly faults: unknown[] = [];
  readonly printed: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "cib-conformance-"));
  readonly #env: Readonly<Record<string, string>>;
  readonly #engine = new ScriptEngine();
  readonly #now: () => number;
  #daemon: Daemon | undefined;
  readonly #port: number;

  constructor(env: Readonly<Record<string, string>>, port: number, now: () => number) {
    this.#env = env;
    this.#now = now;
    this.#port = port;
    mkdirSync(join(this.#folder, "workspace"));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get tcpPort(): number {
    return this.#daemon?.tcpPort ?? 0;
  }

  get mqttPort(): number {
    return this.#daemon?.mqttPort ?? 0;
  }

  get mqttsPort(): number {
    return this.#daemon?.mqttsPort ?? 0;
  }

  prompts(session: SessionId): readonly string[] {
    return this.#engine.prompts.get(session) ?? [];
  }

  say(session: SessionId, ...bodies: FrameBody[]): void {
    this.#engine.say(session, ...bodies);
  }

  settled(session: SessionId): readonly (readonly [string, Settlement])[] {
    return this.#engine.settled(session);
  }

  async start(): Promise<void> {
    const config = readConfig({
      CIB_AUTH_TOKEN: MASTER,
      CIB_LISTEN: `127.0.0.1:${this.#port}`,
      CIB_TCP_LISTEN: "127.0.0.1:0",
      CIB_MQTT_LISTEN: "127.0.0.1:0",
      CIB_MQTTS_LISTEN: "off",
      CIB_DATA: join(this.#folder, "data"),
      CIB_WORKSPACE: join(this.#folder, "workspace"),
      CIB_HOME: join(this.#folder, "home"),
      ANTHROPIC_API_KEY: "sk-ant-dummy-000000000000000000000000000000",
      ...this.#env,
    });
    this.#daemon = await startDaemon(config, {
      engine: this.#engine,
      now: this.#now,
      fault: (where, thrown) => this.faults.push([where, thrown]),
      say: (line) => this.printed.push(line),
    });
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
  }

  async losePower(session: SessionId, frames: number): Promise<void> {
    const [data, image] = [join(this.#folder, "data"), join(this.#folder, "image")];
    // What is on the disk while the daemon runs is what a cut would leave, but for what was not synced.
    cpSync(data, image, { recursive: true });
    await this.stop();
    rmSync(data, { recursive: true });
    renameSync(image, data);
    const log = join(data, "sessions", session, "transcript.jsonl");
    const lines = readFileSync(log, "utf8").split("\n").slice(0, -1);
    writeFileSync(log, `${lines.slice(0, -frames).join("\n")}\n`);
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
