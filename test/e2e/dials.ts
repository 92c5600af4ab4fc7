/** Dials: how a client of each transport follows a session, by docs/PROTOCOL.md and with other decoders than the box's. */
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { decode, decodeFirst, encode } from "cborg";
import WebSocket from "ws";
import { nobleProvider } from "../../src/crypto/aead-noble.ts";
import { ClientLink } from "../../src/crypto/link-client.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { LinkStream } from "../../src/crypto/stream.ts";
import type { DeviceKey } from "../conformance/link-client.ts";
import { MASTER } from "./box.ts";

/** Where a client wants to go on. */
export interface Want {
  readonly session: string;
  readonly from: number;
  readonly epoch: number | undefined;
}

export interface Told {
  /** The verdict, a frame, a bye: what came, decoded. */
  message(value: unknown): void;
  closed(): void;
}

/** Connects and attaches; returns what cuts the connection. `closed` is called once, whoever ends it. */
export type Dial = (want: Want, told: Told) => () => void;

export const fieldsOf = ({ session, from, epoch }: Want) => ({ session, from, ...(epoch !== undefined && { epoch }) });
const cbor = (bytes: Uint8Array) => decode(bytes, { useMaps: true }) as unknown;

export function webSocket(port: number, format: "json" | "cbor"): Dial {
  return ({ session, from, epoch }, told) => {
    const query = `session=${session}&from=${from}${epoch === undefined ? "" : `&epoch=${epoch}`}`;
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws?${query}`, [`cib.v1.${format}`, `bearer.${MASTER}`]);
    socket.on("message", (data, binary) => {
      if (binary !== (format === "cbor")) told.message("a message of the other kind");
      else told.message(binary ? cbor(data as Buffer) : JSON.parse(String(data)));
    });
    // What follows is "close".
    socket.on("error", () => undefined);
    socket.on("close", () => told.closed());
    return () => socket.terminate();
  };
}

export function events(port: number): Dial {
  return ({ session, from, epoch }, told) => {
    const query = `from=${from}${epoch === undefined ? "" : `&epoch=${epoch}`}`;
    const sent = request({
      port,
      host: "127.0.0.1",
      path: `/api/sessions/${session}/events?${query}`,
      headers: { authorization: `Bearer ${MASTER}` },
      agent: false,
    });
    sent.on("response", (response) => {
      let rest = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        const blocks = (rest + text).split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) {
          const data = /^data: (.*)$/m.exec(block)?.[1];
          if (data !== undefined) told.message(JSON.parse(data));
        }
      });
      response.on("error", () => undefined);
    });
    sent.on("error", () => undefined);
    sent.on("close", () => told.closed());
    sent.end();
    return () => sent.destroy();
  };
}

/** A sealed link over TCP: the noble side of the crypto, the records' items decoded one by one. */
export class SealedTcp {
  readonly socket: Socket;
  readonly #link: ClientLink;
  static #connections = 0;

  constructor(port: number, key: DeviceKey, on: { open(): void; item(value: unknown): void; closed(): void }) {
    this.#link = new ClientLink({
      provider: nobleProvider,
      carrier: "stream",
      accepts: 65_535,
      key: new LinkKey(nobleProvider, Buffer.from(key.secret, "hex")),
      keyId: Buffer.from(key.id, "hex"),
      fresh: { boot: 1, counter: SealedTcp.#connections++, random: randomBytes(16) },
      random: (size) => randomBytes(size),
      x25519: "offer",
    });
    const stream = new LinkStream(this.#link);
    this.socket = connect(port, "127.0.0.1", () => this.socket.write(this.#link.hello)).setNoDelay(true);
    this.socket.on("data", (chunk) => {
      for (const taken of stream.take(chunk)) {
        if (taken.kind === "greeted") on.open();
        if (taken.kind === "record") for (const value of sequenceOf(taken.plaintext)) on.item(value);
      }
    });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => on.closed());
  }

  send(message: object): void {
    if (!this.socket.destroyed) this.socket.write(this.#link.seal(encode(message)));
  }
}

export function rawTcp(port: number, key: DeviceKey): Dial {
  return (want, told) => {
    const sealed = new SealedTcp(port, key, {
      open: () => sealed.send({ cmd: "attach", id: "a", ...fieldsOf(want) }),
      item: (value) => told.message(value),
      closed: () => told.closed(),
    });
    return () => sealed.socket.destroy();
  };
}

export function* sequenceOf(bytes: Uint8Array): Generator<unknown> {
  for (let rest = bytes; rest.length > 0; ) {
    const [value, left] = decodeFirst(rest, { useMaps: true }) as [unknown, Uint8Array];
    yield value;
    rest = left;
  }
}
