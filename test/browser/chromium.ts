/** Chromium, driven by its DevTools protocol over two pipes: one scratch profile, gone with it, and pages that tell what went wrong in them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** A loaded machine starts it in some seconds; past this it will not come. */
const START_DEADLINE_MS = 120_000;
/** From asking it to end to ending it. */
const CLOSE_GRACE_MS = 5_000;
/** One command to it: whatever a page is asked to wait for must come within this. */
const COMMAND_DEADLINE_MS = 60_000;
/** Of what it prints, for the error message of one that does not start. */
const MAX_COMPLAINT_CHARS = 4_000;

const FLAGS = [
  "--headless=new",
  "--remote-debugging-pipe",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-extensions",
  "--disable-gpu",
  "--disable-sync",
  "--mute-audio",
  // In a container /dev/shm is small.
  "--disable-dev-shm-usage",
  // A page in the background has its timers slowed down.
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
  // Nothing leaves the machine, whatever a page or the browser itself would like: names end here, but for loopback.
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE *.localhost , EXCLUDE 127.0.0.1",
];

type Params = Readonly<Record<string, unknown>>;
type Fields = Record<string, unknown>;

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Fields;
  readonly sessionId?: string;
  readonly result?: Fields;
  readonly error?: { readonly message: string };
}

/** One browser. Dispose of it, whatever happened: it ends with all its processes, and its profile goes. */
export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #out: Writable;
  readonly #owed = new Map<number, { resolve(result: Fields): void; reject(why: Error): void }>();
  readonly #pages = new Map<string, Page>();
  #ids = 0;
  #complaint = "";
  #over: Error | undefined;

  private constructor() {
    this.#profile = mkdtempSync(join(tmpdir(), "cib-chromium-"));
    const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    this.#child = spawn("chromium", [...FLAGS, ...sandbox, `--user-data-dir=${this.#profile}`, "about:blank"], {
      // A group of its own: renderers that outlive their browser are found by it.
      detached: true,
      env: { PATH: process.env["PATH"], HOME: this.#profile, LANG: "C.UTF-8" },
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
    });
    this.#out = this.#child.stdio[3] as Writable;
    this.#out.on("error", () => {});
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-MAX_COMPLAINT_CHARS);
    });
    this.#child.on("error", (why) => this.#end(why));
    this.#child.on("exit", (code, signal) =>
      this.#end(new Error(`chromium has ended (${code ?? signal}): ${this.#complaint}`)),
    );
    this.#read(this.#child.stdio[4] as Readable);
  }

  static async start(): Promise<Chromium> {
    const chromium = new Chromium();
    try {
      await chromium.send("Browser.getVersion", {}, undefined, START_DEADLINE_MS);
    } catch (thrown) {
      await chromium[Symbol.asyncDispose]();
      throw thrown;
    }
    return chromium;
  }

  /** A new page, loaded. Rejects where the address cannot be reached. `answer`: what the page's prompt() and confirm() get; left out, they are dismissed. */
  async open(url: string, answer?: string): Promise<Page> {
    // One context a page: no cookies, no storage of another.
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(
      (method, params) => this.send(method, params, String(sessionId)),
      answer,
      async () => {
        await this.send("Target.disposeBrowserContext", { browserContextId });
        this.#pages.delete(String(sessionId));
      },
    );
    this.#pages.set(String(sessionId), page);
    for (const domain of ["Page", "Runtime", "Log"]) await page.send(`${domain}.enable`);
    await page.goto(url);
    return page;
  }

  /** A command of the DevTools protocol, to a page by its session or to the browser; its result. */
  send(method: string, params: Params = {}, sessionId?: string, withinMs = COMMAND_DEADLINE_MS): Promise<Fields> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over);
        return;
      }
      const id = ++this.#ids;
      const late = setTimeout(() => {
        this.#owed.delete(id);
        reject(new Error(`chromium: ${method} took more than ${withinMs / 1000} s`));
      }, withinMs);
      const settle = () => {
        clearTimeout(late);
        this.#owed.delete(id);
      };
      this.#owed.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (why) => {
          settle();
          reject(why);
        },
      });
      this.#out.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined) {
      const ended = this.#child.exitCode === null && this.#child.signalCode === null ? once(this.#child, "exit") : null;
      const kill = () => endGroup(pid);
      const late = setTimeout(kill, CLOSE_GRACE_MS);
      this.send("Browser.close").catch(() => {});
      await ended;
      clearTimeout(late);
      kill();
    }
    // Its children may still be writing as they go.
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #read(pipe: Readable): void {
    let rest = "";
    pipe.setEncoding("utf8").on("data", (text: string) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop() ?? "";
      for (const message of messages) this.#take(JSON.parse(message) as Answer);
    });
  }

  #take({ id, method, params, sessionId, result, error }: Answer): void {
    if (id === undefined) {
      this.#pages.get(sessionId ?? "")?.told(method ?? "", params ?? {});
      return;
    }
    const owed = this.#owed.get(id);
    if (error === undefined) owed?.resolve(result ?? {});
    else owed?.reject(new Error(`chromium: ${error.message}`));
  }

  #end(why: Error): void {
    this.#over ??= why;
    for (const owed of [...this.#owed.values()]) owed.reject(why);
    for (const page of this.#pages.values()) page.told("Inspector.detached", { reason: why.message });
  }
}

/** One page. What it logs, throws and is refused is kept from the first moment on. */
export class Page implements AsyncDisposable {
  /** Arguments of console calls as text, one call a line: "error: what was said". */
  readonly console: string[] = [];
  /** What nobody caught, a refused resource, a violated policy: empty where all is well. */
  readonly errors: string[] = [];
  /** A command of the DevTools protocol to this page. */
  readonly send: (method: string, params?: Params) => Promise<Fields>;
  readonly #answer: string | undefined;
  readonly #close: () => Promise<void>;
  readonly #watchers = new Set<() => void>();
  #loads = 0;
  #gone: Error | undefined;

  constructor(send: Page["send"], answer: string | undefined, close: () => Promise<void>) {
    this.send = send;
    this.#answer = answer;
    this.#close = close;
  }

  /** Closes it, and forgets what it has stored. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** Resolves when the page and what belongs to it is loaded. */
  async goto(url: string): Promise<void> {
    const loads = this.#loads;
    const { errorText } = await this.send("Page.navigate", { url });
    if (typeof errorText === "string") throw new Error(`page: ${url}: ${errorText}`);
    await this.until(() => this.#loads > loads);
  }

  /** An expression in the page; a promise is waited for. Resolves with its value as JSON has it, rejects with what it throws. */
  async evaluate<T = unknown>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
      userGesture: true,
      // The page's own policy counts for what tests do in it.
      allowUnsafeEvalBlockedByCSP: false,
    });
    if (exceptionDetails !== undefined) throw new Error(thrownText(exceptionDetails as Fields));
    return (result as { value?: unknown }).value as T;
  }

  /** A function of the page by its name, with arguments that JSON can carry. */
  call<T = unknown>(name: string, ...args: readonly unknown[]): Promise<T> {
    return this.evaluate<T>(`${name}(${args.map((arg) => JSON.stringify(arg) ?? "undefined").join(", ")})`);
  }

  /** Resolves once it holds; looked at whenever the page logs, throws or loads. Rejects when the page is gone. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#gone !== undefined) throw this.#gone;
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  /** Resolves with the expression's value once it is truthy; looked at anew with every change of the document. */
  async appears<T = unknown>(expression: string): Promise<T> {
    return this.evaluate<T>(`new Promise((resolve, reject) => {
      const watch = new MutationObserver(() => look());
      const look = () => {
        try {
          const value = (${expression});
          if (!value) return;
          watch.disconnect();
          resolve(value instanceof Node ? true : value);
        } catch (thrown) {
          watch.disconnect();
          reject(thrown);
        }
      };
      watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      look();
    })`);
  }

  /** The page as it looks, PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(String(data), "base64");
  }

  /** An event of the DevTools protocol. */
  told(method: string, params: Fields): void {
    if (method === "Page.loadEventFired") this.#loads++;
    if (method === "Page.javascriptDialogOpening") {
      // Until it is closed the page stands still. Where it has gone meanwhile, it is closed too.
      const close = { accept: this.#answer !== undefined, promptText: this.#answer ?? "" };
      this.send("Page.handleJavaScriptDialog", close).catch(() => {});
    }
    if (method === "Runtime.consoleAPICalled") this.console.push(consoleText(params));
    if (method === "Runtime.exceptionThrown") this.errors.push(thrownText(params["exceptionDetails"] as Fields));
    if (method === "Log.entryAdded") {
      const { level, text, url } = params["entry"] as { level: string; text: string; url?: string };
      if (level === "error") this.errors.push(url === undefined || url === "" ? text : `${text} (${url})`);
    }
    if (method === "Inspector.targetCrashed") this.#gone = new Error("page: it has crashed");
    if (method === "Inspector.detached") this.#gone = new Error(`page: ${String(params["reason"])}`);
    for (const watcher of [...this.#watchers]) watcher();
  }
}

function consoleText(params: Fields): string {
  const args = params["args"] as { value?: unknown; description?: string }[];
  const said = args.map(({ value, description }) =>
    value === undefined ? (description ?? "undefined") : String(value),
  );
  return `${String(params["type"])}: ${said.join(" ")}`;
}

function thrownText(details: Fields): string {
  const exception = details["exception"] as { description?: string; value?: unknown } | undefined;
  return exception?.description ?? String(exception?.value ?? details["text"]);
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // All of them have ended.
  }
}
