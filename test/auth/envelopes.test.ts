/** Envelopes: a request runs once, only fresh, only for who holds the key; and strangers all cost the same. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { DeviceKeys } from "../../src/auth/device-keys.ts";
import { type EnvelopeFault, Envelopes, type OpenedEnvelope, TOKEN_LIFE_S } from "../../src/auth/envelopes.ts";
import { Gate } from "../../src/auth/gate.ts";
import { Tokens } from "../../src/auth/tokens.ts";
import { Vault } from "../../src/auth/vault.ts";
import type { Provider } from "../../src/crypto/aead.ts";
import { nodeProvider } from "../../src/crypto/aead-node.ts";
import { type Place, sealRequest } from "../../src/crypto/envelope.ts";
import { LinkKey } from "../../src/crypto/schedule.ts";

const folder = mkdtempSync(join(tmpdir(), "cib-envelopes-"));
after(() => rmSync(folder, { recursive: true }));
const MASTER = "m".repeat(40);
const vault = new Vault(MASTER, Buffer.alloc(16));
const PLACE: Place = { method: "POST", target: "/aes" };
let files = 0;
let requests = 0;

/** Counts what a request costs. */
function counting(): { provider: Provider; taken: () => string } {
  let [hmacs, hashes, opens] = [0, 0, 0];
  const provider: Provider = {
    ...nodeProvider,
    hmac: (key, ...parts) => {
      hmacs++;
      return nodeProvider.hmac(key, ...parts);
    },
    sha256: (...parts) => {
      hashes++;
      return nodeProvider.sha256(...parts);
    },
    aead: (key) => {
      const aead = nodeProvider.aead(key);
      return {
        seal: (...args) => aead.seal(...args),
        open: (...args) => {
          opens++;
          return aead.open(...args);
        },
      };
    },
  };
  const taken = () => {
    const shown = `${hmacs} HMACs, ${hashes} hashes, ${opens} opened`;
    [hmacs, hashes, opens] = [0, 0, 0];
    return shown;
  };
  return { provider, taken };
}

function world({ provider = nodeProvider, remembered = 8 }: { provider?: Provider; remembered?: number } = {}) {
  const clock = { ms: 5_000_000 };
  const now = () => clock.ms;
  const tokens = new Tokens(join(folder, `tokens-${files++}.json`), now);
  const keys = new DeviceKeys({ file: join(folder, `devices-${files}.json`), vault, provider, now });
  const gate = new Gate({ masterToken: MASTER, tokens, plain: "loopback", now });
  const boot = () => new Envelopes({ keys, gate, provider, random: randomBytes, clock: now, remembered });
  const device = (x25519 = false) => {
    const token = Tokens.newId();
    tokens.issue(token, { label: "lamp", scopes: ["sessions:read"] });
    return { token, ...keys.create(token, x25519) };
  };
  return { clock, tokens, boot, device, envelopes: boot() };
}

function sealed(
  { id, secret }: { id: string; secret: string },
  token: Uint8Array,
  texts = ["list"],
  random = randomBytes(16),
) {
  return sealRequest({
    provider: nodeProvider,
    key: new LinkKey(nodeProvider, Buffer.from(secret, "hex")),
    keyId: Buffer.from(id, "hex"),
    token,
    fresh: { boot: 1, counter: requests++, random },
    plaintexts: texts.map((text) => Buffer.from(text)),
    ...PLACE,
  }).body;
}

const shown = (result: OpenedEnvelope | EnvelopeFault): string =>
  typeof result === "string" ? result : result.plaintexts.map((each) => Buffer.from(each).toString()).join();

test("a genuine request opens once, and tells whose it is", () => {
  const { envelopes, device } = world();
  const lamp = device();
  const body = sealed(lamp, envelopes.token(), ["a", "b"]);
  const opened = envelopes.open({ ...PLACE, body });
  assert.ok(typeof opened === "object");
  assert.deepEqual([opened.who.name, opened.keyId, shown(opened)], [lamp.token, lamp.id, "a,b"]);
  assert.deepEqual([opened.random.length, opened.next], [16, envelopes.token()]);
  assert.equal(shown(envelopes.open({ ...PLACE, body })), "replay");
});

test("a token is good for 120 s, not a second longer, and never before its time", () => {
  const { clock, envelopes, device } = world();
  const lamp = device();
  const [early, late] = [sealed(lamp, envelopes.token()), sealed(lamp, envelopes.token())];
  clock.ms += TOKEN_LIFE_S * 1000 - 1;
  const newest = envelopes.token();
  assert.equal(shown(envelopes.open({ ...PLACE, body: early })), "list");
  clock.ms += 1;
  assert.equal(shown(envelopes.open({ ...PLACE, body: late })), "token");
  clock.ms -= 2 * TOKEN_LIFE_S * 1000;
  const before = envelopes.open({ ...PLACE, body: sealed(lamp, newest) });
  assert.equal(shown(before), "token", "a token of the future");
});

test("a token of another start, or with a bit changed, is worth nothing", () => {
  const { envelopes, boot, device } = world();
  const lamp = device();
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, boot().token()) })), "token");
  for (let byte = 0; byte < 16; byte++) {
    const token = Uint8Array.from(envelopes.token());
    token[byte] = (token[byte] as number) ^ 1;
    assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, token) })), "token", `byte ${byte}`);
  }
});

