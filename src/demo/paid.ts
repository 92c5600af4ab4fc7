/** Paid: what a call at the scripted model brought to pay with. */
import type { IncomingMessage } from "node:http";

/** How one HTTP call said who pays. */
export interface PaidCall {
  readonly path: string;
  /** Header `x-api-key`. */
  readonly key?: string;
  /** Header `authorization`, behind "Bearer ". */
  readonly bearer?: string;
  /** Claude's own id of the conversation, where it tells. */
  readonly conversation?: string;
}

export function paidCall({ url, headers }: IncomingMessage): PaidCall {
  const key = headers["x-api-key"];
  const bearer = /^Bearer (.*)$/.exec(headers.authorization ?? "")?.[1];
  const conversation = headers["x-claude-code-session-id"];
  return {
    path: (url ?? "/").split("?")[0] ?? "/",
    ...(typeof key === "string" && { key }),
    ...(bearer !== undefined && { bearer }),
    ...(typeof conversation === "string" && { conversation }),
  };
}
