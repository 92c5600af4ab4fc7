/** Every way in, for tests that compare them: a new way is one line. */
import { aes } from "./aes-way.ts";
import { mqttSealed } from "./mqtt-sealed-way.ts";
import { mqtt } from "./mqtt-way.ts";
import { rawTcp } from "./tcp-way.ts";
import type { Way } from "./way.ts";
import { restAndEvents, webSocket } from "./ways.ts";
import { webSocketSealed } from "./ws-sealed-way.ts";

export const WAYS: readonly Way[] = [
  restAndEvents,
  webSocket("json"),
  webSocket("cbor"),
  rawTcp,
  aes,
  mqtt("json"),
  mqtt("cbor"),
  mqttSealed,
  webSocketSealed,
];
