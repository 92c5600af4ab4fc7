/** The client's bundle: nothing in it that a page does not have, or that a strict policy forbids. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { clientBundle } from "./built.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A name on its own: no property, no part of a longer one. */
const free = (name: string) => new RegExp(`(?<![\\w$.#"'])${name}(?![\\w$"'])(?!\\s*\\([^)]*\\)\\s*\\{)`);
const FORBIDDEN: readonly (readonly [string, RegExp])[] = [
  ["a module of Node's", /["'`]node:/],
  ["an import", /\bimport\s*(?:[({"'*]|[\w$]+\s*(?:,|from\b))|\brequire\s*\(/],
  ["Buffer", free("Buffer")],
  ["Buffer of globalThis", /globalThis\s*(?:\.|\?\.)\s*(?:Buffer|process)\b/],
  ["process", free("process")],
  ["eval", free("eval")],
  ["Function", free("Function")],
];

function found(code: string): string[] {
  return FORBIDDEN.filter(([, pattern]) => pattern.test(code)).map(([what]) => what);
}

describe("the client's bundle", () => {
  test("has nothing of Node, and evaluates nothing", async () => {
    const code = await clientBundle(false);
    // Comments are gone, or they would be found; names are as they were written.
    assert.ok(code.includes("ConnectionLost") && !code.includes("/** "));
    assert.deepEqual(found(code), []);
  });

  test("is the same as it lies in dist", () => {
    assert.deepEqual(found(readFileSync(`${ROOT}/dist/client/client.mjs`, "utf8")), []);
  });

  const bad: readonly (readonly [string, string])[] = [
    ['import fs from "node:fs"', "a module of Node's"],
    ['import{x}from"./x.mjs"', "an import"],
    ['const x=await import("x")', "an import"],
    ['var x=require("x")', "an import"],
    ["x=Buffer.from(y)", "Buffer"],
    ["new Buffer(1)", "Buffer"],
    ["const B=globalThis.Buffer", "Buffer of globalThis"],
    ["if(process.env.X)y()", "process"],
    ["typeof process", "process"],
    ["eval(x)", "eval"],
    ["new Function(x)", "Function"],
  ];
  for (const [code, what] of bad) test(`${code} would be found`, () => assert.ok(found(code).includes(what)));

  test("names that only look alike are left alone", () => {
    assert.deepEqual(found("this.process(x);class H{process(a,b){}};new ArrayBuffer(1);x.Buffer;isFunction(1)"), []);
  });
});
