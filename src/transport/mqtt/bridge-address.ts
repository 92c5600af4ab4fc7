/** Bridge address: CIB_MQTT_BRIDGE, taken apart once; its secrets never come back out in a message. */

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

/** Topic levels that would stand where a session's topics stand. */
const BOX = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/;

/** Whether a box may be called so in topics: one level, 1 to 32 letters, digits or _.- */
export function isBoxName(name: string): boolean {
  return BOX.test(name);
}
