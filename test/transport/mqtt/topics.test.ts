import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SCOPES, type Scope } from "../../../src/auth/scopes.ts";
import type { SessionId } from "../../../src/frame/frame.ts";
import { matches } from "../../../src/transport/mqtt/client.ts";
import {
  formatTopic,
  type Guest,
  isFilter,
  MAX_LEVELS,
  MAX_TOPIC_BYTES,
  mayFilter,
  mayHear,
  maySay,
  parseTopic,
  TOPIC_TYPES,
  type Topic,
} from "../../../src/transport/mqtt/topics.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab" as SessionId;
const OTHER = "0190f0c2-7a11-7c33-9a55-1234567890ac" as SessionId;
const KEY = "00112233445566ff";

const session = fc.constantFrom(SESSION, OTHER);
const client = fc.stringMatching(/^[\w.:-]{1,64}$/);
const topics: fc.Arbitrary<Topic> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("frames" as const, "json" as const),
    session,
    type: fc.constantFrom(...TOPIC_TYPES),
  }),
  fc.record({ kind: fc.constant("status" as const), session }),
  fc.record({ kind: fc.constant("cmd" as const), session }),
  fc.constant({ kind: "cmd" } as const),
  fc.constant({ kind: "online" } as const),
  fc.record({ kind: fc.constantFrom("sessions" as const, "reply" as const), client }),
  fc.record({ kind: fc.constant("attach" as const), client, session }),
  fc.record({ kind: fc.constantFrom("up" as const, "down" as const), key: fc.stringMatching(/^[0-9a-f]{16}$/) }),
);

function guest(scopes: readonly Scope[] = SCOPES, sessions?: SessionId[], ended = new AbortController()): Guest {
  const who = {
    name: "0011223344556677",
    label: "phone",
    scopes: new Set(scopes),
    ended: ended.signal,
    ...(sessions && { sessions: new Set(sessions) }),
  };
  return { clientId: "0011223344556677-phone", who };
}
const LINK: Guest = { clientId: `${KEY}-lamp`, who: undefined, link: KEY };

/** A filter made of a topic: some levels become `+`, and from some place on all is `#`. */
const filterOf = (topic: string) =>
  fc
    .tuple(fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), fc.integer({ min: 0, max: 6 }))
    .map(([plus, rest]) => {
      const levels = topic.split("/").map((level, i) => (plus[i] ? "+" : level));
      return rest <= levels.length ? [...levels.slice(0, rest), "#"].join("/") : levels.join("/");
    });

