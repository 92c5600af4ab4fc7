/** The command line, tested: what is asked for is done or refused with a reason, and the exit code says which. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../src/cli/serve.ts";
import type { Daemon } from "../../src/daemon.ts";
import { FileError } from "../../src/files.ts";
import { HELP, main } from "../../src/main.ts";
import { stage } from "./stage.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const NEVER = new AbortController().signal;

describe("cib", () => {
  for (const args of [["--help"], ["-h"], ["help"], ["serve", "--help"], ["token", "create", "--help"]]) {
    test(`${args.join(" ")} shows the help`, async () => {
      const io = stage();
      assert.equal(await main(args, io, NEVER), 0);
      assert.equal(io.said.out, HELP);
    });
  }

  for (const [args, message] of [
    [[], /expected a command/],
    [["start"], /no command "start"/],
    [["toString"], /no command "toString"/],
    [["serve", "--port", "80"], /Unknown option '--port'/],
    [["serve", "now"], /what to do with "now"/],
    [["doctor", "all"], /what to do with "all"/],
    [["attach", "--token", "secret"], /--token: every user of this machine/],
    [["token", "list", "--token=secret"], /--token: every user of this machine/],
  ] as const) {
    test(`"${args.join(" ")}" is refused with a reason and exit code 2`, async () => {
      const io = stage();
      assert.equal(await main(args, io, NEVER), 2);
      assert.match(io.said.err, message);
      assert.doesNotMatch(io.said.err, /secret/);
      assert.equal(io.said.out, "");
    });
  }

  test("what does not work is told in one line and exit code 1", async () => {
    const io = stage({ CIB_URL: "http://127.0.0.1:1" });
    assert.equal(await main(["token", "list"], io, NEVER), 1);
    assert.match(io.said.err, /^cib: no token for .*\n$/);
  });

  test("a fault of ours is not dressed up as the caller's", async () => {
    const io = { ...stage({ CIB_TOKEN: "x" }), err: () => assert.fail("boom") };
    await assert.rejects(main(["token", "list", "--url", "http://elsewhere.example"], io, NEVER), /boom/);
  });

  test("the help names every command that there is", () => {
    for (const command of ["serve", "attach", "token", "doctor"]) assert.match(HELP, new RegExp(`cib ${command}`));
  });

  test("the bundle runs by itself and knows its version", () => {
    const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as { version: string };
    const said = execFileSync(process.execPath, [`${ROOT}/dist/cib.mjs`, "--version"], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] },
    });
    assert.equal(said, `${version}\n`);
  });
});

describe("cib serve", () => {
  const refused = async (env: Record<string, string>, start: () => Promise<never>) => {
    const io = stage({ CIB_AUTH_TOKEN: "0123456789abcdef0123456789abcdef", ...env });
    return assert.rejects(serve([], io, NEVER, start), (failure: Error) => {
      assert.equal(failure.name, "Failure");
      refused.message = failure.message;
      return true;
    });
  };
  refused.message = "";
  const failing = (code: string) => async () => {
    throw Object.assign(new Error(`listen ${code}`), { code });
  };

  test("without a token it refuses to start and says how to make one", async () => {
    await refused({ CIB_AUTH_TOKEN: "" }, failing("unreached"));
    assert.match(refused.message, /CIB_AUTH_TOKEN: not set.*openssl rand/);
  });

  test("every further listener that is up is told, with the port that it really has", async () => {
    const io = stage({
      CIB_AUTH_TOKEN: "x".repeat(32),
      CIB_DATA: mkdtempSync(join(tmpdir(), "cib-serve-")),
      CIB_TCP_LISTEN: "127.0.0.1:0",
      CIB_MQTT_LISTEN: "off",
      CIB_MQTTS_LISTEN: "[::1]:0",
    });
    const daemon = { url: "http://127.0.0.1:1", port: 1, tcpPort: 4711, mqttsPort: 4713, isolation: "uid", notes: [] };
    const start = async () => ({ ...daemon, stop: async () => {} }) as unknown as Daemon;
    assert.equal(await serve([], io, AbortSignal.abort(), start), 0);
    const lines = io.said.err.split("\n").filter((line) => / on /.test(line) && !/^note/.test(line));
    assert.match(lines[0] ?? "", /listens on http:\/\/127.0.0.1:1$/);
    assert.deepEqual(lines.slice(1), ["raw TCP on 127.0.0.1:4711", "MQTT over TLS on [::1]:4713"]);
  });

  test("a taken port is named with a way out", async () => {
    await refused({ CIB_LISTEN: "127.0.0.1:8080" }, failing("EADDRINUSE"));
    assert.match(refused.message, /port 8080 on 127.0.0.1 is taken.*CIB_LISTEN=127.0.0.1:8081/);
  });

  test("a file that is not understood is told in one sentence", async () => {
    await refused({}, () => Promise.reject(new FileError("/data/box.json", new SyntaxError("x"), "move it away")));
    assert.equal(refused.message, "/data/box.json: not understood (it is no JSON); move it away");
  });

  test("a full disk is told as what it is", async () => {
    await refused({}, failing("ENOSPC"));
    assert.match(refused.message, /^CIB_DATA is full: free some space/);
  });

  test("folders that cannot be written are told", async () => {
    await refused({}, failing("EACCES"));
    assert.match(refused.message, /cannot start: .*cib doctor/);
  });
});
