/** Fault: why a link was refused or ended; told to the operator's log and counted, never to the peer. */

/** Every way in which a peer can fail a link, with what the log says of it. */
export const LINK_FAULTS = {
  magic: "not a CIB1 link",
  size: "a message of a size that the protocol does not have",
  mac: "unknown key id, or the wrong key",
  suite: "a cipher suite that this side does not know",
  flags: "flags that this side does not know or did not offer",
  carrier: "a handshake made for another carrier",
  x25519: "this key requires X25519, or the public key is of small order",
  accepts: "the peer accepts fewer bytes than the smallest frame takes",
  counter: "a record is missing",
  too_large: "a record is longer than this side accepts",
  tag: "a record was altered, repeated or reordered",
  limit: "the keys of this link are used up; reconnect for new ones",
  order: "a message that does not belong here",
  closed: "the link has ended",
} as const;

export type LinkFault = keyof typeof LINK_FAULTS;

/** The peer's fault, and the end of the link: close without a word. Holds no byte of what arrived. */
export class LinkError extends Error {
  override readonly name = "LinkError";
  readonly fault: LinkFault;

  constructor(fault: LinkFault) {
    super(`link: ${LINK_FAULTS[fault]}`);
    this.fault = fault;
  }
}
