/** Discovery: a session as a Home Assistant device: its configuration and its state, as payloads; pure. */
import { createHash } from "node:crypto";
import type { SessionInfo } from "../../control/control.ts";
import type { SessionId } from "../../frame/frame.ts";
import { formatTopic, ROOT } from "./topics.ts";

/** Home Assistant refuses a state of more than 255 characters; the whole text is an attribute. */
const MAX_STATE_CHARS = 250;
/** Longest text of a question as an attribute: the recorder keeps 16 KiB of attributes. */
const MAX_TEXT_CHARS = 4096;

/** The question that waits longest. */
export interface Ask {
  readonly id: string;
  readonly kind: "question" | "permission";
  readonly text: string;
}

/** Where it all is published. */
export interface Place {
  /** Home Assistant's discovery prefix: "homeassistant". */
  readonly prefix: string;
  /** "cib", or "cib/<box>" over a bridge. */
  readonly root: string;
  /** Over a bridge: where the answers to pressed buttons go. */
  readonly reply?: string;
  /** Our version. */
  readonly version: string;
}

/** Retained: the device with everything that it has. Empty: it is gone. */
export function discoveryTopic(session: SessionId, prefix: string): string {
  return formatTopic({ kind: "device", session, prefix });
}

/** Retained: what the device shows. */
export function homeTopic(session: SessionId, root = ROOT): string {
  return formatTopic({ kind: "home", session }, root);
}

/** What the device shows, as JSON on `homeTopic`. */
export function homeState(info: SessionInfo, ask: Ask | undefined): object {
  const { state, model, title, waiting, usage } = info;
  const { input, output, cost_usd } = (usage ?? {}) as Readonly<Record<string, unknown>>;
  return {
    state,
    model: model ?? null,
    title: title ?? null,
    waiting: waiting ?? 0,
    question: ask === undefined ? "" : short(ask.text, MAX_STATE_CHARS),
    text: ask === undefined ? "" : short(ask.text, MAX_TEXT_CHARS),
    ask: ask?.id ?? null,
    // A question takes one of its choices, in words; yes is none of them.
    approve: ask?.kind === "permission",
    deny: ask !== undefined,
    tokens_in: input ?? 0,
    tokens_out: output ?? 0,
    ...(typeof cost_usd === "number" && { cost_usd: Math.round(cost_usd * 1e6) / 1e6 }),
  };
}

/** The device, as JSON on `discoveryTopic`. Its buttons answer `ask` and nothing else: with the next question it is published anew. */
export function homeConfig(info: SessionInfo, ask: Ask | undefined, place: Place): object {
  const { session, title, model } = info;
  const { root, version } = place;
  const state = homeTopic(session, root);
  const online = {
    topic: formatTopic({ kind: "online" }, root),
    payload_available: "1",
    payload_not_available: "0",
  };
  const sensor = (what: string, name: string, value: string, more: object = {}) => ({
    platform: "sensor",
    unique_id: `cib_${session}_${what}`,
    name,
    state_topic: state,
    value_template: `{{ value_json.${value} }}`,
    availability: [online],
    ...more,
  });
  const button = (what: "approve" | "deny", name: string, icon: string) => ({
    platform: "button",
    unique_id: `cib_${session}_${what}`,
    name,
    icon,
    command_topic: formatTopic({ kind: "cmd", session }, root),
    payload_press: press(session, ask?.id, what === "approve" ? "allow" : "deny", place.reply),
    qos: 1,
    retain: false,
    availability_mode: "all",
    availability: [online, { topic: state, value_template: `{{ 'online' if value_json.${what} else 'offline' }}` }],
  });
  const tokens = { unit_of_measurement: "tokens", state_class: "total_increasing" };
  const { cost_usd } = (info["usage"] ?? {}) as Readonly<Record<string, unknown>>;
  return {
    device: {
      identifiers: [`cib_${session}`],
      name: typeof title === "string" && title !== "" ? title : `Claude ${session.slice(0, 8)}`,
      manufacturer: "Claude in a box",
      ...(typeof model === "string" && { model }),
      serial_number: session,
      sw_version: version,
    },
    origin: { name: "claude-in-box", sw_version: version },
    components: {
      state: sensor("state", "State", "state", {
        device_class: "enum",
        options: ["idle", "working", "waiting_for_input", "stopped"],
        icon: "mdi:robot",
      }),
      question: sensor("question", "Question", "question", {
        icon: "mdi:help-circle-outline",
        json_attributes_topic: state,
        json_attributes_template: "{{ {'ask': value_json.ask, 'text': value_json.text} | tojson }}",
      }),
      waiting: sensor("waiting", "Questions waiting", "waiting", { state_class: "measurement" }),
      model: sensor("model", "Model", "model", { entity_category: "diagnostic" }),
      tokens_in: sensor("tokens_in", "Input tokens", "tokens_in", tokens),
      tokens_out: sensor("tokens_out", "Output tokens", "tokens_out", tokens),
      ...(typeof cost_usd === "number" && {
        cost: sensor("cost", "Cost", "cost_usd", {
          device_class: "monetary",
          unit_of_measurement: "USD",
          state_class: "total",
        }),
      }),
      approve: button("approve", "Approve", "mdi:check"),
      deny: button("deny", "Deny", "mdi:close"),
    },
  };
}

/** The command of a button. Pressed twice it is said once: its id is made of the question and the answer. */
function press(session: SessionId, ask: string | undefined, decision: "allow" | "deny", reply?: string): string {
  const id = createHash("sha256")
    .update(`${session} ${ask ?? ""} ${decision}`)
    .digest("hex")
    .slice(0, 16);
  return JSON.stringify({ cmd: "answer", id, ask: ask ?? "none", decision, ...(reply !== undefined && { reply }) });
}

/** At most so many UTF-16 units, and no half character at the end. */
function short(text: string, most: number): string {
  return text.length <= most
    ? text
    : `${text
        .slice(0, most - 1)
        .toWellFormed()
        .replace(/\uFFFD$/, "")}…`;
}
