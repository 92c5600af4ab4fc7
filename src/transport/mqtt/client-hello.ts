/** Client hello: whether a TLS client asks to be known by a pre-shared key, before TLS itself has looked at it. */

/** Record header 5, handshake header 4, version 2, random 32, session id 1 + 32, length of the list 2; then two bytes a suite. */
export const MAX_HELLO_BYTES = 2048;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
/** Where the session id's length stands: 5 + 4 + 2 + 32. */
const SESSION_ID_AT = 43;

/** ECDHE_PSK suites of TLS 1.2: RFC 5489 (0xC033 to 0xC03B), RFC 7905 (0xCCAC), RFC 8442 (0xD001 to 0xD005). */
function isPsk(suite: number): boolean {
  return (suite >= 0xc033 && suite <= 0xc03b) || suite === 0xccac || (suite >= 0xd001 && suite <= 0xd005);
}

/**
 * `psk`: it offers a suite that needs a key; clients do so only where they have one. `certificate`: any other beginning, also
 * one that is no TLS: the library refuses it. Undefined while the bytes do not tell, which they do within MAX_HELLO_BYTES.
 * RFC 5246 §7.4.1.2.
 */
export function wishOf(start: Uint8Array): "psk" | "certificate" | undefined {
  const at = (i: number) => start[i] ?? 0;
  if (start.length > 0 && at(0) !== HANDSHAKE) return "certificate";
  if (start.length > 5 && at(5) !== CLIENT_HELLO) return "certificate";
  if (start.length <= SESSION_ID_AT) return undefined;
  const list = SESSION_ID_AT + 1 + at(SESSION_ID_AT);
  if (start.length < list + 2) return undefined;
  const end = Math.min(list + 2 + ((at(list) << 8) | at(list + 1)), MAX_HELLO_BYTES);
  for (let i = list + 2; i + 1 < Math.min(end, start.length); i += 2) if (isPsk((at(i) << 8) | at(i + 1))) return "psk";
  return start.length >= end ? "certificate" : undefined;
}
