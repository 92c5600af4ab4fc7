/** Lobby: who a CONNECT is from, and whether it may come in (docs/MQTT.md, Coming in). */
import type { Control, Principal } from "../../control/control.ts";
import { CibError } from "../../errors.ts";
import type { Arrival } from "./ports.ts";
import { type Guest, isClientId, MAX_CLIENT_ID_CHARS, maySay, parseTopic } from "./topics.ts";

/** CONNACK return codes (MQTT 3.1.1 §3.2.2.3). */
export const CONNACK = { identifier: 2, unavailable: 3, credentials: 4, unauthorized: 5 } as const;

/** What a CONNECT says of its sender. */
export interface Hello {
  readonly clientId: string;
  readonly user: string | undefined;
  readonly password: Buffer | undefined;
  readonly will: { readonly topic: string; readonly retain: boolean } | undefined;
}

/** Who is in, and until when. */
export interface Admission {
  readonly guest: Guest;
  /** Of the principal, or of the key's token where it may only open links. */
  readonly ended: AbortSignal;
  /** The principal's name, or the key id: whose connections it counts among. */
  readonly name: string;
}

/** A CONNECT that is refused. `code`: of the CONNACK; the message is for the log. */
export class ConnectRefused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = "ConnectRefused";
    this.code = code;
  }
}

const LINK_PASSWORD = /^[0-9a-f]{32}$/;
const KEY_ID = /^[0-9a-f]{16}$/;

/** Lets somebody in. `home`: Home Assistant's discovery prefix, where it is on. Throws ConnectRefused. */
export function admit(
  control: Pick<Control, "enter" | "proved" | "mqttLogin">,
  arrival: Pick<Arrival, "address" | "encrypted" | "keyId">,
  hello: Hello,
  home?: string,
): Admission {
  const { clientId, will } = hello;
  const { prefix, who, link, name } = identify(control, arrival, hello);
  // Whoever could choose freely could take another's place and queue.
  if (!clientId.startsWith(`${prefix}-`) || !isClientId(clientId))
    throw new ConnectRefused(
      CONNACK.identifier,
      // The same words for everybody: refusals are counted by their reason.
      `client id: expected <token id or key id>-<name> of at most ${MAX_CLIENT_ID_CHARS} letters, digits and . : _ -`,
    );
  const guest: Guest = { clientId, who: link === undefined ? who : undefined, link, home };
  if (will !== undefined && !maySay(guest, parseTopic(will.topic), will.retain))
    throw new ConnectRefused(CONNACK.unauthorized, "will: a topic where it may not publish, or a retained one");
  return { guest, ended: who.ended, name };
}

interface Identity {
  readonly prefix: string;
  readonly who: Principal;
  readonly link?: string;
  readonly name: string;
}

function identify(
  control: Pick<Control, "enter" | "proved" | "mqttLogin">,
  { address, encrypted, keyId }: Pick<Arrival, "address" | "encrypted" | "keyId">,
  { user, password }: Hello,
): Identity {
  // TLS has proved who it is: user name and password say nothing more.
  if (keyId !== undefined) {
    const who = control.proved(keyId);
    if (who === undefined) throw new ConnectRefused(CONNACK.credentials, "the key's token is revoked or expired");
    return { prefix: keyId, who, name: who.name };
  }
  const text = password?.toString("latin1") ?? "";
  if (user !== undefined && KEY_ID.test(user) && LINK_PASSWORD.test(text)) {
    const who = control.mqttLogin(user, Buffer.from(text, "hex"));
    if (who === undefined) throw new ConnectRefused(CONNACK.credentials, "wrong key id or link password");
    return { prefix: user, who, link: user, name: user };
  }
  const who = enter(control, text === "" ? undefined : text, address, encrypted);
  if (who.name !== user)
    throw new ConnectRefused(CONNACK.credentials, "user name: expected the token's id, or master for the master token");
  return { prefix: who.name, who, name: who.name };
}

function enter(
  control: Pick<Control, "enter">,
  bearer: string | undefined,
  address: string,
  encrypted: boolean,
): Principal {
  try {
    return control.enter({ bearer, address, encrypted });
  } catch (thrown) {
    if (!(thrown instanceof CibError)) throw thrown;
    throw new ConnectRefused(codeOf(thrown), thrown.code);
  }
}

function codeOf({ code }: CibError): number {
  if (code === "unauthorized") return CONNACK.credentials;
  return code === "plain_refused" ? CONNACK.unauthorized : CONNACK.unavailable;
}
