/** Topics: every topic of the table in docs/MQTT.md, parsed, written, and who may hear it or say something on it. */
import type { Principal } from "../../control/control.ts";
import { type FrameTypeName, type SessionId, sessionId } from "../../frame/frame.ts";
import { TYPES } from "../../frame/registry.ts";

/** The first level of every topic; a bridge puts `cib/<box>` in its place. */
export const ROOT = "cib";
/** `cib/client/` 11 + a client id 64 + `/` + a session 36 = 112, and a bridge's box name. */
export const MAX_TOPIC_BYTES = 256;
/** Longest client id: `<token id>-` 17, and a name. */
export const MAX_CLIENT_ID_CHARS = 64;
/** The table needs 4, a bridge 5; a filter's levels cost a step each. */
export const MAX_LEVELS = 8;

const CLIENT_ID = /^[\w.:-]{1,64}$/;
const KEY_ID = /^[0-9a-f]{16}$/;
const BIRTH = /^([\w-]+(?:\/[\w-]+)*)\/status$/;
const DEVICE = /^([\w-]+(?:\/[\w-]+)*)\/device\/cib_([0-9a-f-]{36})\/config$/;

/** The terminal's bytes are for those who ask for them: an attach has them, these topics do not. */
export type TopicType = Exclude<FrameTypeName, "pty.raw">;

/** A topic, without its root. */
export type Topic =
  | { readonly kind: "frames" | "json"; readonly session: SessionId; readonly type: TopicType }
  | { readonly kind: "status" | "home"; readonly session: SessionId }
  /** Under Home Assistant's discovery prefix, not ours. */
  | { readonly kind: "device"; readonly session: SessionId; readonly prefix: string }
  /** Where Home Assistant says that it is there, and its will that it is not. */
  | { readonly kind: "birth"; readonly prefix: string }
  | { readonly kind: "cmd"; readonly session?: SessionId }
  | { readonly kind: "online" }
  | { readonly kind: "sessions" | "reply"; readonly client: string }
  | { readonly kind: "attach"; readonly client: string; readonly session: SessionId }
  | { readonly kind: "up" | "down"; readonly key: string };

/** Whoever has come in: with a principal, or with the right to one key's link topics and nothing else. */
export interface Guest {
  readonly clientId: string;
  readonly who: Principal | undefined;
  /** Home Assistant's discovery prefix, where sessions are published for it. */
  readonly home?: string | undefined;
  /** 16 hex digits, where it came in to open a sealed link. */
  readonly link?: string | undefined;
}

/** Every frame type that has topics. */
export const TOPIC_TYPES: readonly TopicType[] = Object.keys(TYPES).filter(isTopicType);

/** The topic as text. */
export function formatTopic(topic: Topic, root = ROOT): string {
  switch (topic.kind) {
    case "frames":
    case "json":
      return `${root}/${topic.session}/${topic.kind}/${topic.type}`;
    case "status":
    case "home":
      return `${root}/${topic.session}/${topic.kind}`;
    case "device":
      return `${topic.prefix}/device/cib_${topic.session}/config`;
    case "birth":
      return `${topic.prefix}/status`;
    case "cmd":
      return topic.session === undefined ? `${root}/cmd` : `${root}/${topic.session}/cmd`;
    case "online":
      return `${root}/online`;
    case "sessions":
    case "reply":
      return `${root}/client/${topic.client}/${topic.kind}`;
    case "attach":
      return `${root}/client/${topic.client}/${topic.session}`;
    case "up":
    case "down":
      return `${root}/link/${topic.key}/${topic.kind}`;
    default:
      return topic satisfies never;
  }
}

/** A topic of the table; undefined for every other text, wildcards among them. */
export function parseTopic(text: string, root = ROOT): Topic | undefined {
  if (text.length > MAX_TOPIC_BYTES) return undefined;
  if (!text.startsWith(`${root}/`)) return ofHome(text);
  const [first = "", second, third, ...more] = text.slice(root.length + 1).split("/");
  if (more.length > 0) return undefined;
  if (second === undefined) return alone(first);
  if (first === "client") return third === undefined ? undefined : ofClient(second, third);
  if (first === "link") return KEY_ID.test(second) ? ofLink(second, third) : undefined;
  const session = sessionId(first);
  return session === undefined ? undefined : ofSession(session, second, third);
}

function ofHome(text: string): Topic | undefined {
  const [, home] = BIRTH.exec(text) ?? [];
  if (home !== undefined) return { kind: "birth", prefix: home };
  const [, prefix = "", id = ""] = DEVICE.exec(text) ?? [];
  const session = sessionId(id);
  return session && { kind: "device", session, prefix };
}

function alone(first: string): Topic | undefined {
  return first === "cmd" || first === "online" ? { kind: first } : undefined;
}

