/** The POSIX port and its example: the boot counter, and the lamp as a person has it on the desk. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { FrameBody } from "../../src/frame/frame.ts";
import { deviceKey } from "../conformance/keys.ts";
import { openWorld, type World } from "../conformance/world.ts";
import { needs } from "../skip.ts";
import { built } from "./built.ts";
import { addressOf, type Carrier } from "./c-way.ts";
import { Program } from "./program.ts";

const run = promisify(execFile);

const ASK = {
  type: "ask.question",
  id: "t1/0",
  of: 1,
  kind: "permission",
  prompt: "Allow Bash?",
  options: [{ label: "Allow" }, { label: "Deny" }],
  multiSelect: false,
  tool: "Bash",
  summary: "rm -rf build",
} as const satisfies FrameBody;

async function inScratch(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "cib-mcu-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const MCU = fileURLToPath(new URL("../../mcu", import.meta.url));
const OURS = ["port/posix", "posix", ...["client", "codec", "boot", "lines", "told"].map((name) => `test/${name}.c`)];
const INCLUDES = ["include", "port/posix", "posix", "test"].map((folder) => `-I${folder}`);

test("clang has nothing to say about the port and the programs", needs("clang", "clang"), async () => {
  const files = OURS.flatMap((name) =>
    name.endsWith(".c")
      ? [name]
      : readdirSync(join(MCU, name))
          .filter((file) => file.endsWith(".c"))
          .map((file) => `${name}/${file}`),
  );
  const strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-pedantic"];
  const { stderr } = await run("clang", [...strict, "-Werror", "-fsyntax-only", ...INCLUDES, ...files], { cwd: MCU });
  assert.equal(stderr, "");
});

test("nor has cppcheck", needs("cppcheck", "cppcheck"), async () => {
  const what = ["--std=c99", "--enable=warning,style,performance,portability", "--suppress=missingIncludeSystem"];
  const { stderr } = await run("cppcheck", ["--quiet", "--error-exitcode=1", ...what, ...INCLUDES, ...OURS], {
    cwd: MCU,
  });
  assert.equal(stderr, "");
});

describe("the boot counter of the POSIX port", { timeout: 300_000, ...needs("gcc", "gcc") }, () => {
  const raise = async (file: string) => {
    await using program = new Program(await built("boot"), [file]);
    return program.next();
  };

  test("is raised, and on the disk, before it is used", () =>
    inScratch(async (folder) => {
      const file = join(folder, "boot");
      for (let boot = 1; boot <= 12; boot++) {
        assert.deepEqual(await raise(file), { boot, error: 0 });
        assert.equal(readFileSync(file, "utf8"), `${boot}\n`);
      }
      assert.ok(!existsSync(`${file}.new`));
      // What a power cut in the middle leaves behind does not count.
      writeFileSync(`${file}.new`, "9");
      assert.deepEqual(await raise(file), { boot: 13, error: 0 });
    }));

  test("never begins anew where its file says something else, or cannot be written", () =>
    inScratch(async (folder) => {
      const file = join(folder, "boot");
      for (const broken of ["", "x\n", "-1\n", "12", " 7\n", "4294967295\n", "99999999999999999999\n"]) {
        writeFileSync(file, broken);
        assert.equal((await raise(file))["error"], -1, JSON.stringify(broken));
        assert.equal(readFileSync(file, "utf8"), broken);
      }
      assert.equal((await raise(join(folder, "nowhere", "boot")))["error"], -1);
    }));
});

describe("cib-lamp", { timeout: 300_000, ...needs("gcc", "gcc") }, () => {
  /** The lamp in a pipe: what it has printed, and when. */
  const lamp = async (args: readonly string[], env: Readonly<Record<string, string>>) => {
    const child = spawn(await built("cib-lamp"), args, { env, stdio: "pipe" });
    let printed = "";
    let news: () => void = () => undefined;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        printed += text;
        news();
      });
    const exit = once(child, "close").then(([code]) => code as number | null);
    return {
      exit,
      printed: () => printed,
      press: (key: string) => void child.stdin.write(key),
      shows: (words: string) =>
        new Promise<void>((resolve, reject) => {
          const from = printed.length;
          news = () => {
            if (printed.slice(from).includes(words)) resolve();
          };
          void exit.then(() => reject(new Error(`it ended without showing ${words}: ${printed}`)));
        }),
    };
  };

  const credential = async (world: World, carrier: Carrier): Promise<Record<string, string>> => {
    if (carrier === "mqtt") return { CIB_TOKEN: world.master };
    const { id, secret } = await deviceKey(world);
    return { CIB_DEVICE_KEY: `${id}:${secret}` };
  };

  for (const carrier of ["tcp", "http", "mqtt", "mqtt-sealed"] as const)
    test(`shows what Claude does, and approves and denies with a key, over ${carrier}`, () =>
      inScratch(async (folder) => {
        await using world = await openWorld();
        const made = await fetch(`${world.url}/api/sessions`, {
          method: "POST",
          headers: { authorization: `Bearer ${world.master}` },
          body: "{}",
        });
        const { session } = (await made.json()) as { session: never };
        const env = { ...(await credential(world, carrier)), CIB_STATE: join(folder, "boot") };
        // Without a session it finds the one there is.
        const desk = await lamp([carrier, addressOf(world, carrier)], env);
        await desk.shows("* done");
        const working = desk.shows("* working");
        world.say(session, { type: "status", state: "working", elapsed_ms: 1 });
        await working;
        for (const [key, call] of [
          ["a", "t1"],
          ["d", "t2"],
        ] as const) {
          const asked = desk.shows("Allow Bash? rm -rf build");
          world.say(
            session,
            { ...ASK, id: `${call}/0` },
            { type: "status", state: "waiting_for_input", elapsed_ms: 1 },
          );
          await asked;
          const goesOn = desk.shows("* working");
          desk.press(key);
          await goesOn;
        }
        assert.deepEqual(
          world.settled(session).map(([call, { behavior }]) => [call, behavior]),
          [
            ["t1", "allow"],
            ["t2", "deny"],
          ],
        );
        desk.press("q");
        assert.equal(await desk.exit, 0, desk.printed());
      }));

  test("is built by the command that its README names, without a warning", needs("make", "make"), async () => {
    const root = join(MCU, "..");
    const readme = readFileSync(join(MCU, "posix/README.md"), "utf8");
    const command = /^make -C mcu\/posix/m.exec(readme)?.[0].split(" ") ?? [];
    const { stderr } = await run("make", command.slice(1), { cwd: root });
    assert.equal(stderr, "");
    const program = join(root, /mcu\/build\/cib-lamp/.exec(readme)?.[0] ?? "");
    await assert.rejects(run(program), { code: 2 });
  });

  test("says what is wrong with its command line", async () => {
    for (const [args, env, words] of [
      [[], {}, "a carrier"],
      [["radio", "box:1"], {}, "no carrier"],
      [["tcp", "box"], {}, "no HOST:PORT"],
      [["tcp", "box:1"], {}, "CIB_DEVICE_KEY is not set"],
      [["mqtt", "box:1"], {}, "CIB_TOKEN is not set"],
      [["tcp", "box:1", "first"], {}, "UUID"],
      [["tcp", "box:1"], { CIB_DEVICE_KEY: "1:2", CIB_STATE: join(tmpdir(), "nowhere", "boot") }, "boot counter"],
    ] as const) {
      const desk = await lamp(args, env);
      assert.equal(await desk.exit, 2);
      assert.match(desk.printed(), new RegExp(words));
    }
  });
});
