import assert from "node:assert/strict";
import { test } from "node:test";
import { COMMANDS } from "../../../src/control/commands.ts";
import { openapi } from "../../../src/transport/http/openapi.ts";
import { ROUTES } from "../../../src/transport/http/routes.ts";

type Operation = {
  operationId: string;
  parameters?: { name: string; in: string }[];
  requestBody?: object;
  security?: unknown[];
  responses: Record<string, unknown>;
};
const described = openapi() as { openapi: string; paths: Record<string, Record<string, Operation>> };

test("every route is described once, with its parameters, and under a name of its own", () => {
  const names = new Set<string>();
  for (const route of ROUTES) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    const operation = described.paths[path]?.[route.method.toLowerCase()];
    assert.ok(operation, `${route.method} ${route.path}`);
    names.add(operation.operationId);
    const inPath = (operation.parameters ?? [])
      .filter((parameter) => parameter.in === "path")
      .map((parameter) => parameter.name);
    assert.deepEqual(
      inPath,
      Array.from(route.path.matchAll(/:(\w+)/g), ([, name]) => name),
    );
    const inQuery = (operation.parameters ?? [])
      .filter((parameter) => parameter.in === "query")
      .map((parameter) => parameter.name);
    assert.deepEqual(inQuery, Object.keys("query" in route ? route.query : {}));
    assert.equal(operation.requestBody !== undefined, "body" in route);
    assert.equal(operation.security !== undefined, "open" in route);
  }
  assert.equal(names.size, ROUTES.length);
  assert.equal(described.openapi, "3.1.0");
});

test("every command has a route, so that nothing works over WebSocket alone", () => {
  const routed = new Set<string>(ROUTES.map((route) => route.does));
  assert.deepEqual(
    Object.keys(COMMANDS).filter((command) => !routed.has(command)),
    [],
  );
});

test("the description is plain JSON and the same each time", () => {
  assert.equal(JSON.stringify(openapi()), JSON.stringify(JSON.parse(JSON.stringify(openapi()))));
});

test("the fields of a body are those of its command, without the ones in the path", () => {
  const input = described.paths["/api/sessions/{session}/input"]?.["post"]?.requestBody as {
    content: Record<string, { schema: { properties: object } }>;
  };
  assert.deepEqual(Object.keys(input.content["application/json"]?.schema.properties ?? {}), [
    "id",
    "text",
    "data",
    "encoding",
    "keys",
  ]);
});
