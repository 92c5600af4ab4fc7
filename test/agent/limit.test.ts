import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { limitIn, resetIn } from "../../src/agent/usage-limit.ts";
import type { Turn } from "../../src/demo/model.ts";
import { ALL_VERSIONS, offlineReason, PINNED } from "../e2e/claude-versions.ts";
import { type Rig, startRig, textOf } from "./rig.ts";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const TOKEN = { mode: "subscription", token: "sk-ant-oat01-dummy-0123456789" } as const;
const at = (iso: string): number => Date.parse(iso);

describe("the words of a usage limit", () => {
  const now = at("2026-11-23T21:52:00Z");
  const known: readonly (readonly [string, string])[] = [
    ["You've hit your session limit · resets 1:26am (Europe/Berlin)", "2026-11-24T00:27:00Z"],
    ["You've hit your 5-hour limit · resets 3pm (America/New_York)", "2026-11-24T20:01:00Z"],
    ["You've hit your weekly limit · resets Nov 27, 1:26am (Europe/Berlin)", "2026-11-27T00:27:00Z"],
    ["You've hit your Opus limit · resets 11:30pm (UTC)", "2026-11-23T23:31:00Z"],
    ["You're out of extra usage · resets Dec 1, 12am (Asia/Kolkata)", "2026-11-30T18:31:00Z"],
    ["You've hit your limit · resets 12pm (Pacific/Auckland)", "2026-11-23T23:01:00Z"],
    ["Claude AI usage limit reached|1795480002", "2026-11-24T00:26:42Z"],
    ["You've hit your usage limit · resets 4am", "2026-11-24T04:01:00Z"],
  ];
  for (const [words, reset] of known)
    it(`"${words}" is over when that minute is`, () => {
      assert.deepEqual(limitIn(words, now, "UTC"), { resetsAt: at(reset) });
    });

  it("the year turns, and summer time ends", () => {
    const words = "You've hit your weekly limit · resets Jan 2, 2027, 9am (UTC)";
    assert.deepEqual(limitIn(words, at("2026-12-28T12:00:00Z"), "UTC"), { resetsAt: at("2027-01-02T09:01:00Z") });
    const bare = "You've hit your weekly limit · resets Jan 2, 9am (UTC)";
    assert.deepEqual(limitIn(bare, at("2026-12-28T12:00:00Z"), "UTC"), { resetsAt: at("2027-01-02T09:01:00Z") });
    const autumn = "You've hit your session limit · resets 5am (Europe/Berlin)";
    assert.deepEqual(limitIn(autumn, at("2026-10-24T23:30:00Z"), "UTC"), { resetsAt: at("2026-10-25T04:01:00Z") });
  });

  it("no time, one that is no time and one that is too far off are unknown; other failures are no limit", () => {
    for (const words of [
      "You've hit your session limit",
      "You've hit your session limit · resets soon",
      "You've hit your session limit · resets 3pm (Middle/Earth)",
      "You've hit your session limit · resets Foo 3, 3pm (UTC)",
      "Claude AI usage limit reached|9999999999",
    ])
      assert.deepEqual(limitIn(words, now, "UTC"), {}, words);
    for (const words of [
      "API Error: Server is temporarily limiting requests (not your usage limit) · too many",
      "API Error: Request rejected (429) · This request would exceed your account's rate limit.",
      "API Error: 529 Overloaded",
    ])
      assert.equal(limitIn(words, now, "UTC"), undefined, words);
  });

  it("whatever minute it is in whatever zone, the time of day is met within a day", () => {
    const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham");
    fc.assert(
      fc.property(zones, fc.integer({ min: 1, max: 24 * 60 - 2 }), fc.nat(365 * 24 * 60), (zone, ahead, minute) => {
        const then = Math.floor(at("2026-01-01T00:00:00Z") / MINUTE_MS + minute) * MINUTE_MS;
        const reset = then + ahead * MINUTE_MS;
        const clock = new Date(reset).toLocaleTimeString("en-US", {
          timeZone: zone,
          hour: "numeric",
          minute: "2-digit",
          hour12: true,
        });
        const found = limitIn(`You've hit your session limit · resets ${clock} (${zone})`, then, "UTC")?.resetsAt;
        assert.ok(found !== undefined);
        // An hour that a change of the clock repeats or leaves out may be met at either of its two instants.
        const off = Math.abs(found - reset - MINUTE_MS);
        assert.ok(off === 0 || off === HOUR_MS || off === 23 * HOUR_MS || off === 25 * HOUR_MS, `${clock} ${zone}`);
      }),
    );
  });

  it("the API's own second counts where Claude writes it down", () => {
    const line = (resetsAt: unknown) => ({ apiErrorParams: { rate_limit_info: { resetsAt } } });
    assert.equal(resetIn(line(1795480002), now), 1795480002000);
    for (const wrong of [undefined, "soon", -1, 17, 99999999999]) assert.equal(resetIn(line(wrong), now), undefined);
  });
});

