/** The README's examples, typed as they stand there, against a real box on the demo's model. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { startModel } from "../../src/demo/model.ts";
import { demoScript } from "../../src/demo/script.ts";
import { ROUTES } from "../../src/transport/http/routes.ts";
import { MASTER, TestBox } from "./box.ts";

const README = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
/** Two sessions and two turns on a loaded two-core machine. */
const DEADLINE_MS = 120_000;

const sections = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, code = ""]) => code);

test("the shell examples do what they say", async () => {
  await using model = await startModel(demoScript);
  await using box = await TestBox.start({ model: model.url });
  assert.equal(sections.length, 2);
  const typed = sections
    .join("\n")
    .replace("export CIB_TOKEN=…", `export CIB_TOKEN=${MASTER}`)
    .replaceAll("http://127.0.0.1:8080", box.url)
    // The five seconds that the example looks at the events are the only ones that have no other end.
    .replace(/^(cib -N -m 5 .*)$/m, "$1 || [ $? = 28 ]");
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", typed], { timeout: DEADLINE_MS });
  assert.doesNotMatch(stdout, /"error":/);
  assert.match(stdout, /"state":"accepted"/);
  assert.match(stdout, /"type":"text\.delta"/);
  assert.match(stdout, /"answer":"allow","by":"master","state":"settled"/);
  assert.match(stdout, /"model":"[^"]*opus/i);
});

test("every route that the table of steering names exists", () => {
  const table = README.slice(README.indexOf("## Steering"), README.indexOf("## The way"));
  const named = [
    ...table.matchAll(/(GET|POST|PUT|DELETE)(?:, (GET|DELETE))? (\/api\/[\w/:]+)((?:, \/\w+(?:\/\w+)?)*)/g),
  ];
  assert.ok(named.length >= 12);
  for (const [, method = "", other, path = "", more = ""] of named) {
    const wanted = path.replace(":id", ":session");
    const base = wanted.slice(0, wanted.lastIndexOf("/"));
    const paths = [
      wanted,
      ...more
        .split(", ")
        .filter((part) => part !== "")
        .map((part) => (part.startsWith("/api") ? part : base + part)),
    ];
    for (const each of paths)
      for (const verb of [method, ...(other === undefined ? [] : [other])])
        assert.ok(
          ROUTES.some((route) => route.method === verb && (route.path === each || route.path === `${each}/:input`)),
          `${verb} ${each}`,
        );
  }
});