describe("topics", () => {
  test("every topic of the table is read as what it was written", () => {
    fc.assert(
      fc.property(topics, fc.constantFrom("cib", "cib/kitchen"), (topic, root) => {
        const text = formatTopic(topic, root);
        assert.ok(text.length <= MAX_TOPIC_BYTES);
        assert.deepEqual(parseTopic(text, root), { ...topic });
      }),
    );
  });

  test("what is read writes itself again, and every other text is no topic", () => {
    const level = fc.oneof(
      fc.constantFrom("cib", "client", "link", "up", "down", "cmd", "online", "status", "frames", "json", SESSION, KEY),
      fc.constantFrom("reply", "sessions", "pty.raw", "text.delta", "+", "#", "", "__proto__", "constructor"),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(level, { maxLength: 6 }), (levels) => {
        const text = levels.join("/");
        const topic = parseTopic(text);
        if (topic !== undefined) assert.equal(formatTopic(topic), text);
      }),
      { numRuns: 2000 },
    );
    for (const no of ["cib", "cib/", "cib/cmd/", "/cib/cmd", `cib/${SESSION}/frames/pty.raw`, `cib/${SESSION}/frames`])
      assert.equal(parseTopic(no), undefined, no);
    assert.equal(parseTopic(`cib/${SESSION.toUpperCase()}/status`), undefined);
    assert.equal(parseTopic(`cib/client/${"x".repeat(65)}/reply`), undefined);
  });

  test("a filter is allowed exactly where it can match something that may be heard", () => {
    const guests = fc.constantFrom(guest(), guest(["sessions:read"], [SESSION]), guest(["sessions:answer"]), LINK);
    const own = fc.oneof(
      topics,
      fc.constantFrom<Topic>(
        { kind: "reply", client: "0011223344556677-phone" },
        { kind: "sessions", client: "0011223344556677-phone" },
        { kind: "attach", client: "0011223344556677-phone", session: SESSION },
        { kind: "down", key: KEY },
      ),
    );
    fc.assert(
      fc.property(
        own.chain((topic) => fc.tuple(fc.constant(topic), filterOf(formatTopic(topic)))),
        guests,
        ([topic, filter], who) => {
          assert.ok(matches(filter, formatTopic(topic)), filter);
          if (mayHear(who, topic)) assert.equal(mayFilter(who, filter), true, filter);
          // Without wildcards the two are the same question.
          if (filter === formatTopic(topic)) assert.equal(mayFilter(who, filter), mayHear(who, topic), filter);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("what comes in is heard by nobody, whatever the wildcards", () => {
    for (const who of [guest(), LINK])
      for (const topic of ["cib/cmd", `cib/${SESSION}/cmd`, `cib/link/${KEY}/up`]) {
        assert.equal(mayFilter(who, topic), false, topic);
        assert.equal(mayHear(who, parseTopic(topic) as Topic), false, topic);
      }
  });

  test("a token bound to one session hears of no other", () => {
    const bound = guest(SCOPES, [SESSION]);
    for (const kind of ["status", "attach"] as const) {
      const of = (id: SessionId): Topic =>
        kind === "status" ? { kind, session: id } : { kind, session: id, client: bound.clientId };
      assert.equal(mayHear(bound, of(SESSION)), true);
      assert.equal(mayHear(bound, of(OTHER)), false);
    }
    assert.equal(mayFilter(bound, `cib/${OTHER}/frames/+`), false);
    assert.equal(mayFilter(bound, "cib/+/frames/+"), true);
  });

  test("nobody hears another client's topics, a link hears its own way down and nothing else", () => {
    for (const kind of ["reply", "sessions"] as const)
      assert.equal(mayHear(guest(), { kind, client: "0011223344556677-other" }), false);
    assert.equal(mayHear(LINK, { kind: "down", key: KEY }), true);
    assert.equal(mayHear(LINK, { kind: "down", key: "ff".repeat(8) }), false);
    assert.equal(mayHear(LINK, { kind: "online" }), false);
    assert.equal(mayFilter(LINK, "#"), true);
    assert.equal(mayFilter(LINK, "cib/online"), false);
    assert.equal(mayHear(guest(), { kind: "down", key: KEY }), false);
  });

  test("commands are said by who is in, never retained; a link says nothing but its own way up", () => {
    const say = (who: Guest, text: string, retain = false) => maySay(who, parseTopic(text), retain);
    assert.equal(say(guest([]), "cib/cmd"), true);
    assert.equal(say(guest(), `cib/${SESSION}/cmd`), true);
    assert.equal(say(guest(), "cib/cmd", true), false);
    assert.equal(say(LINK, "cib/cmd"), false);
    assert.equal(say(LINK, `cib/link/${KEY}/up`), true);
    assert.equal(say(LINK, `cib/link/${KEY}/up`, true), false);
    assert.equal(say(LINK, `cib/link/${"ff".repeat(8)}/up`), false);
    for (const out of ["cib/online", `cib/${SESSION}/status`, `cib/${SESSION}/frames/stop`, "home/light", "$SYS/x"])
      assert.equal(say(guest(), out), false, out);
  });

  test("whose token has ended hears and says nothing more", () => {
    const ended = new AbortController();
    const gone = guest(SCOPES, undefined, ended);
    ended.abort("revoked");
    assert.equal(mayHear(gone, { kind: "status", session: SESSION }), false);
    assert.equal(mayHear(gone, { kind: "online" }), false);
    assert.equal(maySay(gone, { kind: "cmd" }, false), false);
    assert.equal(mayFilter(gone, "#"), false);
  });

  test("filters that are malformed, too long or too deep are none", () => {
    for (const bad of ["", "a/#/b", "a#", "+a/b", "a\0", "x".repeat(MAX_TOPIC_BYTES + 1), "a/".repeat(MAX_LEVELS)])
      assert.equal(isFilter(bad), false, bad);
    for (const good of ["#", "+", "+/#", "cib/+/frames/+", "/", "a//b"]) assert.equal(isFilter(good), true, good);
  });
});
