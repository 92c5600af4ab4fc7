/** User hooks on real Claude Code: what they forbid does not run, what they rewrite runs so, and a broken one harms only its own verdict. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Model, type ModelRequest, startModel, type Turn } from "../../src/demo/model.ts";
import { TestBox } from "./box.ts";
import { claudeCommand, JS_VERSION, offlineReason, PINNED } from "./claude-versions.ts";
import { Live } from "./live.ts";

type Json = Record<string, unknown>;

function script({ last }: ModelRequest): Turn {
  const run = /^run (.+)$/m.exec(last)?.[1];
  if (run !== undefined)
    return { blocks: [{ text: "I try.\n" }, { tool: "Bash", input: { command: run, description: "tries" } }] };
  return { blocks: [{ text: `The code is hunter2, nothing else.\nHeard: ${last.slice(0, 200)}\n` }] };
}

/** A hook's command: the body of a function of one event that returns the verdict. */
const hook = (body: string): string[] => [
  process.execPath,
  "-e",
  `let s="";process.stdin.on("data",d=>s+=d).on("end",()=>{const e=JSON.parse(s);const f=e.frame;console.log(JSON.stringify((()=>{${body}})()))})`,
];

const hidden = `const t=JSON.stringify(f.text??f.output);if(!t.includes("hunter2"))return{verdict:"pass"};const r=JSON.parse(t.replaceAll("hunter2","***"));return f.type==="text.delta"?{verdict:"rewrite",text:r}:{verdict:"rewrite",output:r}`;

class World implements AsyncDisposable {
  readonly model: Model;
  readonly box: TestBox;

  private constructor(model: Model, box: TestBox) {
    this.model = model;
    this.box = box;
  }

  static async open(version: string): Promise<World> {
    const model = await startModel(script);
    return new World(model, await TestBox.start({ model: model.url, claude: await claudeCommand(version) }));
  }

  async create(fields: Json): Promise<Live & { readonly session: string }> {
    const { status, body } = await this.box.call("POST", "/api/sessions", fields);
    assert.equal(status, 201, JSON.stringify(body));
    const session = String(body["session"]);
    return Object.assign(await Live.open(this.box, session), { session });
  }

  async turn(live: Live & { readonly session: string }, text: string): Promise<number> {
    const from = live.frames.length;
    await this.box.call("POST", `/api/sessions/${live.session}/input`, { text });
    await live.next("stop", () => true, from);
    await live.idle(from);
    return from;
  }

