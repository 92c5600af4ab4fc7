/** The link of the command line: the reference client over this machine's sockets, as far as a terminal needs it. */
import { type Client, ConnectionLost, connect } from "../client/client.ts";
import type { Command, Message } from "../client/connection.ts";
import type { FeedOptions, Item } from "../client/feed.ts";
import { NodeSocket } from "../client/node-socket.ts";
import { NodeTcp } from "../client/node-tcp.ts";
import { nodeProvider } from "../crypto/aead-node.ts";
import { CibError } from "../errors.ts";
import type { Box, KeyedBox } from "./box.ts";
import { Failure } from "./io.ts";

/** Bytes of one `input`: a link takes 16 KiB a record, and a command's other fields are some 80 bytes. */
const PIECE_BYTES = 15 * 1024;

export interface Link extends Pick<Client, "run" | "post" | "close"> {
  /** Every frame once, over as many connections as it takes. Ends with `close`; rejects with CibError when refused for good. */
  attach(session: string, options: FeedOptions): AsyncIterable<Item>;
}

export function openLink(box: Box | KeyedBox, onState: (state: "open" | "lost", why?: string) => void): Link {
  return connect({ ...box, format: "cbor", WebSocket: NodeSocket, Tcp: NodeTcp, provider: nodeProvider, onState });
}

/** Keys as commands that every link takes, in order. */
export function* inputs(session: string, keys: Uint8Array): Generator<Command> {
  for (let at = 0; at < keys.length; at += PIECE_BYTES)
    yield { cmd: "input", session, data: keys.subarray(at, at + PIECE_BYTES) };
}

/** One command over a link of its own; the reply's fields. Throws Failure in words for a person. */
export async function ask(box: KeyedBox, command: Command): Promise<Message> {
  const away = new AbortController();
  const link = openLink(box, (_state, why) => {
    if (why) away.abort(noBox(box, why));
  });
  try {
    return await link.run(command, away.signal);
  } catch (thrown) {
    throw told(thrown);
  } finally {
    link.close();
  }
}

/** No connection came about. A box that closes without a word is not away: the client finds out whether the key is wrong. */
export function noBox({ url }: { readonly url: string }, why: string): Failure {
  const away = /^[A-Z][A-Z0-9_]+$/.test(why);
  return new Failure(
    away ? `no box answers at ${url} (${why}); is it running? cib doctor tells more` : `${url}: ${why}`,
  );
}

/** What the box or the way to it says, for a person; faults of ours as they are. */
export function told(thrown: unknown): unknown {
  if (thrown instanceof CibError) return new Failure(`${thrown.code}: ${thrown.message}`);
  return thrown instanceof ConnectionLost ? new Failure(thrown.message) : thrown;
}
