/** Parsers: everything that takes bytes from strangers, each with the only way in which it may fail. A pass that throws is a find. */

import { parseAttach, parseCommand } from "../../src/control/commands.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { openRequest } from "../../src/crypto/envelope.ts";
import { LinkError } from "../../src/crypto/fault.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";
import { LinkStream } from "../../src/crypto/stream.ts";
import { CibError } from "../../src/errors.ts";
import { fromCbor } from "../../src/frame/cbor.ts";
import { frameOf } from "../../src/frame/item.ts";
import { itemsOf } from "../../src/frame/sequence.ts";
import { formatTopic, isClientId, isFilter, parseTopic } from "../../src/transport/mqtt/topics.ts";
import { unpack } from "../../src/transport/values.ts";
import { makeServer, SECRET, shaken } from "../crypto/pair.ts";
import { bytes, only, type Parser, SESSION, text } from "./parser.ts";
import { HTTP_PARSERS } from "./parsers-http.ts";
import { MQTT_PARSERS } from "./parsers-mqtt.ts";

const KEY = new LinkKey(nodeProvider, SECRET);
/** A command as a carrier takes it: unpacked, then checked as a command and as an attach. */
function command(input: Uint8Array, format: "cbor" | "json"): void {
  only([CibError], () => {
    const value = unpack(Buffer.from(input), format, "message");
    only([CibError], () => void parseCommand(value));
    parseAttach(value);
  });
}

export const PARSERS: readonly Parser[] = [
  {
    name: "hello",
    seeds: [shaken().client.hello, shaken({ x25519: "offer" }).client.hello],
    run: (input) => only([LinkError], () => void [...new LinkStream(makeServer()).take(input)]),
  },
  {
    name: "record",
    seeds: [shaken().client.seal(bytes("\u{1}")), shaken().client.seal(new Uint8Array())],
    run: (input) => {
      const stream = new LinkStream(shaken().server);
      // Cut in two wherever the first byte says: what a stream brings is the same in any cut.
      const at = (input[0] ?? 0) % (input.length + 1);
      only([LinkError], () => void [...stream.take(input.subarray(0, at)), ...stream.take(input.subarray(at))]);
    },
  },
  {
    name: "envelope",
    seeds: [
      Buffer.concat([
        Buffer.from("4349424800010000", "hex"),
        Buffer.alloc(40),
        Buffer.from("8000", "hex"),
        Buffer.alloc(16),
      ]),
    ],
    run: (input) => only([LinkError], () => void openRequest(KEY, { method: "POST", target: "/aes" }, input)),
  },
  {
    name: "cbor",
    seeds: [
      "a163636d6466686561 6c7468",
      "a263636d64666174746163686773657373696f6e500190f0c27a117c339a551234567890ab",
      "85010c1a000f4240500190f0c27a117c339a551234567890aba1006548656c6c6f",
      // Found in 2026: shared references, each twice the one before, took seconds to follow.
      `a16161${"d81c82".repeat(9)}80${"d81d09d81d08d81d07d81d06d81d05d81d04d81d03d81d02d81d01"}`,
    ].map((each) => Buffer.from(each.replaceAll(" ", ""), "hex")),
    run: (input) => {
      only([SyntaxError], () => void [...itemsOf(Buffer.from(input))]);
      // The same at the client, from whoever says that he is the box.
      only([SyntaxError], () => void fromCbor(input));
      command(input, "cbor");
    },
  },
  {
    name: "frame",
    seeds: [Buffer.from("85010c1a000f4240500190f0c27a117c339a551234567890aba1006548656c6c6f", "hex")],
    run: (input) =>
      only([CibError, SyntaxError, TypeError], () => void frameOf(unpack(Buffer.from(input), "cbor", "frame"))),
  },
  {
    name: "json",
    seeds: [
      bytes('{"cmd":"health"}'),
      bytes(`{"cmd":"input","session":"${SESSION}","text":"hi","id":"1"}`),
      bytes(`{"session":"${SESSION}","from":1}`),
    ],
    run: (input) => command(input, "json"),
  },
  {
    name: "topic",
    seeds: [
      bytes("cib/cmd"),
      bytes(`cib/${SESSION}/frames/text.delta`),
      bytes("cib/+/status"),
      bytes("cib/link/a0a1a2a3a4a5a6a7/up"),
    ],
    run: (input) => {
      const name = text(input);
      isFilter(name);
      isClientId(name);
      const topic = parseTopic(name);
      if (topic !== undefined && formatTopic(topic) !== name) throw new Error("topic: read as another one");
    },
  },
  ...HTTP_PARSERS,
  ...MQTT_PARSERS,
];
