/** A client of the AES envelope for tests: the noble side, over fetch, with the pieces that an attacker may want laid open. */
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { ResponseOpener, type SealedRequest, sealRequest } from "../../src/crypto/envelope.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { decodeValue, encodeValue } from "../../src/frame/codec.ts";
import type { Frame } from "../../src/frame/frame.ts";
import { frameOf } from "../../src/frame/item.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import type { Arrived, DeviceKey } from "./link-client.ts";
import { Inbox, Refused, type Verdict } from "./way.ts";

type Fields = Record<string, unknown>;

/** Of this process: what a device keeps in its flash. */
let requests = 0;

/** A response as it was opened: its items in order, and how it ended. */
export interface Opened {
  readonly items: readonly Buffer[];
  readonly records: readonly Uint8Array[];
  readonly end: "clean" | "truncated";
}

export class AesClient {
  readonly url: string;
  readonly key: LinkKey;
  readonly keyId: Uint8Array;
  token: Uint8Array | undefined;

  constructor(url: string, { id, secret }: DeviceKey) {
    this.url = url;
    this.key = new LinkKey(nobleProvider, Uint8Array.from(Buffer.from(secret, "hex")));
    this.keyId = Uint8Array.from(Buffer.from(id, "hex"));
  }

  async freshToken(): Promise<Uint8Array> {
    const response = await fetch(`${this.url}/aes/token`);
    this.token = Uint8Array.from(Buffer.from(((await response.json()) as { token: string }).token, "hex"));
    return this.token;
  }

  /** Commands, each plaintext a record. */
  seal(plaintexts: readonly Uint8Array[], token = this.token ?? new Uint8Array(16)): SealedRequest {
    return sealRequest({
      provider: nobleProvider,
      key: this.key,
      keyId: this.keyId,
      token,
      fresh: { boot: 1, counter: requests++, random: crypto.getRandomValues(new Uint8Array(16)) },
      plaintexts,
      method: "POST",
      target: "/aes",
    });
  }

  post(body: Uint8Array, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.url}/aes`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: Uint8Array.from(body),
      ...(signal && { signal }),
    });
  }

  /** One request and its response. A 401 may be a token of before a restart: it asks once more, with the same ids. */
  async exchange(
    commands: readonly Fields[],
    signal?: AbortSignal,
  ): Promise<{ readonly response: Response; readonly sealed: SealedRequest }> {
    const plaintext = Buffer.concat(commands.map((command) => encodeValue(command)));
    for (let tries = 0; ; tries++) {
      const sealed = this.seal([plaintext], this.token ?? (await this.freshToken()));
      const response = await this.post(sealed.body, signal);
      if (response.status === 200) return { response, sealed };
      await response.body?.cancel();
      if (response.status !== 401) throw new Error(`POST /aes: ${response.status}`);
      this.token = undefined;
      if (tries > 0) throw new Refused({ code: "unauthorized", message: "POST /aes: 401", retryable: false });
    }
  }

  /** Replies in order, refusals among them as they are. */
  async ask(commands: readonly Fields[]): Promise<Fields[]> {
    const { response, sealed } = await this.exchange(commands);
    const { items, end } = open(sealed, new Uint8Array(await response.arrayBuffer()));
    if (end !== "clean") throw new Error("the response was cut");
    const [first, ...replies] = items.map((item) => decodeValue(item) as Fields);
    this.token = Uint8Array.from(first?.["next"] as Uint8Array);
    return replies;
  }

  /** A stream; its frames come as they are read. */
  async follow(attach: Fields): Promise<AesStream> {
    const stopping = new AbortController();
    const { response, sealed } = await this.exchange([{ cmd: "attach", ...attach }], stopping.signal);
    const stream = new AesStream(response, sealed, stopping, (next) => {
      this.token = next;
    });
    await stream.verdict;
    return stream;
  }
}

/** A whole response. */
export function open(sealed: SealedRequest, bytes: Uint8Array): Opened {
  const opener = new ResponseOpener(sealed.keys);
  const records = [...opener.take(bytes)];
  return { items: records.flatMap((record) => [...itemsOf(Buffer.from(record))]), records, end: opener.end() };
}

export class AesStream {
  readonly verdict: Promise<Verdict>;
  readonly frames = new Inbox<Arrived>();
  /** The box's bye, or "cut". */
  readonly ended: Promise<string>;
  /** Plaintext bytes of every record so far. */
  readonly sizes: number[] = [];
  readonly #stopping: AbortController;
  readonly #next: (token: Uint8Array) => void;
  #stalled: Promise<void> | undefined;
  #resume: () => void = () => undefined;
  #bye: string | undefined;
  #tell: (verdict: Verdict) => void = () => undefined;
  #refuse: (why: Error) => void = () => undefined;

  constructor(response: Response, sealed: SealedRequest, stopping: AbortController, next: (token: Uint8Array) => void) {
    this.#stopping = stopping;
    this.#next = next;
    this.verdict = new Promise((resolve, reject) => {
      this.#tell = resolve;
      this.#refuse = reject;
    });
    this.verdict.catch(() => undefined);
    this.ended = this.#read(response, sealed);
  }

  stall(): void {
    this.#stalled = new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  resume(): void {
    this.#stalled = undefined;
    this.#resume();
  }

  cut(): void {
    this.#stopping.abort();
  }

  async #read(response: Response, sealed: SealedRequest): Promise<string> {
    const opener = new ResponseOpener(sealed.keys);
    try {
      for await (const chunk of response.body ?? []) {
        for (const record of opener.take(chunk)) {
          this.sizes.push(record.length);
          for (const item of itemsOf(Buffer.from(record))) this.#item(item);
        }
        await this.#stalled;
      }
    } catch {
      // Cut: what the last record says, or does not, decides.
    }
    const why = opener.end() === "clean" ? (this.#bye ?? "clean") : "cut";
    const over = new Refused({ code: "unauthorized", message: `the stream has ended: ${why}`, retryable: false });
    this.frames.end(over);
    this.#refuse(over);
    return why;
  }

  #item(item: Buffer): void {
    const value = decodeValue(item);
    if (Array.isArray(value)) {
      this.frames.put({ frame: frameOf(value) as Frame, bytes: item.length });
      return;
    }
    const { re: _, ok, error, ...fields } = value as Fields;
    if (fields["next"] instanceof Uint8Array) this.#next(Uint8Array.from(fields["next"]));
    if (typeof fields["bye"] === "string") this.#bye = fields["bye"];
    if (ok === true) this.#tell(fields as unknown as Verdict);
    if (ok === false) this.#refuse(new Refused(error));
  }
}
