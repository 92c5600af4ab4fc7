/** Commands: what is taken, what is refused, and that a refusal names the field and never repeats a secret. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { COMMANDS, parseAttach, parseCommand } from "../../src/control/commands.ts";
import { MAX_COMMAND_ID_BYTES, MAX_INPUT_BYTES } from "../../src/control/fields.ts";
import { CibError } from "../../src/errors.ts";

const SESSION = "0190f0c2-7a11-7c33-9a55-1234567890ab";

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    assert.ok(thrown instanceof CibError, String(thrown));
    assert.equal(thrown.code, "bad_request");
    return thrown.message;
  }
  return "taken";
}

test("a good command comes out as it went in", () => {
  const command = { cmd: "input", session: SESSION, text: "hello\nworld\tüñ漢", id: "a" };
  assert.deepEqual(parseCommand(command), command);
  assert.deepEqual(parseCommand({ cmd: "sessions.list" }), { cmd: "sessions.list" });
});

test("a refusal names the field and what arrived", () => {
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: "x", text: "a" })),
    /^session: expected a session id/,
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "resize", session: SESSION, cols: "80", rows: 1 })),
    /^cols: expected number, got "80"/,
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "fly" })),
    /^cmd: expected one of .*sessions.list.*, got "fly"/,
  );
  assert.match(
    refusal(() => parseCommand([1])),
    /expected an object, got an array/,
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "sessions.get", session: SESSION, extra: 1 })),
    /extra/,
  );
});

test("an input is exactly one of text, data and keys", () => {
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION })),
    /exactly one of text, data, keys, got none/,
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, text: "a", data: "b" })),
    /got text and data/,
  );
  assert.equal(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, keys: ["Escape", "Enter"] })),
    "taken",
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, keys: ["Panic"] })),
    /keys/,
  );
});

test("a text that would steer the terminal is refused", () => {
  for (const bad of ["a\x1b[201~b", "\x03", "a\x00", "\x9b2J", "   \n "]) {
    assert.match(
      refusal(() => parseCommand({ cmd: "input", session: SESSION, text: bad })),
      /^text: /,
      JSON.stringify(bad),
    );
  }
});

test("what could mean two things, or pass for an option, is refused", () => {
  const create = (more: object) => refusal(() => parseCommand({ cmd: "sessions.create", ...more }));
  assert.match(create({ model: "--dangerously" }), /^model: /);
  assert.match(create({ title: "a\u001b[31mb" }), /^title: holds control characters/);
  assert.match(create({ title: "a\ud800" }), /^title: not well-formed/);
  assert.match(create({ env: { A: "x\0y" } }), /^env\.A: holds a NUL/);
  assert.equal(create({ model: "claude-sonnet-4-6[1m]", title: "größe 漢", env: { A: "x\ny" } }), "taken");
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, text: "a\ud800" })),
    /^text: not well-formed/,
  );
  for (const cols of [0, 1, 1001, 1e9]) {
    assert.match(
      refusal(() => parseCommand({ cmd: "resize", session: SESSION, cols, rows: 40 })),
      /^cols: expected at (least 2|most 1000)/,
    );
  }
});

test("limits count UTF-8 bytes", () => {
  const text = "ü".repeat(MAX_INPUT_BYTES / 2);
  assert.equal(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, text })),
    "taken",
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, text: `${text}x` })),
    /^text: longer than/,
  );
  assert.match(
    refusal(() => parseCommand({ cmd: "input", session: SESSION, text: "a", id: "é".repeat(MAX_COMMAND_ID_BYTES) })),
    /^id: longer than/,
  );
});

test("a message never shows more than the beginning of a wrong value", () => {
  const secret = "sk-ant-".padEnd(600, "x");
  assert.equal(
    refusal(() => parseCommand({ cmd: "sessions.create", auth: { mode: "api_key", key: secret } })).includes(
      secret.slice(0, 40),
    ),
    false,
  );
});

test("an attach below the least max_bytes is refused with that number", () => {
  assert.match(
    refusal(() => parseAttach({ session: SESSION, max_bytes: 100 })),
    /max_bytes.*128/,
  );
  assert.deepEqual(parseAttach({ session: SESSION, from: 0, types: ["stop"] }), {
    session: SESSION,
    from: 0,
    types: ["stop"],
  });
});

test("whatever arrives, it is taken or refused as bad_request, and never anything else", () => {
  const value = fc.oneof(
    fc.anything(),
    fc.constant(SESSION),
    fc.string(),
    fc.nat(),
    fc.constantFrom("__proto__", "constructor"),
  );
  const keys = [
    "session",
    "text",
    "data",
    "id",
    "keys",
    "cols",
    "rows",
    "auth",
    "env",
    "types",
    "from",
    "scopes",
    "label",
    "__proto__",
  ];
  const command = fc.record({
    cmd: fc.oneof(fc.constantFrom(...Object.keys(COMMANDS)), value),
    extra: fc.dictionary(fc.constantFrom(...keys), value),
  });
  fc.assert(
    fc.property(command, ({ cmd, extra }) => {
      refusal(() => parseCommand({ cmd, ...extra }));
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.anything(), (any) => void [refusal(() => parseCommand(any)), refusal(() => parseAttach(any))]),
  );
});
