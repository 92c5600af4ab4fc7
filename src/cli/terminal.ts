/** The terminal of the person who attaches: raw while a session has it, and given back as it was on every way out. */

export interface Terminal {
  readonly isTTY: boolean;
  readonly cols: number;
  readonly rows: number;
  /** Keys come one by one from now on, and each goes to `keys` as the bytes the terminal sent. */
  take(keys: (bytes: Uint8Array) => void, resized: () => void): void;
  write(bytes: Uint8Array): void;
  /** Whatever the session did to the terminal is undone. Safe to call twice. */
  giveBack(): void;
}

/** xterm's own (ctlseqs): the modes that a full-screen program sets and that would outlive it. */
const UNDO = [
  "\x1b[?1049l", // main screen
  "\x1b[?2004l", // bracketed paste
  "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l", // mouse
  "\x1b[?1004l", // focus reports
  "\x1b[?2026l", // held-back drawing
  "\x1b[<u\x1b[>4m", // keyboard protocols: kitty's, then modifyOtherKeys
  "\x1b[r\x1b[0m\x1b[?25h", // scroll region, colours, cursor
].join("");

/** The session draws on the second screen: after leaving it the shell finds its own as it was. */
const BEGIN = "\x1b[?1049h\x1b[H\x1b[2J";

const DEFAULT_COLS = 80;
const DEFAULT_ROWS = 24;

/** The terminal this process was started in. */
export function ownTerminal(): Terminal {
  const { stdin, stdout } = process;
  let undo: (() => void) | undefined;
  return {
    isTTY: stdin.isTTY === true && stdout.isTTY === true,
    get cols() {
      return stdout.columns || DEFAULT_COLS;
    },
    get rows() {
      return stdout.rows || DEFAULT_ROWS;
    },
    take(keys, resized) {
      const giveBack = () => this.giveBack();
      undo = () => {
        process.off("exit", giveBack);
        stdin.off("data", keys);
        stdout.off("resize", resized);
        stdin.setRawMode(false);
        stdin.pause();
        stdout.write(UNDO);
      };
      // Also when something of ours throws: a shell in raw mode is worse than a lost session.
      process.once("exit", giveBack);
      stdout.write(BEGIN);
      stdin.setRawMode(true);
      stdin.on("data", keys);
      stdout.on("resize", resized);
      stdin.resume();
    },
    write: (bytes) => void stdout.write(bytes),
    giveBack() {
      undo?.();
      undo = undefined;
    },
  };
}
