/** Requests: a refusal reaches every peer, however small its buffer and however long the id that it chose. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CibError, ERRORS, type ErrorCode } from "../../src/errors.ts";
import { decodeValue } from "../../src/frame/codec.ts";
import { MIN_CBOR_BYTES } from "../../src/frame/fit.ts";
import { refusal } from "../../src/transport/requests.ts";

test("a refusal fits the smallest peer with its code and, where that is one of ours, its id", () => {
  const codes = fc.constantFrom(...(Object.keys(ERRORS) as ErrorCode[]));
  const text = (maxLength: number) => fc.string({ unit: "binary", maxLength, size: "max" });
  fc.assert(
    fc.property(codes, text(300), text(3000), (code, message, id) => {
      const bytes = refusal(id, new CibError(code, message), "cbor", MIN_CBOR_BYTES);
      assert.ok(bytes.length <= MIN_CBOR_BYTES, `${bytes.length} bytes`);
      const said = decodeValue(bytes) as { re: unknown; error: { code: unknown } };
      assert.equal(said.error.code, code);
      if (Buffer.byteLength(id) <= 48) assert.equal(said.re, id);
    }),
  );
});
