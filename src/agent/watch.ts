/** Watch: calls back when a folder changes; where the file system gives no events, the owner's other signs must do. */
import { type FSWatcher, watch } from "node:fs";

/** Watches one folder, which may not exist yet: `retry` tries again, and is cheap to call often. */
export class FolderWatch implements Disposable {
  readonly #folder: string;
  readonly #changed: (name: string | null) => void;
  #watcher: FSWatcher | undefined;
  #closed = false;

  /** `changed` gets the name of the file inside the folder. */
  constructor(folder: string, changed: (name: string | null) => void) {
    this.#folder = folder;
    this.#changed = changed;
    this.retry();
  }

  retry(): void {
    if (this.#watcher !== undefined || this.#closed) return;
    try {
      const watcher = watch(this.#folder, { persistent: false }, (_, name) => this.#changed(name));
      watcher.on("error", () => this.#drop());
      this.#watcher = watcher;
    } catch {
      // Not there yet, or no inotify watches left: the owner polls while the session works.
    }
  }

  #drop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#drop();
  }
}
