/** Hello and reply: the two messages of a CIB1 handshake, as bytes. Nothing here is secret, nothing here is trusted. */
import { KEY_BYTES } from "./aead.ts";
import { LinkError } from "./fault.ts";
import { KEY_ID_BYTES, MAC_BYTES, RANDOM_BYTES } from "./schedule.ts";

/** "CIB1" */
const MAGIC = Uint8Array.of(0x43, 0x49, 0x42, 0x31);
/** AES-256-GCM and SHA-256. */
export const SUITE = 1;
export const FLAG_X25519 = 1;
/** Carried in MQTT messages: bound into the keys, so that a handshake cannot be moved from one carrier to another. */
export const FLAG_MQTT = 2;

/** The smallest `accepts`: the smallest max_bytes that an attach may ask for (FRAMES). */
export const MIN_ACCEPTS = 128;

/** magic 4, flags 1, suite 1, accepts 2, key id 8, Rc 16, mac1 16. */
export const HELLO_BYTES = 8 + KEY_ID_BYTES + RANDOM_BYTES + MAC_BYTES;
/** The same without a key id. */
export const REPLY_BYTES = 8 + RANDOM_BYTES + MAC_BYTES;
/** Where the flags stand in both. */
const FLAGS_AT = 4;

export interface Hello {
  readonly flags: number;
  readonly suite: number;
  /** Largest plaintext that the sender accepts, in bytes. */
  readonly accepts: number;
  readonly keyId: Uint8Array;
  readonly random: Uint8Array;
  /** Only with FLAG_X25519. */
  readonly ephemeral: Uint8Array | undefined;
}

export type Reply = Omit<Hello, "keyId">;

/** The message up to its mac, with room for it behind. */
export function helloHead({ keyId, ...rest }: Hello): Uint8Array {
  return build(rest, keyId);
}

export function replyHead(reply: Reply): Uint8Array {
  return build(reply, new Uint8Array(0));
}

/** Head and mac in one. */
export function withMac(head: Uint8Array, mac: Uint8Array): Uint8Array {
  const whole = new Uint8Array(head.length + mac.length);
  whole.set(head);
  whole.set(mac, head.length);
  return whole;
}

/** What the mac covers, and the mac. */
export function apart(message: Uint8Array): { readonly head: Uint8Array; readonly mac: Uint8Array } {
  const at = message.length - MAC_BYTES;
  return { head: message.subarray(0, at), mac: message.subarray(at) };
}

/** Views into the bytes, which must be as long as `sizeOfHello` says. Throws LinkError `magic`, `size`. */
export function readHello(bytes: Uint8Array): Hello {
  if (sizeOf(bytes, HELLO_BYTES) !== bytes.length) throw new LinkError("size");
  return { ...read(bytes, 8 + KEY_ID_BYTES), keyId: bytes.subarray(8, 8 + KEY_ID_BYTES) };
}

/** The same for a reply. */
export function readReply(bytes: Uint8Array): Reply {
  if (sizeOf(bytes, REPLY_BYTES) !== bytes.length) throw new LinkError("size");
  return read(bytes, 8);
}

/** How long the hello is whose first bytes these are; undefined when five are not there yet. Throws LinkError `magic` at the first wrong byte. */
export function sizeOfHello(start: Uint8Array): number | undefined {
  return sizeOf(start, HELLO_BYTES);
}

export function sizeOfReply(start: Uint8Array): number | undefined {
  return sizeOf(start, REPLY_BYTES);
}

/** Whether a message begins as a handshake does: as a record counter these four bytes would be past every limit. */
export function isGreeting(message: Uint8Array): boolean {
  return message.length >= MAGIC.length && MAGIC.every((byte, i) => message[i] === byte);
}

function sizeOf(start: Uint8Array, least: number): number | undefined {
  for (let i = 0; i < MAGIC.length && i < start.length; i++) if (start[i] !== MAGIC[i]) throw new LinkError("magic");
  const flags = start[FLAGS_AT];
  if (flags === undefined) return undefined;
  return (flags & FLAG_X25519) === 0 ? least : least + KEY_BYTES;
}

function build({ flags, suite, accepts, random, ephemeral }: Reply, keyId: Uint8Array): Uint8Array {
  const head = new Uint8Array(8 + keyId.length + RANDOM_BYTES + (ephemeral?.length ?? 0));
  head.set(MAGIC);
  head.set([flags, suite, accepts >>> 8, accepts], FLAGS_AT);
  head.set(keyId, 8);
  head.set(random, 8 + keyId.length);
  if (ephemeral !== undefined) head.set(ephemeral, 8 + keyId.length + RANDOM_BYTES);
  return head;
}

function read(bytes: Uint8Array, randomAt: number): Reply {
  const flags = bytes[FLAGS_AT] as number;
  const behind = randomAt + RANDOM_BYTES;
  return {
    flags,
    suite: bytes[FLAGS_AT + 1] as number,
    accepts: ((bytes[FLAGS_AT + 2] as number) << 8) | (bytes[FLAGS_AT + 3] as number),
    random: bytes.subarray(randomAt, behind),
    ephemeral: (flags & FLAG_X25519) === 0 ? undefined : bytes.subarray(behind, behind + KEY_BYTES),
  };
}
