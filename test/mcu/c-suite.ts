/** The suite of every way in, for the C client: or one line that says why not. */
import { test } from "node:test";
import { conformance } from "../conformance/suite.ts";
import type { Name } from "./built.ts";
import { type Carrier, cClient } from "./c-way.ts";

export function cConformance(carrier: Carrier, program: Name, ...wants: readonly { skip: string | false }[]): void {
  const missing = wants.map(({ skip }) => skip).filter((line) => line !== false);
  if (missing.length === 0) conformance(cClient(carrier, program));
  else test(`the C client over ${carrier}`, { skip: missing.join("; ") }, () => undefined);
}
