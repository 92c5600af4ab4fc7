import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { generate, type Packet } from "mqtt-packet";
import { MAX_CONNECT_BYTES, MAX_PACKET_BYTES, Meter, publishPacket } from "../../../src/transport/mqtt/wire.ts";

const CONNECT = generate({
  cmd: "connect",
  protocolId: "MQTT",
  protocolVersion: 4,
  clean: true,
  clientId: "master-x",
  keepalive: 60,
} as Packet);

describe("the wire", () => {
  test("a PUBLISH is what another implementation writes", () => {
    const length = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(16_380, 16_384, 2_097_140, 2_097_160));
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed() && !/[+#\0]/.test(text)),
        length,
        fc.boolean(),
        fc.option(fc.integer({ min: 1, max: 0xffff }), { nil: undefined }),
        (topic, size, retain, messageId) => {
          const payload = Buffer.alloc(size, 7);
          const qos = messageId === undefined ? 0 : 1;
          const expected = generate({ cmd: "publish", topic, payload, qos, dup: false, retain, messageId } as Packet);
          assert.ok(publishPacket(topic, payload, retain, messageId).equals(expected));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("packets pass the meter however they are cut", () => {
    const packets = fc.array(
      fc.oneof(
        fc.constant(Buffer.from([0xc0, 0])),
        fc.integer({ min: 0, max: 3000 }).map((size) => publishPacket("cib/cmd", Buffer.alloc(size), false)),
      ),
      { maxLength: 10 },
    );
    fc.assert(
      fc.property(packets, fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 30 }), (list, cuts) => {
        const meter = new Meter();
        let rest = Buffer.concat([CONNECT, ...list]);
        for (const cut of [...cuts, rest.length]) {
          assert.equal(meter.take(rest.subarray(0, cut)), true);
          rest = rest.subarray(cut);
        }
      }),
    );
  });

  test("a packet may be as large as the limit and no larger, and before the CONNECT is taken much less", () => {
    const sized = (length: number) => {
      const digits = [0, 7, 14, 21].map((shift, i) => ((length >> shift) & 0x7f) | (i < 3 ? 0x80 : 0));
      return Buffer.from([0x30, ...digits]);
    };
    const take = (length: number, wide: boolean) => {
      const meter = new Meter();
      meter.take(CONNECT);
      if (wide) meter.widen();
      return meter.take(sized(length));
    };
    assert.equal(take(MAX_PACKET_BYTES, true), true);
    assert.equal(take(MAX_PACKET_BYTES + 1, true), false);
    assert.equal(take(MAX_CONNECT_BYTES, false), true);
    assert.equal(take(MAX_CONNECT_BYTES + 1, false), false);
  });

  test("what does not begin with a CONNECT, and a length of five bytes, are refused at once", () => {
    for (const bytes of [[0x30], [0x16, 3, 1], [0x47, 0x45, 0x54], [0x10, 0x80, 0x80, 0x80, 0x80]])
      assert.equal(new Meter().take(Buffer.from(bytes)), false);
  });
});
