/** Refused: what the operator's log says of each reason for which somebody is turned away. */
import { ENVELOPE_FAULTS } from "./auth/envelopes.ts";
import { LINK_FAULTS } from "./crypto/fault.ts";
import { DROPPED } from "./transport/mqtt/bridge-commands.ts";

/** By reason, or by "<carrier> <reason>" where it means something else there. */
export const REFUSED: Readonly<Record<string, string>> = {
  ...LINK_FAULTS,
  deadline: "no proof of a key within 5 s",
  ...ENVELOPE_FAULTS,
  // A link with the wrong key fails before its first record; an envelope has nothing before that.
  "aes tag": "altered on the way, or sealed with the wrong key",
  evicted: "it made room for a newer one that had proved as little",
  ...DROPPED,
};