test("a request is remembered as long as its token lives, and forgotten afterwards", () => {
  const { clock, envelopes, device } = world();
  const lamp = device();
  const body = sealed(lamp, envelopes.token());
  assert.equal(shown(envelopes.open({ ...PLACE, body })), "list");
  for (let s = 0; s < TOKEN_LIFE_S - 1; s += 17) {
    assert.equal(shown(envelopes.open({ ...PLACE, body })), "replay");
    clock.ms += 17_000;
  }
  assert.equal(envelopes.size, 1);
  clock.ms += 3 * TOKEN_LIFE_S * 1000;
  assert.equal(shown(envelopes.open({ ...PLACE, body })), "token");
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, envelopes.token()) })), "list");
  assert.equal(envelopes.size, 1);
});

test("a full memory refuses, evicts nothing, harms no other key, and is empty again in time", () => {
  const { clock, envelopes, device } = world({ remembered: 3 });
  const [lamp, door] = [device(), device()];
  const bodies = [0, 1, 2].map(() => sealed(lamp, envelopes.token()));
  for (const body of bodies) assert.equal(shown(envelopes.open({ ...PLACE, body })), "list");
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, envelopes.token()) })), "full");
  for (const body of bodies) assert.equal(shown(envelopes.open({ ...PLACE, body })), "replay");
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(door, envelopes.token()) })), "list");
  clock.ms += 2 * TOKEN_LIFE_S * 1000;
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, envelopes.token()) })), "list");
});

test("the same random with other bytes does not run", () => {
  const { envelopes, device } = world();
  const lamp = device();
  const body = sealed(lamp, envelopes.token(), ["a", "b"]);
  assert.equal(shown(envelopes.open({ ...PLACE, body })), "a,b");
  // Under one random lie one set of keys: what is put behind the same header is not what was sealed.
  const other = Buffer.concat([body.subarray(0, 48), sealed(lamp, envelopes.token(), ["c"]).subarray(48)]);
  assert.equal(shown(envelopes.open({ ...PLACE, body: other })), "tag");
});

test("an ended token's key, and one that demands X25519, open nothing", () => {
  const { envelopes, tokens, device } = world();
  const [lamp, strict] = [device(), device(true)];
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(strict, envelopes.token()) })), "tag");
  tokens.revoke(lamp.token);
  assert.equal(shown(envelopes.open({ ...PLACE, body: sealed(lamp, envelopes.token()) })), "tag");
});

test("whoever holds no key costs the same, whatever id it names; only a token of no second that had one costs an HMAC more", () => {
  const { provider, taken } = counting();
  const { envelopes, tokens, device } = world({ provider });
  const [lamp, gone, strict] = [device(), device(), device(true)];
  tokens.revoke(gone.token);
  const wrong = "00".repeat(32);
  const token = Uint8Array.from(envelopes.token());
  const stale = Uint8Array.from(token, (byte) => byte ^ 1);
  const strangers: Record<string, Uint8Array> = {
    "the right id, a wrong key": sealed({ ...lamp, secret: wrong }, token),
    "an id that nobody has": sealed({ id: "00".repeat(8), secret: wrong }, token),
    "a revoked key": sealed(gone, token),
    "a key that demands X25519": sealed(strict, token),
    "a token of nobody": sealed({ ...lamp, secret: wrong }, stale),
    "a token of nobody, several records": sealed({ id: "00".repeat(8), secret: wrong }, stale, ["a", "b", "c"]),
    "no form": Buffer.from("GET / HTTP/1.1"),
    nothing: new Uint8Array(),
  };
  taken();
  const costs = Object.entries(strangers).map(([what, body]) => {
    assert.match(shown(envelopes.open({ ...PLACE, body })), /^(tag|mac|magic)$/, what);
    return `${what}: ${taken()}`;
  });
  assert.deepEqual(
    costs,
    Object.keys(strangers).map(
      (what) => `${what}: ${what.startsWith("a token of nobody") ? 3 : 2} HMACs, 1 hashes, 1 opened`,
    ),
  );
  for (const id of [lamp.id, "00".repeat(8)]) {
    const bare = sealed({ id, secret: wrong }, token).subarray(0, 48);
    assert.equal(shown(envelopes.open({ ...PLACE, body: bare })), "size");
    assert.equal(taken(), "2 HMACs, 1 hashes, 1 opened", "a header alone, whoever's id it has");
  }
});

test("any change to a request leaves it refused, and the one request that was made still runs once", () => {
  const { envelopes, device } = world({ remembered: 4 });
  const lamp = device();
  const body = sealed(lamp, envelopes.token(), ["one", "two"]);
  const cut = fc.nat(body.length - 1).map((size) => body.subarray(0, size));
  const longer = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((more) => Buffer.concat([body, more]));
  const flipped = fc.tuple(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, by]) => {
    const altered = Uint8Array.from(body);
    altered[at] = (altered[at] as number) ^ by;
    return altered;
  });
  const anything = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(fc.oneof(cut, longer, flipped, anything), (altered) => {
      assert.equal(typeof envelopes.open({ ...PLACE, body: altered }), "string");
    }),
    { numRuns: 400 },
  );
  for (const place of [
    { method: "PUT", target: "/aes" },
    { method: "POST", target: "/aes?" },
    { method: "POST", target: "/aes/token" },
  ])
    assert.equal(shown(envelopes.open({ ...place, body })), "tag");
  assert.equal(shown(envelopes.open({ ...PLACE, body })), "one,two");
  assert.equal(envelopes.size, 1);
});
