/** Grid: what stands on the terminal, cell by cell; kept only while an answer must be read from the screen. */

/** A terminal knows many more sequences: those that Claude Code draws with, measured on three versions. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are driven by them
const SEQUENCE = /^\x1b(?:\[([0-9;?<>=]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[^[\]()])/;
/** A sequence that is longer than this is none: it is dropped. */
const MAX_SEQUENCE = 4096;
/** Two columns: East Asian text and pictures. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u;
/** None: they change the sign before them. */
const JOINED = /[\p{M}\u200d]/u;

export class Grid {
  readonly #cols: number;
  readonly #rows: number;
  #cells: string[][];
  #x = 0;
  #y = 0;
  #saved = { x: 0, y: 0 };
  #last = " ";
  #held = "";
  readonly #utf8 = new TextDecoder("utf-8");

  constructor(cols: number, rows: number) {
    this.#cols = cols;
    this.#rows = rows;
    this.#cells = Array.from({ length: rows }, () => this.#blank());
  }

  /** Terminal bytes, wherever they were cut. */
  push(bytes: Uint8Array): void {
    let text = this.#held + this.#utf8.decode(bytes, { stream: true });
    this.#held = "";
    while (text !== "") {
      const at = text.indexOf("\x1b");
      for (const sign of at < 0 ? text : text.slice(0, at)) this.#put(sign);
      if (at < 0) return;
      text = text.slice(at);
      const found = SEQUENCE.exec(text);
      if (found === null) {
        if (text.length < MAX_SEQUENCE) this.#held = text;
        return;
      }
      if (found[2] !== undefined) this.#obey(found[2], found[1] ?? "");
      else if (found[0] === "\x1b7") this.#saved = { x: this.#x, y: this.#y };
      else if (found[0] === "\x1b8") this.#go(this.#saved.x, this.#saved.y);
      text = text.slice(found[0].length);
    }
  }

  /** The rows from the top, without the blanks at their ends. */
  lines(): string[] {
    return this.#cells.map((row) => row.join("").trimEnd());
  }

  #put(sign: string): void {
    if (sign === "\r") this.#x = 0;
    else if (sign === "\n") this.#down();
    else if (sign === "\b") this.#x = Math.max(0, this.#x - 1);
    else if (sign === "\t") this.#x = Math.min(this.#cols - 1, (Math.floor(this.#x / 8) + 1) * 8);
    else if (sign >= " " && sign !== "\x7f") this.#write(sign);
  }

  #write(sign: string): void {
    if (JOINED.test(sign)) return;
    const width = WIDE.test(sign) ? 2 : 1;
    if (this.#x + width > this.#cols) {
      this.#x = 0;
      this.#down();
    }
    const row = this.#cells[this.#y];
    if (row === undefined) return;
    row[this.#x] = sign;
    if (width === 2) row[this.#x + 1] = "";
    this.#x += width;
    this.#last = sign;
  }

  #down(): void {
    if (this.#y < this.#rows - 1) this.#y++;
    else this.#scroll();
  }

  #obey(command: string, args: string): void {
    const numbers = args.split(";").map((n) => Number.parseInt(n, 10));
    const n = numbers[0] || 1;
    const col = Math.min(this.#x, this.#cols - 1);
    if (command === "A") this.#go(col, this.#y - n);
    else if (command === "B") this.#go(col, this.#y + n);
    else if (command === "C") this.#go(col + n, this.#y);
    else if (command === "D") this.#go(col - n, this.#y);
    else if (command === "E") this.#go(0, this.#y + n);
    else if (command === "F") this.#go(0, this.#y - n);
    else if (command === "G") this.#go(n - 1, this.#y);
    else if (command === "d") this.#go(col, n - 1);
    else if (command === "H" || command === "f") this.#go((numbers[1] || 1) - 1, n - 1);
    else if (command === "b") for (let i = Math.min(n, this.#cols); i > 0; i--) this.#write(this.#last);
    else if (command === "J") this.#eraseBelow(numbers[0] || 0);
    else if (command === "K") this.#erase(this.#y, numbers[0] || 0);
    else if (command === "X") this.#cells[this.#y]?.fill(" ", col, Math.min(this.#cols, col + n));
    else if (command === "S") for (let i = Math.min(n, this.#rows); i > 0; i--) this.#scroll();
    else if (command === "s") this.#saved = { x: col, y: this.#y };
    else if (command === "u" && args === "") this.#go(this.#saved.x, this.#saved.y);
  }

  #go(x: number, y: number): void {
    this.#x = Math.min(this.#cols - 1, Math.max(0, x));
    this.#y = Math.min(this.#rows - 1, Math.max(0, y));
  }

  #scroll(): void {
    this.#cells.shift();
    this.#cells.push(this.#blank());
  }

  /** ED: 0 to the end, 1 to here, 2 and 3 everything. */
  #eraseBelow(what: number): void {
    for (let y = 0; y < this.#rows; y++) {
      if (what >= 2 || (what === 0 ? y > this.#y : y < this.#y)) this.#cells[y] = this.#blank();
    }
    if (what < 2) this.#erase(this.#y, what);
  }

  /** EL: 0 to the end of the row, 1 to here, 2 all of it. */
  #erase(y: number, what: number): void {
    const from = what === 0 ? this.#x : 0;
    const to = what === 1 ? this.#x + 1 : this.#cols;
    this.#cells[y]?.fill(" ", Math.min(from, this.#cols), Math.min(to, this.#cols));
  }

  #blank(): string[] {
    return new Array<string>(this.#cols).fill(" ");
  }
}
