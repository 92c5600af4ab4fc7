/** The documents name everything that the code has. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { SCOPES } from "../src/auth/scopes.ts";
import { COMMANDS } from "../src/control/commands.ts";
import { KEYS } from "../src/control/fields.ts";
import { TYPES } from "../src/frame/registry.ts";
import { ROUTES } from "../src/transport/http/routes.ts";

/** A document, with the padding of its tables taken out. */
const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8").replace(/ +/g, " ");

test("every route, scope and setting is in HTTP-API.md", () => {
  const text = read("docs/HTTP-API.md");
  for (const { method, path } of ROUTES) assert.ok(text.includes(`| ${method} ${path} |`), `${method} ${path}`);
  for (const scope of SCOPES) assert.ok(text.includes(scope), scope);
  const settings = read("src/config.ts").match(/^ ((CIB|ANTHROPIC|CLAUDE)_[A-Z_]+):/gm) ?? [];
  assert.ok(settings.length > 15);
  for (const name of settings) assert.ok(text.includes(name.trim().slice(0, -1)), name);
});

test("every frame type with its fields and every command is in PROTOCOL.md", () => {
  const text = read("docs/PROTOCOL.md");
  for (const [name, { fields }] of Object.entries(TYPES)) {
    const row = text.split("\n").find((line) => line.startsWith(`| ${name} |`));
    assert.ok(row, name);
    for (const field of Object.keys(fields)) assert.ok(row.includes(field), `${name}.${field}`);
  }
  for (const name of Object.keys(COMMANDS)) assert.ok(text.includes(name), name);
  for (const name of Object.keys(KEYS)) assert.ok(text.includes(name) || /^Ctrl\+[CDLORTU]$/.test(name), name);
});

test("every link between the documents leads somewhere", () => {
  for (const file of [
    "README.md",
    ...["PROTOCOL", "AES-TRANSPORT", "HTTP-API", "ARCHITECTURE", "HOOKS", "TAP", "OPERATIONS", "SECURITY"].map(
      (name) => `docs/${name}.md`,
    ),
  ]) {
    for (const [, target = ""] of read(file).matchAll(/\]\(([^)#:]+)\)/g)) {
      const path = file.startsWith("docs/") ? `docs/${target}` : target;
      assert.doesNotThrow(() => read(path), `${file} → ${target}`);
    }
  }
});
