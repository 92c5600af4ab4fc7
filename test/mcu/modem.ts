/** Modem: an ESP module with ESP-AT in front of a bridge: commands first, and after AT+CIPSEND a transparent line. */
import type { Bridge, Passage } from "./bridge.ts";

/** What it was told, with what it answers; everything else is an ERROR. */
const ANSWERS: readonly (readonly [RegExp, string])[] = [
  [/^AT$/, "\r\nOK\r\n"],
  [/^ATE0$/, "\r\nOK\r\n"],
  [/^AT\+SYSSTORE=0$/, "\r\nOK\r\n"],
  [/^AT\+CWMODE=1$/, "\r\nOK\r\n"],
  [/^AT\+CWJAP=".*",".*"$/, "WIFI CONNECTED\r\nWIFI GOT IP\r\n\r\nOK\r\n"],
  [/^AT\+CIPMUX=0$/, "\r\nOK\r\n"],
  [/^AT\+CIPMODE=1$/, "\r\nOK\r\n"],
  [/^AT\+CIPSTART="TCP",".*",\d+$/, "CONNECT\r\n\r\nOK\r\n"],
  [/^AT\+CIPSEND$/, "\r\nOK\r\n\r\n>"],
];

/** Stands in front of `inner`, which has the line once it is transparent. `commands` is filled with what was said. */
export function modem(bridge: Bridge, inner: Passage, commands: string[]): Passage {
  let transparent = false;
  let text = "";
  return {
    opened: () => inner.opened?.(),
    down: (bytes) => {
      if (inner.down === undefined) bridge.give(bytes);
      else inner.down(bytes);
    },
    up: (bytes) => {
      if (bytes.toString("latin1") === "+++") {
        transparent = false;
        return Buffer.alloc(0);
      }
      if (transparent) return inner.up === undefined ? bytes : inner.up(bytes);
      text += bytes.toString("latin1");
      const lines = text.split("\r\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        commands.push(line);
        bridge.give(Buffer.from(ANSWERS.find(([known]) => known.test(line))?.[1] ?? "\r\nERROR\r\n"));
        transparent = line === "AT+CIPSEND";
      }
      return Buffer.alloc(0);
    },
  };
}
