/** The budget: the figures that do not depend on how busy the machine is are kept in every run of the tests. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { measure } from "../../bench/bundle.ts";
import { exceeded, type Limit } from "../../bench/question.ts";
import { median, num, quantile } from "../../bench/stats.ts";

const BUDGET = fileURLToPath(new URL("../../bench/budget.json", import.meta.url));
const limits = JSON.parse(readFileSync(BUDGET, "utf8")) as Record<string, Limit>;

test("the bundle keeps its budget", () => {
  assert.deepEqual(exceeded({ "bundle.bytes": measure().bytes }, limits), []);
});

test("the client that a page loads keeps its budget", () => {
  const { bytes, gzip } = measure("client/client.mjs");
  assert.deepEqual(exceeded({ "bundle.client_bytes": bytes, "bundle.client_gzip": gzip }, limits), []);
  // What is not in the table would be within it whatever it were.
  assert.equal(exceeded({ "bundle.client_bytes": 1e9, "bundle.client_gzip": 1e9 }, limits).length, 2);
});

test("the bundle's parts add up to the bundle", () => {
  const { bytes, inputs } = measure();
  const sum = inputs.reduce((total, [, part]) => total + part, 0);
  // The last line has no newline to be charged for.
  assert.ok(Math.abs(sum - bytes) <= 1, `${sum} of ${bytes}`);
  assert.ok((inputs.find(([name]) => name === "src/frame/codec.ts")?.[1] ?? 0) > 1000);
});

test("a figure above its limit is named with both", () => {
  const limit = { "a.b": { max: 10, unit: "ms" } };
  assert.deepEqual(exceeded({ "a.b": 10, "a.c": 99 }, limit), []);
  assert.deepEqual(exceeded({ "a.b": 11 }, limit), ["a.b: 11 ms, the limit is 10"]);
});

test("a figure below its least is named with both", () => {
  const limit = { "a.b": { min: 0.6, unit: "of the clear one" } };
  assert.deepEqual(exceeded({ "a.b": 0.6 }, limit), []);
  assert.deepEqual(exceeded({ "a.b": 0.5 }, limit), ["a.b: 0.5 of the clear one, the least is 0.6"]);
});

test("a median is a value that was measured", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.95), 10);
  assert.throws(() => median([]), RangeError);
});

test("numbers are written with three digits and grouped", () => {
  assert.deepEqual(
    [0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567].map((n) => num(n)),
    ["0.12", "1.23", "12.3", "123", "1,235", "1,234,567"],
  );
});
