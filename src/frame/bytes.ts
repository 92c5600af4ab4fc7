/** Bytes: hex, base64 and session ids, wherever there is JavaScript: a page has no Buffer. */
import type { SessionId } from "./frame.ts";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
/** Of a UUID's text without its dashes. */
const SESSION_BYTES = 16;

/** Lower-case digits. */
export function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte] as string;
  return text;
}

/** The bytes of hex digits, upper or lower case. Throws TypeError on anything else. */
export function hexBytes(text: string): Uint8Array {
  if (text.length % 2 === 1 || !/^[0-9a-f]*$/i.test(text))
    throw new TypeError(`hex: expected pairs of hex digits, got ${text.length} characters`);
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

/** Standard base64 with its padding. Throws DOMException, as `atob` does, on anything else. */
export function base64Bytes(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** 16 bytes of a session id. */
export function sessionBytes(id: SessionId): Uint8Array {
  const bytes = new Uint8Array(SESSION_BYTES);
  let at = 0;
  for (let i = 0; i < id.length; i += 2) {
    // Each dash stands where a pair of digits would begin: 8, 4, 4, 4 and 12 of them are even.
    if (id.charCodeAt(i) === DASH) i++;
    bytes[at++] = (digit(id.charCodeAt(i)) << 4) | digit(id.charCodeAt(i + 1));
  }
  return bytes;
}

const DASH = 0x2d;

/** Of a lower-case hex digit: 0x30 to 0x39 and 0x61 to 0x66. */
function digit(code: number): number {
  return code > 0x60 ? code - 0x57 : code - 0x30;
}

/** The UUID text of 16 bytes. */
export function sessionText(bytes: Uint8Array): SessionId {
  const hex = hexOf(bytes);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return parts.join("-") as SessionId;
}
