/** The client in a real browser, under a policy without eval: tokens and sealed links, over lines that are cut. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { SessionId } from "../../src/frame/frame.ts";
import { clientBundle } from "../client/built.ts";
import { Cutter } from "../client/cutter.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";
import { Chromium, type Page } from "./chromium.ts";
import { type Site, serveSite } from "./site.ts";

const FILES = {
  "/": '<!doctype html><title>client</title><script type="module" src="/page.mjs"></script>',
  "/page.mjs": new URL("client-page.mjs", import.meta.url),
};
/** Bytes after which the line breaks, each time: in the handshake, in the greeting or the verdict, in the stream. */
const CUTS = [100, 330, 900, 2_500];

interface Outcome {
  readonly ok?: Readonly<Record<string, unknown>>;
  readonly code?: string;
  readonly message?: string;
}

const WAYS: readonly (readonly [string, (world: World) => Promise<object>])[] = [
  ["a token and JSON", async ({ master }) => ({ token: master })],
  ["a token and CBOR", async ({ master }) => ({ token: master, format: "cbor" })],
  ["a sealed link, X25519 offered", async (world) => ({ key: await deviceKey(world) })],
  [
    "a sealed link, X25519 required",
    async (world) => ({ key: await deviceKey(world, { x25519: true }), x25519: "require" }),
  ],
];

/** Chromium itself complains of a connection that is cut, and of what is sent while one closes: all else is a fault. */
function faultsOf(page: Page): string[] {
  return page.errors.filter((error) => !/WebSocket (connection to|is already in CLOSING)/.test(error));
}

describe("the client in Chromium", needs("chromium", "chromium"), () => {
  let chromium: Chromium;
  let site: Site;
  let bundle: string;

  before(async () => {
    chromium = await Chromium.start();
    bundle = await clientBundle(true);
    site = await serveSite({ ...FILES, "/client.mjs": bundle });
  });
  after(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await site?.[Symbol.asyncDispose]();
  });

  async function open(host: string): Promise<Page> {
    const page = await chromium.open(`http://${host}:${site.port}/`);
    await page.until(() => page.console.includes("log: ready") || page.errors.length > 0);
    assert.deepEqual(page.errors, []);
    return page;
  }

  for (const [name, options] of WAYS) {
    test(`with ${name} a page of another origin gets every frame once and has every input done once, however often the line is cut`, async () => {
      await using world = await openWorld({ CIB_HOSTS: "app.localhost" });
      await using cutter = new Cutter(() => Number(new URL(world.url).port), CUTS);
      const url = `http://127.0.0.1:${await cutter.listen()}`;
      await using page = await open("app.localhost");
      await page.call("cib.open", { url, ...(await options(world)) });
      const { ok } = await page.call<Outcome>("cib.run", { cmd: "sessions.create" });
      const session = ok?.["session"] as SessionId;
      await page.call("cib.follow", session, "the end");
      const said = Array.from({ length: 60 }, (_, i) => `${i} ${"\u00e4\ud83d\ude42".repeat((i * 37) % 100)}`);
      const inputs: Promise<Outcome>[] = [];
      for (const [i, text] of said.entries()) {
        world.say(session, { type: "text.delta", text });
        if (i % 20 === 0) inputs.push(page.call("cib.run", { cmd: "input", session, text: `input ${i}` }));
      }
      for (const input of await Promise.all(inputs)) assert.ok(input.ok, input.message);
      await page.call("cib.run", { cmd: "send", session, text: "and last" });
      world.say(session, { type: "text.delta", text: "the end" });
      const { seqs, texts, marks } = await page.call<{ seqs: number[]; texts: string[]; marks: string[] }>("cib.read");
      assert.deepEqual(
        seqs,
        seqs.map((_, i) => i + 1),
      );
      assert.deepEqual(
        texts.filter((text) => said.includes(text)),
        said,
      );
      assert.ok(marks.every((mark) => mark === "ok"));
      assert.deepEqual([...world.prompts(session)].sort(), ["and last", "input 0", "input 20", "input 40"]);
      assert.equal(cutter.left, 0);
      await page.call("cib.close");
      assert.deepEqual(faultsOf(page), []);
      assert.deepEqual(world.faults, []);
    });
  }

  test("a page whose origin the box does not know is refused, and told what it may be", async () => {
    await using world = await openWorld({ CIB_HOSTS: "app.localhost" });
    await using page = await open("other.localhost");
    await page.call("cib.open", { url: world.url, token: world.master });
    await page.until(() => page.console.some((line) => /lost: no answer.*CIB_HOSTS/.test(line)));
    assert.match(page.errors.join("\n"), /403/);
    await page.call("cib.close");
  });

  test("a page with a wrong token is told so, once and for good", async () => {
    await using world = await openWorld({ CIB_HOSTS: "app.localhost" });
    await using page = await open("app.localhost");
    await page.call("cib.open", { url: world.url, token: "not-this-one" });
    const { code, message } = await page.call<Outcome>("cib.run", { cmd: "health" });
    assert.equal(code, "unauthorized", message);
    assert.deepEqual(faultsOf(page), []);
  });

  test("the page of CLIENT.md works as it stands there, but for the name of the box", async () => {
    await using world = await openWorld({ CIB_HOSTS: "app.localhost" });
    const chapter =
      readFileSync(new URL("../../docs/CLIENT.md", import.meta.url), "utf8").split("## In a page")[1] ?? "";
    const block = (language: string) =>
      (new RegExp(`\\n\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(chapter)?.[1] ?? "").replaceAll(
        "box.local:8080",
        new URL(world.url).host,
      );
    const files = { "/": block("html"), "/app.mjs": block("js"), "/client.mjs": bundle };
    await using own = await serveSite(files, "default-src 'self' ws:");
    const { id, secret } = await deviceKey(world);
    await using page = await chromium.open(`http://app.localhost:${own.port}/`, `${id}:${secret}`);
    await page.appears("document.querySelector('pre').textContent === 'heard: hello\\n'");
    assert.deepEqual(page.errors, []);
    assert.deepEqual(page.console, ["log: open "]);
  });

  test("what a page's own function throws is an uncaught error of the page, and the link lives on", async () => {
    await using world = await openWorld({ CIB_HOSTS: "app.localhost" });
    await using page = await open("app.localhost");
    await page.call("cib.open", { url: world.url, key: await deviceKey(world), faulty: true });
    assert.ok((await page.call<Outcome>("cib.run", { cmd: "health" })).ok);
    assert.ok((await page.call<Outcome>("cib.run", { cmd: "health" })).ok);
    await page.until(() => page.errors.length > 0);
    assert.match(page.errors.join("\n"), /^Error: a status line that fails/);
    assert.deepEqual(await page.call("cib.states"), ["open"]);
    await page.call("cib.close");
  });

  test("the policy is in force: what evaluates text as code is refused", async () => {
    await using page = await open("app.localhost");
    await assert.rejects(page.evaluate("new Function('return 1')()"), /EvalError/);
    assert.deepEqual(await page.evaluate("[typeof Buffer, typeof process]"), ["undefined", "undefined"]);
  });
});