  file(name: string): string {
    return join(this.box.folder, "workspace", name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.box[Symbol.asyncDispose]();
    await this.model[Symbol.asyncDispose]();
  }
}

for (const version of [PINNED, JS_VERSION]) {
  const skip = (await offlineReason(version)) ?? false;
  for (const engine of ["pty", "stream"] as const) {
    describe(`hooks on ${version}, engine ${engine}`, { skip }, () => {
      test("what is redacted reaches no client, and from a tool's result not even Claude where it can be helped", async () => {
        await using w = await World.open(version);
        const on = ["text.delta", "tool.use.result"];
        using live = await w.create({ engine, hooks: [{ name: "redact", on, run: hook(hidden), timeout_ms: 10_000 }] });
        await w.turn(live, "run echo hunter2 | tr a-z A-Z; echo hunter2");
        const seen = JSON.stringify(live.frames.filter(({ type }) => type !== "input" && type !== "tool.use.start"));
        assert.equal(seen.includes("hunter2"), false, seen);
        assert.match(seen, /HUNTER2\\n\*\*\*/);
        assert.match(seen, /The code is \*\*\*, nothing else/);
        const read = w.model.requests.at(-1)?.last ?? "";
        assert.equal(read.includes("hunter2"), version === JS_VERSION, read);
        const fired = live.frames.flatMap((frame) => (frame.type === "hook" ? [frame] : []));
        assert.ok(
          fired.some(({ event, result }) => event === "tool.use.result" && (result as Json)["verdict"] === "rewrite"),
        );
        if (engine === "stream") return;
        const attach = await live.run({ cmd: "detach", session: live.session });
        assert.equal(attach["ok"], true);
        const refused = await live.run({ cmd: "attach", session: live.session, pty: true });
        assert.equal((refused["error"] as Json)["code"], "forbidden");
      });

      test("what is forbidden does not run, and Claude reads why; what is rewritten runs so", async () => {
        await using w = await World.open(version);
        const rules = [
          {
            name: "forbid",
            on: ["tool.use.start"],
            match: { tool: "Bash", text: "forbidden" },
            run: hook(`return{verdict:"block",reason:"house rule 7"}`),
            timeout_ms: 10_000,
          },
          {
            name: "rename",
            on: ["tool.use.start"],
            match: { text: "touch one" },
            run: hook(`return{verdict:"rewrite",input:{...f.input,command:"touch two.txt"}}`),
            timeout_ms: 10_000,
          },
        ];
        using live = await w.create({ engine, hooks: rules });
        await w.turn(live, "run touch forbidden.txt");
        assert.equal(existsSync(w.file("forbidden.txt")), false);
        assert.match(w.model.requests.at(-1)?.last ?? "", /house rule 7/);
        const from = await w.turn(live, "run touch one.txt");
        assert.deepEqual([existsSync(w.file("one.txt")), existsSync(w.file("two.txt"))], [false, true]);
        const start = await live.next("tool.use.start", () => true, from);
        assert.equal((start.input as Json)["command"], "touch two.txt", "the frame shows what ran");
      });

      test("a prompt is blocked before it is promised anything, and an end can be annotated", async () => {
        await using w = await World.open(version);
        const rules = [
          {
            name: "words",
            on: ["input"],
            match: { text: "please" },
            run: hook(`return{verdict:"block",reason:"say it without please"}`),
            timeout_ms: 10_000,
          },
          {
            name: "note",
            on: ["stop"],
            run: hook(`return{verdict:"annotate",note:{seen:f.reason}}`),
            timeout_ms: 10_000,
          },
        ];
        using live = await w.create({ engine, hooks: rules });
        const refused = await w.box.call("POST", `/api/sessions/${live.session}/input`, { text: "please go" });
        assert.deepEqual([refused.status, (refused.body["error"] as Json)["code"]], [403, "hook_blocked"]);
        const from = await w.turn(live, "go");
        const note = await live.next("hook", ({ name }) => name === "note", from);
        assert.deepEqual(note.payload, { seen: "end_turn" });
        assert.equal(
          w.model.requests.some(({ last }) => last.includes("please go")),
          false,
        );
      });

      test("a hook that hangs, crashes, floods or prints garbage loses its say and nothing else; fail closed blocks", async () => {
        await using w = await World.open(version);
        const broken: Readonly<Record<string, string[]>> = {
          hangs: ["/bin/sleep", "60"],
          crashes: ["/bin/false"],
          floods: ["/bin/sh", "-c", "yes | head -c 1000000"],
          garbles: ["/bin/echo", "{nonsense"],
        };
        const rules = Object.entries(broken).map(([name, run]) => ({
          name,
          on: ["tool.use.start", "text.delta", "stop"],
          run,
          timeout_ms: name === "hangs" ? 300 : 5_000,
        }));
        using live = await w.create({ engine, hooks: rules });
        await w.turn(live, "run touch open.txt");
        assert.equal(existsSync(w.file("open.txt")), true);
        const text = live.frames.flatMap((frame) => (frame.type === "text.delta" ? [frame.text] : [])).join("");
        assert.match(text, /I try\.\n.*hunter2.*\nHeard/s);
        const failed = new Set(
          live.frames.flatMap((frame) =>
            frame.type === "hook" && (frame.result as Json)["error"] !== undefined ? [frame.name] : [],
          ),
        );
        assert.deepEqual([...failed].sort(), Object.keys(broken).sort());
        using closed = await w.create({
          engine,
          hooks: [
            { name: "closed", on: ["tool.use.start"], run: broken["crashes"], fail: "closed", timeout_ms: 5_000 },
          ],
        });
        await w.turn(closed, "run touch closed.txt");
        assert.equal(existsSync(w.file("closed.txt")), false);
      });
    });
  }
}

const skip = (await offlineReason(PINNED)) ?? false;

test("a prompt typed at the terminal is blocked like any other, and the session goes on", { skip }, async () => {
  await using w = await World.open(PINNED);
  const run = hook(`return{verdict:"block",reason:"say it without please"}`);
  const rule = { name: "words", on: ["input"], match: { text: "please" }, run, timeout_ms: 10_000 };
  using live = await w.create({ hooks: [rule] });
  await live.idle();
  await w.box.call("POST", `/api/sessions/${live.session}/input`, { data: "please go" });
  await w.box.call("POST", `/api/sessions/${live.session}/input`, { keys: ["Enter"] });
  await live.next("hook", ({ name }) => name === "words");
  await w.turn(live, "go on then");
  assert.equal(
    w.model.requests.some(({ last }) => last.includes("please go")),
    false,
  );
});

test("a webhook survives a restart of the box and of its receiver: each frame once, in order", { skip }, async () => {
  const got: string[] = [];
  let refuses = false;
  const receiver = createServer((req, res) => {
    req.resume();
    if (!refuses) got.push(String(req.headers["x-cib-frame"]));
    res.writeHead(refuses ? 503 : 200).end();
  });
  await new Promise<void>((done) => receiver.listen(0, "127.0.0.1", done));
  try {
    await using w = await World.open(PINNED);
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
    const put = await w.box.call("PUT", "/api/hooks", {
      hooks: [{ name: "ends", on: ["stop"], post: { url, headers: { authorization: "Bearer very-secret" } } }],
    });
    assert.equal(put.status, 200, JSON.stringify(put.body));
    assert.equal(JSON.stringify(put.body).includes("very-secret"), false);
    using live = await w.create({});
    await w.turn(live, "first");
    await live.next("hook", ({ name }) => name === "ends");
    refuses = true;
    await w.turn(live, "second");
    await w.box.end("SIGTERM");
    refuses = false;
    await w.box.start();
    using back = await Live.open(w.box, live.session);
    const stops = (): string[] =>
      back.frames.flatMap((frame) => (frame.type === "stop" ? [`${live.session}:${frame.seq}`] : []));
    await back.until(
      (frames) => frames.filter((frame) => frame.type === "hook" && frame.name === "ends").length >= 3,
      "the third delivery",
    );
    assert.deepEqual(got, stops().slice(0, got.length));
    assert.equal(new Set(got).size, got.length);
    assert.equal(readFileSync(join(w.box.data, "hooks.json"), "utf8").includes("very-secret"), true);
  } finally {
    receiver.closeAllConnections();
    receiver.close();
  }
});

test("a hooks file that cannot be understood keeps the box from starting, and says where", { skip }, async () => {
  await using w = await World.open(PINNED);
  await w.box.end("SIGTERM");
  writeFileSync(join(w.box.data, "hooks.json"), '{"hooks":[{"name":"x"}]}');
  await assert.rejects(w.box.start(), /hooks\.json/);
});
