/** The link of `cib attach`: the reference client over this machine's sockets, as far as a terminal needs it. */
import { type Client, connect } from "../client/client.ts";
import type { FeedOptions, Item } from "../client/feed.ts";
import { NodeSocket } from "../client/node-socket.ts";
import type { Box } from "./box.ts";

export interface Link extends Pick<Client, "post" | "close"> {
  /** Every frame once, over as many connections as it takes. Ends with `close`; rejects with CibError when refused for good. */
  attach(session: string, options: FeedOptions): AsyncIterable<Item>;
}

export function openLink(box: Box, onState: (state: "open" | "lost") => void): Link {
  return connect({ ...box, format: "cbor", WebSocket: NodeSocket, onState });
}
