/** The link of `cib attach`: the reference client, as far as a terminal needs it. */
import type { Frame, FrameTypeName, PtyFrame } from "../frame/frame.ts";
import type { Box } from "./box.ts";
import { Failure } from "./io.ts";

/** What to follow; the names are those of the `attach` command. */
export interface Want {
  readonly from?: number;
  readonly types?: readonly FrameTypeName[];
  readonly pty?: boolean;
  readonly pty_from?: number;
}

export interface Link {
  run(command: object): Promise<unknown>;
  /** Ends when the box ends the attachment or the connection is gone. Rejects with CibError when refused. */
  attach(session: string, want: Want): AsyncIterable<Frame | PtyFrame>;
  close(): void;
}

export async function openLink(box: Box): Promise<Link> {
  throw new Failure(`no client for ${box.url} in this build`);
}
