/** WS link: sealed links as messages of a WebSocket, for browsers and scripts on a LAN without TLS. */
import { CibError } from "../../errors.ts";
import type { Callers } from "../callers.ts";
import { ACCEPTS_BYTES } from "../link-caller.ts";
import type { RawSocket, Request, Upgrade } from "./peer.ts";

export const LINK_PROTOCOL = "cib.v1.link";
/** Longest message that is read at all, for nobody has proved anything yet: a record of 16 KiB, and as much again so that one too long is refused by name. 256 half-open ones hold 8 MiB. */
export const MAX_LINK_MESSAGE_BYTES = 2 * ACCEPTS_BYTES;

/** Whether these offered subprotocols ask for a link; then nothing else is considered. */
export function wantsLink(offered: readonly string[]): boolean {
  return offered.includes(LINK_PROTOCOL);
}

/** Admits a link: its key is the proof, so whatever else a request carries is a mistake and would travel in the clear. Throws `bad_request`. */
export function linkUpgrade(request: Request, shows: boolean, callers: Callers): Upgrade {
  if (shows)
    throw new CibError("bad_request", `authorization: ${LINK_PROTOCOL} takes no token, the device key is the proof`);
  if (request.query !== "")
    throw new CibError("bad_request", `query: ${LINK_PROTOCOL} takes none; send attach as a command`);
  return {
    protocol: LINK_PROTOCOL,
    open: (socket) => answer(socket, request.address, callers),
  };
}

function answer(socket: RawSocket, address: string, callers: Callers): ReturnType<Upgrade["open"]> {
  const caller = callers.add({
    carrier: "socket",
    address,
    write: (records) => {
      // A record that is not sent is a hole in the count: the link could not go on.
      if (!socket.send(records.map(asBuffer), true)) socket.cut();
    },
    waiting: () => socket.buffered(),
    // The reason was said in the last record, sealed; in the close frame it would be in the clear.
    end: () => socket.end(1000, ""),
    cut: () => socket.cut(),
  });
  return {
    message: (bytes, binary) => (binary ? caller.take(bytes) : caller.strange()),
    drained: () => caller.drained(),
    closed: () => caller.closed(),
  };
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
