import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Screen } from "../../src/agent/screen.ts";
import { Waits } from "../../src/agent/waits.ts";

describe("the screen", () => {
  it("knows the last words, however the output was cut", () => {
    const chunk = fc.oneof(fc.nat(40), fc.constantFrom(8191, 8192, 8193, 20_000));
    fc.assert(
      fc.property(fc.array(chunk, { minLength: 1, maxLength: 30 }), (sizes) => {
        const screen = new Screen();
        let all = "";
        for (const [n, size] of sizes.entries()) {
          const words = Array.from(
            { length: Math.ceil(size / 5) },
            (_, i) => `${String.fromCharCode(97 + (n % 26))}${i % 97} `,
          );
          const said = words.join("").slice(0, size);
          all += said;
          screen.push(Buffer.from(said), n);
        }
        assert.equal(screen.words(), all.slice(-8192).replace(/\s+/g, " ").trim().slice(-500));
        assert.equal(screen.writes, sizes.length);
        assert.equal(screen.lastWrite, sizes.length - 1);
      }),
    );
  });

  it("tells words only: no colours, titles, frames or cursor moves", () => {
    const screen = new Screen();
    screen.push(Buffer.from("\x1b]0;✳ Title\x07\x1b[2J╭──╮\r\n\x1b[31mNot\x1b[0m\x1b[5Clogged in\r\n"), 1);
    assert.equal(screen.words(), "Not logged in");
  });

  it("does not keep the buffer that it was given", () => {
    const screen = new Screen();
    const bytes = Buffer.from("said");
    screen.push(bytes, 1);
    bytes.fill("x");
    assert.equal(screen.words(), "said");
  });
});

describe("a wait", () => {
  it("ends true with the event that makes its condition true, and not before", async () => {
    const waits = new Waits();
    let on = false;
    const came = waits.until(() => on, 60_000);
    waits.wake();
    assert.equal(await Promise.race([came, Promise.resolve("open")]), "open");
    on = true;
    waits.wake();
    assert.equal(await came, true);
  });

  it("ends false when its time is over, or when its caller gives up", async () => {
    const waits = new Waits();
    assert.equal(await waits.until(() => false, 1), false);
    const caller = new AbortController();
    const given = waits.until(() => false, 60_000, caller.signal);
    caller.abort();
    assert.equal(await given, false);
  });
});
