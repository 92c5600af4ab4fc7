/** Bridge address: what CIB_MQTT_BRIDGE and its companions say, taken apart once; its secrets never come back out in a message. */
import { readFileSync } from "node:fs";

/** Where a foreign broker is, and as whom we come there. */
export interface BridgeAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
}

const PORTS: Readonly<Record<string, number>> = { "mqtt:": 1883, "mqtts:": 8883 };

/** `mqtt(s)://[user:password@]host[:port]`. Throws SyntaxError that says what is wrong and quotes nothing. */
export function bridgeAddress(text: string): BridgeAddress {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // The parser's own message would quote the password.
    throw new SyntaxError("expected mqtt://host:port or mqtts://user:password@host:port");
  }
  const fallback = PORTS[url.protocol];
  if (fallback === undefined) throw new SyntaxError("expected mqtt:// or mqtts:// in front");
  if (url.hostname === "") throw new SyntaxError("no host in it");
  if (!["", "/"].includes(url.pathname) || url.search !== "" || url.hash !== "")
    throw new SyntaxError("nothing may follow the port; a password with / ? # is written %2F %3F %23");
  // MQTT 3.1.1 [MQTT-3.1.2-22]: no password without a user name.
  if (url.password !== "" && url.username === "") throw new SyntaxError("a password needs a user name before it");
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? fallback : Number(url.port),
    tls: url.protocol === "mqtts:",
    ...(url.username !== "" && { username: plain(url.username) }),
    ...(url.password !== "" && { password: plain(url.password) }),
  };
}

function plain(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new SyntaxError("user name and password: % stands before two hexadecimal digits; % itself is %25");
  }
}

/** One level of a topic. */
const BOX = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

/** Which of a frame's two forms go out over the bridge. */
export const BRIDGE_FRAMES = ["both", "json", "cbor", "off"] as const;
export type BridgeFrames = (typeof BRIDGE_FRAMES)[number];

export interface BridgeSettings {
  readonly address: BridgeAddress;
  /** Certificates (PEM) that are trusted in place of the system's. */
  readonly ca?: string;
  /** As whom it publishes and takes commands; without one it carries sealed links only. */
  readonly token?: string;
  /** What the box is called in topics; left out: twelve digits of its id. */
  readonly name?: string;
  readonly frames: BridgeFrames;
}

export interface BridgeVariables {
  readonly CIB_MQTT_BRIDGE?: string | undefined;
  readonly CIB_MQTT_BRIDGE_CA?: string | undefined;
  readonly CIB_MQTT_BRIDGE_TOKEN?: string | undefined;
  readonly CIB_MQTT_BRIDGE_NAME?: string | undefined;
  readonly CIB_MQTT_BRIDGE_FRAMES: BridgeFrames;
}

/** Undefined: no bridge. Throws SyntaxError naming the variable and what to do. */
export function bridgeSettings(set: BridgeVariables): BridgeSettings | undefined {
  const {
    CIB_MQTT_BRIDGE: url,
    CIB_MQTT_BRIDGE_TOKEN: token,
    CIB_MQTT_BRIDGE_NAME: name,
    CIB_MQTT_BRIDGE_CA: ca,
  } = set;
  // Off by name is meant, and may have the rest beside it.
  if (url === "off") return undefined;
  if (url === undefined) {
    const idle = Object.entries({ CIB_MQTT_BRIDGE_TOKEN: token, CIB_MQTT_BRIDGE_NAME: name, CIB_MQTT_BRIDGE_CA: ca });
    const [variable] = idle.find(([, value]) => value !== undefined) ?? [];
    if (variable === undefined) return undefined;
    throw new SyntaxError(
      `${variable}: does nothing without CIB_MQTT_BRIDGE; set that to mqtt(s)://… or off, or unset this`,
    );
  }
  if (name !== undefined && !BOX.test(name))
    throw new SyntaxError(`CIB_MQTT_BRIDGE_NAME: expected 1 to 32 letters, digits or _.-, got "${name.slice(0, 40)}"`);
  return {
    address: named("CIB_MQTT_BRIDGE", () => bridgeAddress(url)),
    ...(ca !== undefined && { ca: named("CIB_MQTT_BRIDGE_CA", () => certificates(ca)) }),
    ...(token !== undefined && { token }),
    ...(name !== undefined && { name }),
    frames: set.CIB_MQTT_BRIDGE_FRAMES,
  };
}

/** Home Assistant's discovery prefix; undefined: no discovery. Throws SyntaxError. */
export function homePrefix(text: string): string | undefined {
  if (text === "off") return undefined;
  if (text === "on") return "homeassistant";
  if (/^[A-Za-z0-9_-]{1,32}(\/[A-Za-z0-9_-]{1,32}){0,2}$/.test(text) && !/^cib(\/|$)/.test(text)) return text;
  throw new SyntaxError(`CIB_HOME_ASSISTANT: expected off, on, or a discovery prefix, got "${text.slice(0, 40)}"`);
}

function certificates(path: string): string {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // The same words: who cannot read it has no certificates either.
  }
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new SyntaxError(`no certificates (PEM) at ${path}`);
}

function named<T>(variable: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw new SyntaxError(`${variable}: ${(thrown as Error).message}`);
  }
}
