/** Values: what a client sends as CBOR is one item in the plain form, and is refused before anything is made of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeValue } from "../../src/frame/codec.ts";
import { unpack } from "../../src/transport/values.ts";

const cbor = (hex: string) => unpack(Buffer.from(hex, "hex"), "cbor", "message");

test("CBOR of indefinite length, with tags, or with something behind it is refused, and the refusal says why", () => {
  const health = encodeValue({ cmd: "health" }).toString("hex");
  assert.deepEqual(cbor(health), { cmd: "health" });
  const refused: Readonly<Record<string, string>> = {
    "cbor: malformed, or of indefinite length": `bf${health.slice(2)}ff`,
    "cbor: a tag; send values without tags": `d9d9f7${health}`,
    "cbor: more than one item": `${health}${health}`,
    "cbor: cut short": health.slice(0, -2),
  };
  for (const [why, hex] of Object.entries(refused))
    assert.throws(() => cbor(hex), { code: "bad_request", message: `message: ${why}` });
});

test("shared references, each twice the one before, are not followed", () => {
  // 2 to the 40th arrays in 300 bytes: a decoder that made them would never come back.
  const ids = Array.from({ length: 40 }, (_, i) => `d81d18${(40 - i).toString(16).padStart(2, "0")}`);
  assert.throws(() => cbor(`a16161${"d81c82".repeat(40)}80${ids.join("")}`), /a tag/);
});
