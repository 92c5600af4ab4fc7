/** The suite: what every transport owes its clients, whichever way they come in. A short file runs it for each. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { FrameBody, SessionId } from "../../src/frame/frame.ts";
import type { Caller, Refused, Stream, Way } from "./way.ts";
import { openWorld, type World } from "./world.ts";

const text = (value: string) => ({ type: "text.delta", text: value }) as const satisfies FrameBody;
/** 2 MiB of frames: twice what the smallest log keeps. */
const PAST_RETENTION = Array.from({ length: 2048 }, () => text("x".repeat(1024)));

const PERMISSION = {
  type: "ask.question",
  id: "t1/0",
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
  input: { command: "rm -rf build" },
  summary: "rm -rf build",
} as const satisfies FrameBody;

async function create(caller: Caller, fields: object = {}): Promise<SessionId> {
  return (await caller.run({ cmd: "sessions.create", ...fields }))["session"] as SessionId;
}

/** Frames until one satisfies, that one included. */
async function until(
  stream: Stream,
  done: (frame: { type: string; seq: number; text?: string }) => boolean,
): Promise<{ type: string; seq: number; text?: string }[]> {
  const got: { type: string; seq: number; text?: string }[] = [];
  for (;;) {
    const { frame } = await stream.next();
    got.push(frame);
    if (done(frame)) return got;
  }
}

const says = (value: string) => (frame: { text?: string }) => frame.text === value;

function refusedWith(code: string): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.equal((thrown as Refused).code, code);
    return true;
  };
}

