/** Bridge sessions: what the bridge's token may see, at a foreign broker: frames, states, and devices for Home Assistant. */
import type { Control, Principal, SessionInfo } from "../../control/control.ts";
import { asCibError } from "../../errors.ts";
import type { SessionId } from "../../frame/frame.ts";
import type { Timers } from "../timers.ts";
import type { BridgeFrames } from "./bridge-address.ts";
import type { Cursors } from "./bridge-cursors.ts";
import { BridgeFeed } from "./bridge-feed.ts";
import type { Line } from "./bridge-line.ts";
import { RetainedTopics } from "./bridge-retained.ts";
import { discoveryTopic, homeTopic, type Place } from "./discovery.ts";
import { HomeAssistant } from "./home-assistant.ts";
import { statusOf } from "./publisher.ts";
import { formatTopic } from "./topics.ts";

export interface SessionsOptions {
  readonly control: Pick<Control, "watch" | "attach" | "run">;
  /** Undefined: no token that holds; what an earlier one has shown is taken back. */
  readonly who: Principal | undefined;
  readonly root: string;
  readonly frames: BridgeFrames;
  /** Undefined: nothing for Home Assistant. */
  readonly home: Place | undefined;
  readonly cursors: Cursors;
  readonly timers: Timers;
  /** The line is of no use any more. */
  stalled(why: string): void;
  fault(thrown: unknown): void;
}

export class BridgeSessions {
  readonly #o: SessionsOptions;
  readonly #retained = new RetainedTopics();
  readonly #home: HomeAssistant | undefined;
  /** One for each session that it publishes; whoever has room is asked in the order in which they came. */
  readonly #feeds = new Map<SessionId, BridgeFeed>();
  #line: Line | undefined;
  #watching: Disposable | undefined;
  #over: boolean;

  constructor(options: SessionsOptions) {
    this.#o = options;
    const { control, who, home: place, fault } = options;
    const publish = (topic: string, payload: Buffer) => this.#retained.set(topic, payload);
    this.#over = who === undefined;
    this.#home = place && who && new HomeAssistant({ control, who, place, publish, fault });
  }

  /** A line is there: states are said again, frames go on from their cursors. */
  begin(line: Line): void {
    this.#line = line;
    this.#retained.begin((topic, payload, done) => line.publish(topic, payload, true, done));
    const { who } = this.#o;
    if (this.#over || who === undefined) {
      this.#takeAllBack();
      return;
    }
    const known = new Set<SessionId>();
    try {
      this.#watching = this.#o.control.watch(who, {
        changed: (info) => {
          known.add(info.session);
          this.#changed(info);
        },
        gone: (session) => this.#gone(session),
      });
    } catch (thrown) {
      // Without sessions:read there is nothing to publish; commands are another matter.
      if (asCibError(thrown).code === "internal") this.#o.fault(thrown);
      return;
    }
    // Behind the turn in which those that are there are told: what went while nobody looked is taken back.
    setImmediate(() => {
      if (this.#line !== line) return;
      for (const session of this.#o.cursors.sessions) if (!known.has(session)) this.#gone(session);
    });
  }

  end(): void {
    this.#line = undefined;
    this.#watching?.[Symbol.dispose]();
    this.#watching = undefined;
    for (const feed of this.#feeds.values()) feed[Symbol.dispose]();
    this.#feeds.clear();
    this.#retained.end();
  }

  /** The token is no more: what it has shown is taken back. */
  forget(): void {
    this.#over = true;
    this.#watching?.[Symbol.dispose]();
    this.#watching = undefined;
    for (const feed of this.#feeds.values()) feed[Symbol.dispose]();
    this.#feeds.clear();
    this.#takeAllBack();
  }

  /** The broker has acknowledged: every reader gets its turn, and takes at least one frame. */
  drained(): void {
    for (const feed of this.#feeds.values()) feed.drained();
  }

  #changed(info: SessionInfo): void {
    const { root } = this.#o;
    const { session } = info;
    const topic = formatTopic({ kind: "status", session }, root);
    this.#retained.set(topic, Buffer.from(JSON.stringify(statusOf(info))));
    this.#home?.changed(info);
    if (!this.#feeds.has(session)) this.#follow(info);
  }

  #gone(session: SessionId): void {
    this.#feeds.get(session)?.[Symbol.dispose]();
    this.#feeds.delete(session);
    this.#o.cursors.delete(session);
    this.#home?.gone(session);
    this.#takeBack(session);
  }

  /** Of every session that was ever published, by this token or one before. */
  #takeAllBack(): void {
    this.#retained.deleteAll();
    for (const session of this.#o.cursors.sessions) this.#takeBack(session);
  }

  #takeBack(session: SessionId): void {
    const { root, home } = this.#o;
    this.#retained.delete(formatTopic({ kind: "status", session }, root));
    if (home === undefined) return;
    this.#retained.delete(discoveryTopic(session, home.prefix));
    this.#retained.delete(homeTopic(session, root));
  }

  #follow(info: SessionInfo): void {
    const { control, who, root, frames, cursors, timers, fault, stalled } = this.#o;
    const line = this.#line;
    if (line === undefined || who === undefined) return;
    if (frames === "off") {
      // What has been published is known by its cursor.
      const { epoch, last, session } = info;
      if (cursors.get(session) === undefined) cursors.set(session, { epoch: Number(epoch), seq: Number(last) });
      return;
    }
    const feed = new BridgeFeed(
      {
        control,
        who,
        root,
        frames,
        cursors,
        publish: (topic, payload, done) => line.publish(topic, payload, false, done),
        full: () => line.full,
        taken: () => line.acknowledged,
        timers,
        stalled,
        fault,
      },
      info,
    );
    this.#feeds.set(info.session, feed);
  }
}
