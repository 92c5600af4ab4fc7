/** Bridge links: what anybody who may publish at the foreign broker can make of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Line } from "../../../src/transport/mqtt/bridge-line.ts";
import { BridgeLinks, MAX_KEYS } from "../../../src/transport/mqtt/bridge-links.ts";
import { clientLink } from "../../conformance/link-client.ts";
import { TopicWorld } from "./topic-world.ts";

test("messages for keys that are nobody's, however they begin, take no place from a device", () => {
  using world = new TopicWorld();
  const sent: string[] = [];
  const line: Pick<Line, "send" | "waiting" | "nextPacketId"> = {
    send: (topic) => sent.push(topic) > 0,
    waiting: 0,
    nextPacketId: () => 1,
  };
  const { control, hands } = world;
  const fault = (thrown: unknown) => assert.fail(String(thrown));
  const links = new BridgeLinks("cib/box", { control, now: () => hands.now, timers: hands, fault });
  links.begin(line as Line);
  for (const length of [4, 15, 16, 40, 48, 80, 40_000]) {
    const message = Buffer.alloc(length);
    message.write("CIB1");
    for (let i = 0; i < MAX_KEYS; i++) {
      const nobody = `${length.toString(16).padStart(8, "0")}${i.toString(16).padStart(8, "0")}`;
      if (length >= 16) message.write(nobody, 8, "hex");
      links.message(nobody, message);
    }
  }
  const key = world.key();
  links.message(key.id, Buffer.from(clientLink(key, "mqtt").hello));
  assert.deepEqual(sent, [`cib/box/link/${key.id}/down`], "its hello is answered");
  links.end();
});
