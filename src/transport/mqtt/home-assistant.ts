/** Home Assistant: keeps each session's device up to date, on whatever broker it is given. */
import type { Control, Principal, SessionInfo, Watcher } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { SessionId } from "../../frame/frame.ts";
import { type Ask, discoveryTopic, homeConfig, homeState, homeTopic, type Place } from "./discovery.ts";

export interface HomeOptions {
  readonly control: Pick<Control, "run">;
  /** Needs sessions:read. */
  readonly who: Principal;
  readonly place: Place;
  /** Retains the payload; an empty one takes back what was retained. */
  publish(topic: string, payload: Buffer): void;
  fault(thrown: unknown): void;
}

interface Device {
  /** The question that its buttons answer: the latest that there was. */
  ask: Ask | undefined;
  /** Of the news under way the last: what was asked for earlier may come later. */
  news: number;
  said: { readonly state: string; readonly config: string } | undefined;
}

const NOTHING = Buffer.alloc(0);
const NEVER = new AbortController().signal;

export class HomeAssistant implements Watcher {
  readonly #o: HomeOptions;
  readonly #devices = new Map<SessionId, Device>();

  constructor(options: HomeOptions) {
    this.#o = options;
  }

  changed(info: SessionInfo): void {
    const device = this.#devices.get(info.session) ?? { ask: undefined, news: 0, said: undefined };
    this.#devices.set(info.session, device);
    const news = ++device.news;
    if (!(Number(info["waiting"]) > 0)) {
      this.#say(info, device, undefined);
      return;
    }
    this.#ask(info.session)
      .then((ask) => {
        if (device.news === news && this.#devices.get(info.session) === device) this.#say(info, device, ask);
      })
      .catch((thrown: unknown) => {
        // It went, or the token did: that is told elsewhere.
        if (!(thrown instanceof CibError)) this.#o.fault(thrown);
      });
  }

  gone(session: SessionId): void {
    this.#devices.delete(session);
    const { place, publish } = this.#o;
    publish(discoveryTopic(session, place.prefix), NOTHING);
    publish(homeTopic(session, place.root), NOTHING);
  }

  async #ask(session: SessionId): Promise<Ask | undefined> {
    const { control, who } = this.#o;
    const { body } = await control.run(who, { cmd: "asks.list", session }, NEVER);
    const [first] = body["asks"] as readonly Readonly<Record<string, unknown>>[];
    if (first === undefined) return undefined;
    const { id, kind, prompt, tool, summary } = first;
    const what = typeof tool === "string" ? `${tool}: ${String(summary ?? prompt)}` : String(prompt);
    return { id: String(id), kind: kind === "permission" ? "permission" : "question", text: what };
  }

  /** The question first, its buttons after it: whoever presses in between says something to the one before, which is settled. */
  #say(info: SessionInfo, device: Device, ask: Ask | undefined): void {
    const { place, publish } = this.#o;
    // The buttons of a question that is over cannot be pressed, and need not be made anew.
    device.ask = ask ?? device.ask;
    const state = JSON.stringify(homeState(info, ask));
    const config = JSON.stringify(homeConfig(info, device.ask, place));
    if (state !== device.said?.state) publish(homeTopic(info.session, place.root), Buffer.from(state));
    if (config !== device.said?.config) publish(discoveryTopic(info.session, place.prefix), Buffer.from(config));
    device.said = { state, config };
  }
}
