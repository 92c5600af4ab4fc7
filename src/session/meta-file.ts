/** Meta file: keeps meta.json up with a session, beside the running loop: one write at a time, the latest state last. */
import { nodeDisk } from "./disk.ts";
import { type Meta, metaText } from "./meta.ts";

export class MetaFile {
  readonly #path: string;
  readonly #failed: (failure: unknown) => void;
  #value: Meta;
  #writing: Promise<void> | undefined;
  #changed = false;

  /** `failed` is told of each write that failed. */
  constructor(path: string, value: Meta, failed: (failure: unknown) => void) {
    this.#path = path;
    this.#value = value;
    this.#failed = failed;
  }

  get value(): Meta {
    return this.#value;
  }

  /** Changes and writes; nothing is written where nothing changed. */
  change(part: Partial<Meta>): void {
    const next = { ...this.#value, ...part };
    if (JSON.stringify(next) === JSON.stringify(this.#value)) return;
    this.#value = next;
    this.save();
  }

  /** Changes; written with the next change. */
  note(part: Partial<Meta>): void {
    this.#value = { ...this.#value, ...part };
  }

  save(): void {
    this.#changed = true;
    this.#writing ??= this.#write();
  }

  /** Resolves when nothing waits to be written. */
  async saved(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #write(): Promise<void> {
    while (this.#changed) {
      this.#changed = false;
      try {
        await nodeDisk.replace(this.#path, Buffer.from(metaText(this.#value)));
      } catch (failure) {
        this.#failed(failure);
      }
    }
    this.#writing = undefined;
  }
}