function ofClient(client: string, last: string): Topic | undefined {
  if (!isClientId(client)) return undefined;
  if (last === "sessions" || last === "reply") return { kind: last, client };
  const session = sessionId(last);
  return session && { kind: "attach", client, session };
}

function ofLink(key: string, way: string | undefined): Topic | undefined {
  return way === "up" || way === "down" ? { kind: way, key } : undefined;
}

function ofSession(session: SessionId, kind: string, type: string | undefined): Topic | undefined {
  if (type === undefined) return kind === "status" || kind === "home" || kind === "cmd" ? { kind, session } : undefined;
  if ((kind !== "frames" && kind !== "json") || !isTopicType(type)) return undefined;
  return { kind, session, type };
}

/** Whether it can stand in a topic. */
export function isClientId(text: string): boolean {
  return CLIENT_ID.test(text);
}

function isTopicType(type: string): type is TopicType {
  return type !== "pty.raw" && Object.hasOwn(TYPES, type);
}

/** Whether this guest may be sent what is published there, now. */
export function mayHear(guest: Guest, topic: Topic): boolean {
  const { who, clientId } = guest;
  if (topic.kind === "down") return topic.key === guest.link;
  if (who === undefined || who.ended.aborted) return false;
  switch (topic.kind) {
    case "frames":
    case "json":
    case "status":
    case "home":
      return mayRead(who, topic.session);
    case "device":
      return topic.prefix === guest.home && mayRead(who, topic.session);
    case "sessions":
      return topic.client === clientId && who.scopes.has("sessions:read");
    case "attach":
      return topic.client === clientId && mayRead(who, topic.session);
    case "reply":
      return topic.client === clientId;
    case "online":
      return true;
    default:
      return false;
  }
}

/** Whether this guest may publish there. What a command may do is control's to say. Nothing that comes in is kept. */
export function maySay(guest: Guest, topic: Topic | undefined, retain: boolean): boolean {
  if (retain || topic === undefined) return false;
  if (topic.kind === "up") return topic.key === guest.link;
  if (guest.who === undefined || guest.who.ended.aborted) return false;
  return topic.kind === "cmd" || (topic.kind === "birth" && topic.prefix === guest.home);
}

/** Whether a filter can ever match something that this guest may hear; each message is looked at again when it is sent. */
export function mayFilter(guest: Guest, filter: string, root = ROOT): boolean {
  if (!isFilter(filter)) return false;
  const levels = filter.split("/");
  return hearable(guest, root).some((pattern) => overlap(levels, pattern));
}

/** A well-formed filter (MQTT 3.1.1 §4.7.1), within our limits. */
export function isFilter(filter: string): boolean {
  if (filter === "" || Buffer.byteLength(filter) > MAX_TOPIC_BYTES || filter.includes("\0")) return false;
  const levels = filter.split("/");
  if (levels.length > MAX_LEVELS) return false;
  return levels.every((level, i) => {
    if (level === "#") return i === levels.length - 1;
    return level === "+" || !/[+#]/.test(level);
  });
}

type Level = string | ((text: string) => boolean);

/** What a guest may hear, as patterns. */
function hearable(guest: Guest, root: string): Level[][] {
  const base = root.split("/");
  if (guest.link !== undefined) return [[...base, "link", guest.link, "down"]];
  const { who, clientId } = guest;
  if (who === undefined || who.ended.aborted) return [];
  const own = [...base, "client", clientId];
  const open: Level[][] = [
    [...base, "online"],
    [...own, "reply"],
  ];
  if (!who.scopes.has("sessions:read")) return open;
  const session: Level = (text) => mayRead(who, sessionId(text));
  const type: Level = isTopicType;
  const any: Level = () => true;
  const prefix = guest.home?.split("/") ?? [];
  // Home Assistant asks for every kind of device that it knows, with and without a node between; ours are of one kind.
  const home: Level[][] =
    guest.home === undefined
      ? []
      : [
          [...prefix, any, any, "config"],
          [...prefix, any, any, any, "config"],
          [...base, session, "home"],
        ];
  return [
    ...home,
    ...open,
    [...own, "sessions"],
    [...own, session],
    [...base, session, "status"],
    [...base, session, "frames", type],
    [...base, session, "json", type],
  ];
}

function mayRead(who: Principal, session: SessionId | undefined): boolean {
  if (session === undefined || !who.scopes.has("sessions:read")) return false;
  return who.sessions === undefined || who.sessions.has(session);
}

function overlap(filter: readonly string[], pattern: readonly Level[]): boolean {
  for (let i = 0; ; i++) {
    const [wanted, level] = [filter[i], pattern[i]];
    // `a/#` also matches `a` (MQTT 3.1.1 §4.7.1.2).
    if (wanted === "#") return true;
    if (wanted === undefined || level === undefined) return wanted === level;
    if (wanted === "+") continue;
    if (typeof level === "string" ? level !== wanted : !level(wanted)) return false;
  }
}
