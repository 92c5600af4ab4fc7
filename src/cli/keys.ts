/** Keys: what a person at an attached terminal typed, told apart from what the terminal itself says. */

/** Ctrl-], as telnet has it: plain, and as kitty's and xterm's keyboard protocols spell it. */
const DETACH = ["\x1d", "\x1b[93;5u", "\x1b[27;5;93~"].map((key) => Buffer.from(key));
const ESC = "\x1b";
const BEL = "\x07";
/**
 * What a terminal answers when a program asks what it is, where its cursor is or which colours it has (xterm's ctlseqs).
 * The questions are in the replayed bytes too and long settled: to the session the answers would be typing.
 */
const ANSWERS = new RegExp(
  [
    `${ESC}\\[[?>=][\\d;]*[cu]`, // DA, and kitty's keyboard flags
    `${ESC}\\[\\?[\\d;]*\\$y`, // DECRPM
    `${ESC}\\[(?!1;)\\d+;\\d+R`, // CPR; in row 1 it could be F3 with a modifier, which stays
    `${ESC}P[^${ESC}]*${ESC}\\\\`, // DCS: XTVERSION, DECRQSS
    `${ESC}\\](?:4|1[0-2]);[^${BEL}${ESC}]*(?:${BEL}|${ESC}\\\\)`, // OSC: colours
  ].join("|"),
  "g",
);

/** What the person typed, without the terminal's own answers. */
export function typed(bytes: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(bytes).toString("latin1").replace(ANSWERS, ""), "latin1");
}

/** Where the detach key begins in these bytes. */
export function detachAt(bytes: Uint8Array): number | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = DETACH.map((key) => buffer.indexOf(key)).filter((at) => at >= 0);
  return found.length === 0 ? undefined : Math.min(...found);
}
