import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FrameBody } from "../../src/frame/frame.ts";
import { LIMIT_MARGIN_MS, Limit } from "../../src/session/limit.ts";

const status = (state: "idle" | "working" | "waiting_for_input" | "stopped", limit?: number): FrameBody => ({
  type: "status",
  state,
  elapsed_ms: 5,
  ...(limit === undefined ? {} : { limit_resets_at: limit }),
});
const after = (...frames: readonly FrameBody[]): Limit => {
  const limit = new Limit();
  for (const frame of frames) limit.take(frame);
  return limit;
};

describe("a session's usage limit", () => {
  it("is over a little after the reset, once", () => {
    const limit = after(status("working"), status("waiting_for_input", 1_000_000));
    assert.equal(limit.due, 1_000_000 + LIMIT_MARGIN_MS);
    assert.equal(limit.over(1_000_000), false);
    assert.equal(limit.over(1_000_000 + LIMIT_MARGIN_MS), true);
    assert.equal(limit.over(1_000_000 + LIMIT_MARGIN_MS), false);
    assert.equal(limit.due, undefined);
  });

  it("is waited for without Claude, until Claude is back", () => {
    const limit = after(status("waiting_for_input", 1_000_000), status("stopped"), { type: "stop", reason: "exit" });
    assert.equal(limit.resetsAt, 1_000_000);
    assert.equal(limit.over(2_000_000), true);
    assert.equal(limit.resetsAt, undefined);
  });

  it("ends with whatever the session does next, and with a cancel", () => {
    for (const next of [status("working"), status("idle"), status("waiting_for_input")])
      assert.equal(after(status("waiting_for_input", 1), next).due, undefined);
    const limit = after(status("waiting_for_input", 1));
    assert.deepEqual([limit.cancel(), limit.cancel()], [true, false]);
    assert.equal(limit.over(Number.MAX_SAFE_INTEGER), false);
  });

  it("is none where no reset is known", () => {
    const limit = after({ type: "error", code: "usage_limit", message: "reached" }, status("idle"));
    assert.deepEqual([limit.due, limit.resetsAt, limit.cancel()], [undefined, undefined, false]);
  });
});