/** Reached until it is told that it is over. */
function limited(resetsAt: number): (last: string) => Turn {
  const headers = {
    "anthropic-ratelimit-unified-status": "rejected",
    "anthropic-ratelimit-unified-representative-claim": "five_hour",
    "anthropic-ratelimit-unified-reset": String(resetsAt / 1000),
  };
  return (last) =>
    last.trimEnd().endsWith("again")
      ? { blocks: [{ text: "Back again." }] }
      : { status: 429, error: "This request would exceed your account's rate limit.", headers };
}
const settled = (rig: Rig): boolean => rig.of("stop").length > 0 && rig.of("status").at(-1)?.state !== "working";

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  it(`Claude Code ${version}: a usage limit is told with its reset, waited for, and left at once by an interrupt`, {
    skip: skip ?? false,
  }, async () => {
    const resetsAt = Math.floor(Date.now() / 1000) * 1000 + 2 * HOUR_MS;
    const answer = limited(resetsAt);
    await using rig = await startRig({ version, script: ({ last }) => answer(last), spec: { credential: TOKEN } });
    await rig.agent.submit("hello", AbortSignal.timeout(30_000));
    // Asked for in the middle of the turn that meets the limit: done behind the dialog that Claude opens then.
    const switching = rig.agent.switch("model", "claude-haiku-4-5-20251001", AbortSignal.timeout(30_000));
    await rig.until(() => settled(rig), "the end of the limited turn");
    assert.deepEqual(
      rig.of("error").map(({ code }) => code),
      ["usage_limit"],
    );
    assert.match(rig.of("error")[0]?.message ?? "", /limit · resets/);
    assert.equal(rig.of("stop")[0]?.reason, "error:usage_limit");
    const waiting = rig.of("status").at(-1);
    assert.equal(waiting?.state, "waiting_for_input");
    const late = (waiting?.limit_resets_at ?? 0) - resetsAt;
    assert.ok(late >= 0 && late <= MINUTE_MS, `${late} ms after the reset`);

    // The dialog that Claude opens by itself is gone: the next text reaches the model, and nothing else was told.
    assert.equal(await switching, "claude-haiku-4-5-20251001");
    assert.equal(rig.of("status").at(-1)?.limit_resets_at, waiting?.limit_resets_at);
    const from = rig.frames.length;
    assert.equal(await rig.agent.interrupt(AbortSignal.timeout(5_000)), true);
    assert.deepEqual(rig.of("status", from), [{ type: "status", state: "idle", elapsed_ms: 0 }]);
    assert.equal(textOf(await rig.turn("try it again")), "Back again.");
    assert.deepEqual(
      rig.of("stop").map(({ reason }) => reason),
      ["error:usage_limit", "command", "end_turn"],
    );
    assert.equal(rig.model.requests.filter(({ caller }) => caller === "main").length, 2);
    assert.deepEqual(rig.faults, []);
  });
}

it("an API key that is limited is an error like any other: idle, with the reason", async () => {
  const answer = limited(Math.floor(Date.now() / 1000) * 1000 + HOUR_MS);
  const spec = { env: { CLAUDE_CODE_MAX_RETRIES: "1" } };
  await using rig = await startRig({ version: PINNED, script: ({ last }) => answer(last), spec });
  const frames = await rig.turn("hello");
  assert.deepEqual(
    rig.of("error").map(({ code }) => code),
    ["rate_limit"],
  );
  assert.deepEqual(frames.at(-1)?.type, "status");
  assert.equal(rig.of("status").at(-1)?.limit_resets_at, undefined);
});

it("a Claude that is started while a limit is waited for waits on, and an interrupt ends that", async () => {
  const limitResetsAt = Date.now() + HOUR_MS;
  const script = (): Turn => ({ blocks: [{ text: "Fine." }] });
  await using rig = await startRig({ version: PINNED, script, spec: { limitResetsAt } });
  assert.deepEqual(
    rig.of("status").map(({ state, limit_resets_at }) => [state, limit_resets_at]),
    [["waiting_for_input", limitResetsAt]],
  );
  assert.equal(await rig.agent.interrupt(AbortSignal.timeout(5_000)), true);
  assert.equal(rig.of("status").at(-1)?.state, "idle");
  assert.equal(textOf(await rig.turn("hello")), "Fine.");
});
