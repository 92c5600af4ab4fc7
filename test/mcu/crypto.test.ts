/** The C client's own cipher and hashes against those of Node, on random keys and texts of every length. */
import assert from "node:assert/strict";
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { createCipheriv, createHash, createHmac, randomBytes } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { needs } from "../skip.ts";

const MCU = join(import.meta.dirname, "../../mcu");

describe("the C client's cipher", needs("gcc", "gcc"), () => {
  let oracle: ChildProcessByStdio<Writable, Readable, null>;
  let lines: AsyncIterator<string>;

  before(async () => {
    await promisify(execFile)("make", ["-C", MCU, "--no-print-directory", "BUILD=build/oracle", "oracle"]);
    oracle = spawn(join(MCU, "build/oracle/gcc/test-oracle"), { stdio: ["pipe", "pipe", "inherit"] });
    lines = createInterface(oracle.stdout)[Symbol.asyncIterator]();
  });

  after(() => {
    oracle.stdin.end();
  });

  async function ask(...words: readonly (string | number | Buffer)[]): Promise<string> {
    const text = words.map((word) => (Buffer.isBuffer(word) ? hex(word) : String(word))).join(" ");
    oracle.stdin.write(`${text}\n`);
    const { value, done } = await lines.next();
    assert.ok(!done, "the oracle has stopped: its last words stand above");
    return value;
  }

  test("seals and opens as node:crypto does, at every length up to 300 and at the longest", async () => {
    const lengths = [...Array.from({ length: 301 }, (_, n) => n), 4_096, 16_384, 65_535];
    for (const length of lengths) {
      const key = randomBytes(32);
      const counter = randomBytes(4).readUInt32BE();
      const plaintext = randomBytes(length);
      const record = sealed(key, counter, plaintext);
      assert.equal(await ask("seal", key, counter, plaintext), hex(record), `sealing ${length} bytes`);
      assert.equal(await ask("open", key, counter, record), hex(plaintext), `opening ${length} bytes`);
    }
  });

  test("opens nothing of which one bit was changed", async () => {
    const key = randomBytes(32);
    const record = sealed(key, 7, randomBytes(40));
    for (let bit = 0; bit < 8 * record.length; bit++) {
      const altered = Buffer.from(record);
      altered.writeUInt8(altered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(await ask("open", key, 7, altered), "no", `bit ${bit}`);
    }
  });

  test("hashes as node:crypto does, at every length up to 300", async () => {
    for (let length = 0; length <= 300; length++) {
      const key = randomBytes(32);
      const [one, two] = [randomBytes(length), randomBytes(length % 67)];
      const mac = createHmac("sha256", key).update(one).update(two).digest("hex");
      assert.equal(await ask("hmac", key, one, two), mac, `HMAC of ${length} bytes`);
      assert.equal(
        await ask("sha256", one),
        createHash("sha256").update(one).digest("hex"),
        `SHA-256 of ${length} bytes`,
      );
    }
  });
});

/** A record of docs/PROTOCOL.md. */
function sealed(key: Buffer, counter: number, plaintext: Buffer): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(counter, 8);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(plaintext.length);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(length);
  return Buffer.concat([length, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function hex(bytes: Buffer): string {
  return bytes.length === 0 ? "-" : bytes.toString("hex");
}