export function conformance(way: Way): void {
  const within = (
    title: string,
    body: (world: World, caller: Caller) => Promise<void>,
    env: Record<string, string> = {},
  ): void => {
    test(title, async () => {
      await using world = await openWorld(env);
      const caller = await way.connect(world, world.master);
      try {
        await body(world, caller);
        assert.deepEqual(world.faults, []);
      } finally {
        caller.close();
      }
    });
  };

  describe(way.name, () => {
    within("a session is created, takes an input, and its answer is streamed live", async (_, caller) => {
      const session = await create(caller);
      const stream = await caller.follow({ session, from: 1 });
      assert.deepEqual([stream.verdict.session, stream.verdict.verdict, stream.verdict.from], [session, "ok", 1]);
      await caller.run({ cmd: "input", session, text: "hello" });
      const frames = await until(stream, says("heard: hello"));
      assert.deepEqual(
        frames.map((frame) => frame.seq),
        frames.map((_frame, i) => i + 1),
      );
      assert.ok(frames.some((frame) => frame.type === "input"));
    });

    within(
      "old and new frames follow each other without a hole, whatever is said while attaching",
      async (world, caller) => {
        const session = await create(caller);
        for (let i = 0; i < 200; i++) world.say(session, text(`old ${i}`));
        const following = caller.follow({ session, from: 1 });
        for (let i = 0; i < 200; i++) world.say(session, text(`new ${i}`));
        const frames = await until(await following, says("new 199"));
        assert.deepEqual(
          frames.map((frame) => frame.seq),
          frames.map((_, i) => i + 1),
        );
      },
    );

    within("without from a stream begins now", async (world, caller) => {
      const session = await create(caller);
      world.say(session, text("before"));
      await until(await caller.follow({ session, from: 1 }), says("before"));
      const stream = await caller.follow({ session, types: ["text.delta"] });
      world.say(session, text("after"));
      assert.equal((await until(stream, says("after"))).length, 1);
    });

    within(
      "a stream that is cut goes on where it was, however often: none missing, none twice",
      async (world, caller) => {
        const session = await create(caller);
        let next = 1;
        for (let round = 0; round < 4; round++) {
          const stream = await caller.follow({ session, from: next });
          assert.deepEqual([stream.verdict.verdict, stream.verdict.from], ["ok", next]);
          for (let i = 0; i < 40; i++) world.say(session, text(`${round} ${i}`));
          const frames = await until(stream, says(`${round} ${round < 3 ? 20 : 39}`));
          assert.deepEqual(
            frames.map((frame) => frame.seq),
            frames.map((_, i) => next + i),
          );
          next += frames.length;
          stream.cut();
        }
      },
    );

    within("only the wanted types arrive", async (world, caller) => {
      const session = await create(caller);
      const stream = await caller.follow({ session, from: 1, types: ["stop", "usage"] });
      world.say(session, text("no"), { type: "stop", reason: "end_turn" }, text("no"), {
        type: "usage",
        input: 1,
        output: 2,
        cache_read: 0,
        cache_write: 0,
      });
      assert.deepEqual(
        (await until(stream, (frame) => frame.type === "usage")).map((frame) => frame.type),
        ["stop", "usage"],
      );
      await assert.rejects(caller.follow({ session, types: ["nonsense"] }), refusedWith("bad_request"));
    });

    within("no frame is longer than max_bytes; a text arrives in pieces that join", async (world, caller) => {
      const session = await create(caller);
      const stream = await caller.follow({ session, max_bytes: way.leastBytes });
      const long = "語🙂x".repeat(1000);
      world.say(
        session,
        text(long),
        { type: "tool.use.start", id: "t1", tool: "Write", input: { content: "y".repeat(10_000) } },
        text("end"),
      );
      let joined = "";
      for (;;) {
        const { frame, bytes } = await stream.next();
        assert.ok(bytes <= way.leastBytes, `${bytes} bytes`);
        if (frame.type === "tool.use.start") assert.ok((frame.truncated ?? 0) > 10_000);
        if (frame.type !== "text.delta") continue;
        if (frame.text === "end") break;
        joined += frame.text;
      }
      assert.equal(joined, long);
      await assert.rejects(caller.follow({ session, max_bytes: way.leastBytes - 1 }), refusedWith("bad_request"));
    });

    within(
      "what retention took is said: the verdict is gap, and frames begin where it says",
      async (world, caller) => {
        const session = await create(caller);
        world.say(session, ...PAST_RETENTION, text("last"));
        await until(await caller.follow({ session, from: 2000 }), says("last"));
        const stream = await caller.follow({ session, from: 1 });
        assert.equal(stream.verdict.verdict, "gap");
        assert.ok(stream.verdict.first > 1);
        assert.equal(stream.verdict.from, stream.verdict.first);
        assert.equal((await stream.next()).frame.seq, stream.verdict.from);
      },
      { CIB_LOG_MAX_BYTES: String(1024 * 1024) },
    );

    within("after a restart a client goes on at its next frame: none missing, none twice", async (world, caller) => {
      const session = await create(caller);
      const stream = await caller.follow({ session, from: 1 });
      world.say(session, text("a"), text("b"));
      const before = await until(stream, says("b"));
      await world.stop();
      assert.equal(await stream.ended, "stopping");
      // What the box still said while it ended belongs to the log, and so to the next stream.
      const last = before.at(-1)?.seq ?? 0;
      await world.start();
      const again = await way.connect(world, world.master);
      const rest = await again.follow({ session, from: last + 1, epoch: stream.verdict.epoch });
      assert.deepEqual([rest.verdict.verdict, rest.verdict.from], ["ok", last + 1]);
      world.say(session, text("c"));
      const after = await until(rest, says("c"));
      assert.deepEqual(
        after.map((frame) => frame.seq),
        after.map((_, i) => last + 1 + i),
      );
      again.close();
    });

    within(
      "a power loss raises the epoch, and a client that knows more than survived is told so",
      async (world, caller) => {
        const session = await create(caller);
        const stream = await caller.follow({ session, from: 1 });
        world.say(session, text("kept"), text("lost 1"), text("lost 2"), text("lost 3"));
        const last = (await until(stream, says("lost 3"))).at(-1)?.seq ?? 0;
        await world.losePower(session, 3);
        const again = await way.connect(world, world.master);
        const rest = await again.follow({ session, from: last + 1, epoch: stream.verdict.epoch });
        assert.equal(rest.verdict.verdict, "ahead");
        assert.equal(rest.verdict.from, last - 2);
        assert.ok(rest.verdict.epoch > stream.verdict.epoch);
        assert.equal((await rest.next()).frame.seq, last - 2);
        again.close();
      },
    );

    within("an input with an id happens once, also when repeated after a restart", async (world, caller) => {
      const session = await create(caller);
      const command = { cmd: "input", session, text: "once", id: "i-1" };
      const first = await caller.run(command);
      assert.equal(first["duplicate"], undefined);
      assert.equal((await caller.run(command))["duplicate"], true);
      await assert.rejects(caller.run({ ...command, text: "another" }), refusedWith("id_conflict"));
      await until(await caller.follow({ session, from: 1 }), says("heard: once"));
      await world.stop();
      await world.start();
      const again = await way.connect(world, world.master);
      const repeated = await again.run(command);
      assert.deepEqual([repeated["duplicate"], repeated["input"]], [true, first["input"]]);
      await again.run({ cmd: "input", session, text: "next" });
      await until(await again.follow({ session, from: 1 }), says("heard: next"));
      assert.deepEqual(world.prompts(session), ["once", "next"]);
      again.close();
    });

    within("a creation with an id happens once", async (_, caller) => {
      const [first, second] = [
        await caller.run({ cmd: "sessions.create", id: "c-1" }),
        await caller.run({ cmd: "sessions.create", id: "c-1" }),
      ];
      assert.equal(first["session"], second["session"]);
      assert.equal(second["duplicate"], true);
    });

    within("refusals have the code of the error table", async (_, caller) => {
      const nobody = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
      await assert.rejects(caller.run({ cmd: "sessions.get", session: nobody }), refusedWith("not_found"));
      await assert.rejects(caller.follow({ session: nobody }), refusedWith("not_found"));
      const session = await create(caller);
      await assert.rejects(caller.run({ cmd: "input", session, text: "" }), refusedWith("bad_request"));
      await assert.rejects(caller.run({ cmd: "resize", session, cols: 0, rows: 5 }), refusedWith("bad_request"));
    });

    within("a wrong token gets nothing, a narrow one only what it covers", async (world, caller) => {
      const session = await create(caller);
      const other = await create(caller);
      await assert.rejects(
        way.connect(world, "wrong-token-of-at-least-32-characters").then((no) => no.run({ cmd: "sessions.list" })),
        refusedWith("unauthorized"),
      );
      const made = await caller.run({
        cmd: "tokens.create",
        label: "phone",
        scopes: ["sessions:read"],
        sessions: [session],
      });
      const phone = await way.connect(world, String(made["token"]));
      assert.equal((await phone.follow({ session })).verdict.verdict, "ok");
      await assert.rejects(phone.run({ cmd: "input", session, text: "x" }), refusedWith("forbidden"));
      await assert.rejects(phone.follow({ session: other }));
      phone.close();
    });

    within("a revoked token's stream ends at once and says why", async (world, caller) => {
      const session = await create(caller);
      const made = await caller.run({ cmd: "tokens.create", label: "phone", scopes: ["sessions:read"] });
      const phone = await way.connect(world, String(made["token"]));
      const stream = await phone.follow({ session });
      await caller.run({ cmd: "tokens.revoke", token: made["id"] });
      assert.equal(await stream.ended, "revoked");
      phone.close();
    });

    within("an expired token's stream ends when its time is over", async (world, caller) => {
      const session = await create(caller);
      const made = await caller.run({ cmd: "tokens.create", label: "guest", scopes: ["sessions:read"], ttl_s: 1 });
      const guest = await way.connect(world, String(made["token"]));
      const stream = await guest.follow({ session });
      assert.equal(await stream.ended, "expired");
      guest.close();
    });

    within("a client that stalls keeps nobody waiting, and reads on where it was", async (world, caller) => {
      const session = await create(caller);
      const stalled = await caller.follow({ session, types: ["text.delta"] });
      const lively = await caller.follow({ session, types: ["text.delta"] });
      stalled.stall();
      const word = "z".repeat(16 * 1024);
      for (let i = 0; i < 400; i++) world.say(session, text(word));
      world.say(session, text("end"));
      const seen = await until(lively, says("end"));
      assert.equal(seen.length, 401);
      stalled.resume();
      assert.deepEqual(
        (await until(stalled, says("end"))).map((frame) => frame.seq),
        seen.map((frame) => frame.seq),
      );
    });

    within("a question is answered once, by whoever is first, and everyone learns by whom", async (world, caller) => {
      const session = await create(caller);
      const made = await caller.run({ cmd: "tokens.create", label: "phone", scopes: ["sessions:answer"] });
      const phone = await way.connect(world, String(made["token"]));
      const stream = await caller.follow({ session, types: ["ask.question", "ask.answer"] });
      world.say(session, PERMISSION, { type: "status", state: "waiting_for_input", elapsed_ms: 1 });
      await until(stream, (frame) => frame.type === "ask.question");
      const asks = (await caller.run({ cmd: "asks.list", session }))["asks"] as { id: string; summary: string }[];
      assert.deepEqual(
        asks.map(({ id, summary }) => [id, summary]),
        [["t1/0", "rm -rf build"]],
      );
      const command = { cmd: "answer", session, ask: "t1/0", decision: "allow", id: "a1" };
      assert.deepEqual(await phone.run(command), {
        id: "a1",
        ask: "t1/0",
        state: "settled",
        answer: "allow",
        by: made["id"],
      });
      assert.equal((await phone.run(command))["duplicate"], true);
      await assert.rejects(caller.run({ ...command, decision: "deny", id: "a2" }), refusedWith("ask_settled"));
      await assert.rejects(phone.run({ ...command, decision: "deny" }), refusedWith("id_conflict"));
      const [answer] = (await until(stream, (frame) => frame.type === "ask.answer")) as { by?: string }[];
      assert.equal(answer?.by, made["id"]);
      assert.deepEqual(world.settled(session), [["t1", { behavior: "allow" }]]);
      phone.close();
    });

    within("a token that may only read answers nothing", async (world, caller) => {
      const session = await create(caller);
      const made = await caller.run({ cmd: "tokens.create", label: "reader", scopes: ["sessions:read"] });
      const reader = await way.connect(world, String(made["token"]));
      world.say(session, PERMISSION);
      await assert.rejects(
        reader.run({ cmd: "answer", session, ask: "t1/0", decision: "allow" }),
        refusedWith("forbidden"),
      );
      assert.deepEqual(world.settled(session), []);
      reader.close();
    });

    within("a question that a restart interrupted is lost, and says so to a late answer", async (world, caller) => {
      const session = await create(caller);
      world.say(session, PERMISSION);
      const stream = await caller.follow({ session, from: 1 });
      await until(stream, (frame) => frame.type === "ask.question");
      await world.stop();
      await world.start();
      const back = await way.connect(world, world.master);
      const frames = await until(await back.follow({ session, from: 1 }), (frame) => frame.type === "ask.answer");
      assert.equal((frames.at(-1) as { by?: string }).by, "lost");
      await assert.rejects(
        back.run({ cmd: "answer", session, ask: "t1/0", decision: "allow" }),
        refusedWith("ask_settled"),
      );
      back.close();
    });

    within("model, effort and mode are switched and confirmed", async (_, caller) => {
      const session = await create(caller);
      assert.deepEqual(await caller.run({ cmd: "model", session, model: "opus" }), { model: "opus" });
      assert.deepEqual(await caller.run({ cmd: "effort", session, effort: "low" }), { effort: "low" });
      assert.deepEqual(await caller.run({ cmd: "mode", session, mode: "plan" }), { mode: "plan" });
      await assert.rejects(caller.run({ cmd: "mode", session, mode: "yolo" }), refusedWith("bad_request"));
    });

    within("send waits for the end of the turn and returns what was said", async (_, caller) => {
      const session = await create(caller);
      const reply = await caller.run({ cmd: "send", session, text: "question" });
      assert.match(JSON.stringify(reply["messages"]), /heard: question/);
    });
  });
}
