/** View: the size of a terminal, as a person wants it and as reading from it needs it. */
import { type Pty, side } from "./pty.ts";
import type { Screen } from "./screen.ts";

/** Claude shows its mode, a whole command and a dialog from this size on; on 60×8 it left out some of them. */
const READABLE = { cols: 100, rows: 30 };

/** What stands on the screen, from the moment it was asked for. */
export interface Look extends Disposable {
  lines(): readonly string[];
}

export class View {
  readonly #pty: Pty;
  readonly #screen: Screen;
  #cols: number;
  #rows: number;
  #looks = 0;

  constructor(pty: Pty, screen: Screen) {
    this.#pty = pty;
    this.#screen = screen;
    this.#cols = pty.cols;
    this.#rows = pty.rows;
  }

  /** The size that is wanted: at once, or when nobody reads from a larger one any more. */
  resize(cols: number, rows: number): void {
    this.#cols = side(cols);
    this.#rows = side(rows);
    this.#fit();
  }

  /** What is drawn from now on; a terminal that is too small is larger for so long. */
  look(): Look {
    this.#looks++;
    this.#fit();
    const seen = this.#screen.look(this.#pty.cols, this.#pty.rows);
    return {
      lines: () => seen.lines(),
      [Symbol.dispose]: () => {
        seen[Symbol.dispose]();
        this.#looks--;
        this.#fit();
      },
    };
  }

  #fit(): void {
    const least = this.#looks > 0 ? READABLE : { cols: 0, rows: 0 };
    const [cols, rows] = [Math.max(this.#cols, least.cols), Math.max(this.#rows, least.rows)];
    if (cols !== this.#pty.cols || rows !== this.#pty.rows) this.#pty.resize(cols, rows);
  }
}
