/** Seed: configuration folders on disk; and one conversation under real Claude Code, whatever pays for it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { AgentSpec, Credential } from "../../src/agent/agent.ts";
import { environment, RESERVED_VARIABLES } from "../../src/agent/command.ts";
import { readOwned } from "../../src/agent/owned-file.ts";
import { seed } from "../../src/agent/seed.ts";
import { keepingDefaults } from "../../src/agent/user-settings.ts";
import type { SessionId } from "../../src/frame/frame.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { needsRoot } from "../skip.ts";
import { type Rig, startRig, textOf } from "./rig.ts";

const KEY = "sk-ant-dummy-of-the-key-sessions-0000000000001";
const OTHER_KEY = "sk-ant-dummy-of-the-key-sessions-0000000000002";
const TOKEN = "sk-ant-oat01-dummy-of-the-subscription-000000000000";

function home(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "cib-seed-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function specIn(base: string, credential: Credential, more: Partial<AgentSpec> = {}): AgentSpec {
  const session = randomUUID() as SessionId;
  return {
    session,
    conversation: session,
    start: "new",
    workdir: join(base, "work"),
    model: "m",
    engine: "pty",
    bypass: true,
    askTimeoutS: 60,
    cols: 80,
    rows: 24,
    configDir: join(base, credential.mode === "subscription" ? ".claude" : ".claude-in-box/config/k"),
    projectsDir: join(base, ".claude", "projects"),
    home: base,
    runDir: join(base, ".claude-in-box", session),
    credential,
    env: {},
    thinking: true,
    ...more,
  };
}

const paying = { mode: "api_key", key: KEY } as const;
const subscribed = { mode: "subscription", token: TOKEN } as const;

test("every configuration leads to the same conversations", async () => {
  using at = home();
  const projects = join(at.path, ".claude", "projects");
  assert.equal((await seed(specIn(at.path, subscribed))).projectsDir, projects);
  assert.ok(lstatSync(projects).isDirectory());
  const spec = specIn(at.path, paying);
  assert.equal((await seed(spec)).projectsDir, projects);
  assert.equal(readlinkSync(join(spec.configDir, "projects")), projects);
  // Again, and by many at once, from nothing or from a link that leads elsewhere.
  assert.equal((await seed(spec)).projectsDir, projects);
  for (const before of [undefined, "/nowhere"]) {
    rmSync(join(spec.configDir, "projects"));
    if (before !== undefined) symlinkSync(before, join(spec.configDir, "projects"));
    await Promise.all(Array.from({ length: 8 }, () => seed(specIn(at.path, paying))));
    assert.equal(readlinkSync(join(spec.configDir, "projects")), projects);
  }
  assert.deepEqual(
    readdirSync(spec.configDir).sort(),
    [".claude.json", "projects"],
    "nothing made on the way is left behind",
  );
});

test("an empty folder of conversations gives way to the link, one with conversations is used as it is", async () => {
  using at = home();
  const spec = specIn(at.path, paying);
  const own = join(spec.configDir, "projects");
  mkdirSync(own, { recursive: true });
  await seed(spec);
  assert.ok(lstatSync(own).isSymbolicLink());
  rmSync(own);
  mkdirSync(join(own, "-work"), { recursive: true });
  writeFileSync(join(own, "-work", "talk.jsonl"), "kept\n");
  assert.equal((await seed(spec)).projectsDir, own);
  assert.equal(readFileSync(join(own, "-work", "talk.jsonl"), "utf8"), "kept\n");
});

test("a configuration keeps what Claude wrote, and the end of a key only where that key pays", async () => {
  using at = home();
  const shared = join(at.path, "config");
  mkdirSync(shared);
  writeFileSync(
    join(shared, ".claude.json"),
    JSON.stringify({ machineID: "m", customApiKeyResponses: { approved: [OTHER_KEY.slice(-20)], rejected: ["x"] } }),
  );
  const read = (): Record<string, unknown> => JSON.parse(readFileSync(join(shared, ".claude.json"), "utf8"));
  await seed(specIn(at.path, paying, { configDir: shared }));
  const paid = read();
  assert.equal(paid["machineID"], "m");
  assert.deepEqual(paid["customApiKeyResponses"], {
    approved: [OTHER_KEY.slice(-20), KEY.slice(-20)],
    rejected: ["x"],
  });
  await seed(specIn(at.path, subscribed, { configDir: shared }));
  assert.deepEqual(read()["customApiKeyResponses"], { approved: [], rejected: ["x"] });
  assert.equal(statSync(join(shared, ".claude.json")).mode & 0o777, 0o600);
});

test("everything made belongs to the session's user, links themselves included", needsRoot(), async () => {
  using at = home();
  const user = { uid: 10_001, gid: 10_001 };
  const base = join(at.path, "coder");
  const spec = specIn(base, paying, { user });
  await seed(spec);
  for (const path of [base, spec.configDir, spec.runDir, spec.projectsDir, join(spec.configDir, "projects")])
    assert.equal(lstatSync(path).uid, user.uid, path);
  assert.equal(lstatSync(join(spec.configDir, ".claude.json")).uid, user.uid);
});

test("a link that a session laid in our way is replaced, never followed", async () => {
  using at = home();
  const spec = specIn(at.path, paying);
  mkdirSync(spec.configDir, { recursive: true });
  const victim = join(at.path, "victim");
  writeFileSync(victim, "untouched");
  symlinkSync(victim, join(spec.configDir, ".claude.json"));
  await seed(spec);
  assert.equal(readFileSync(victim, "utf8"), "untouched");
  assert.ok(lstatSync(join(spec.configDir, ".claude.json")).isFile());
});

test("what the session cannot read is not read for it, neither by a start nor by a switch", needsRoot(), async () => {
  using at = home();
  const user = { uid: 10_001, gid: 10_001 };
  const spec = specIn(join(at.path, "coder"), paying, { user });
  await seed(spec);
  const secret = join(at.path, "hooks.json");
  writeFileSync(secret, '{"authorization":"TOP-SECRET"}', { mode: 0o600 });
  const [config, settings] = [join(spec.configDir, ".claude.json"), join(spec.configDir, "settings.json")];
  for (const lay of [symlinkSync, linkSync]) {
    rmSync(config);
    lay(secret, config);
    await seed(spec);
    assert.doesNotMatch(readFileSync(config, "utf8"), /TOP-SECRET/);
    assert.equal(lstatSync(config).uid, user.uid);
    writeFileSync(settings, "{}");
    chownSync(settings, user.uid, user.gid);
    await keepingDefaults(spec, async () => {
      rmSync(settings);
      lay(secret, settings);
    });
    assert.equal(await readOwned(settings, user), undefined);
    rmSync(settings);
  }
  assert.equal(lstatSync(secret).uid, 0);
});

test("of what stands in a file's place only a regular file of bounded size is read, and a pipe holds nobody up", async () => {
  using at = home();
  const spec = specIn(at.path, paying);
  mkdirSync(spec.configDir, { recursive: true });
  const file = join(spec.configDir, ".claude.json");
  execFileSync("mkfifo", [file]);
  // More than there are threads that read files: each would wait for ever.
  await Promise.all(Array.from({ length: 8 }, () => readOwned(file, undefined)));
  await seed(spec);
  assert.match((await readOwned(file, undefined)) ?? "", /hasCompletedOnboarding/);
  writeFileSync(join(at.path, "large"), "");
  truncateSync(join(at.path, "large"), 2 ** 30);
  for (const name of ["large", "missing", ".claude-in-box"])
    assert.equal(await readOwned(join(at.path, name), undefined), undefined, name);
  // A person's own link, where the session is nobody else.
  symlinkSync(file, join(at.path, "link"));
  assert.match((await readOwned(join(at.path, "link"), undefined)) ?? "", /hasCompletedOnboarding/);
});

test("a creator's variables never name another payer, configuration or box", () => {
  const env = Object.fromEntries([...RESERVED_VARIABLES].map((name) => [name, "foreign"]));
  for (const credential of [paying, subscribed, { mode: "subscription" } as const]) {
    const spec = specIn("/home/x", credential, { env: { ...env, MINE: "yes" } });
    const built = environment(spec, "box", {});
    assert.equal(built["MINE"], "yes");
    assert.equal(Object.values(built).includes("foreign"), false);
    assert.equal(built["ANTHROPIC_API_KEY"], credential.mode === "api_key" ? KEY : undefined);
    assert.equal(built["CLAUDE_CODE_OAUTH_TOKEN"], credential === subscribed ? TOKEN : undefined);
  }
});

test("behind a proxy, calls to this machine do not leave it", () => {
  const spec = specIn("/home/x", paying);
  assert.equal(environment(spec, "box", {})["NO_PROXY"], undefined);
  const own = { HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "intranet" };
  const built = environment(spec, "box", own);
  assert.equal(built["HTTPS_PROXY"], own.HTTPS_PROXY);
  for (const name of ["NO_PROXY", "no_proxy"]) assert.equal(built[name], "intranet,127.0.0.1,localhost,::1");
});

for (const version of ALL_VERSIONS) {
  describe(`one conversation under ${version}`, async () => {
    const skip = (await offlineReason(version)) ?? false;

    test("goes on when the subscription pays instead of a key, and the other way round", { skip }, async () => {
      const script = ({ messages, last }: { messages: readonly unknown[]; last: string }) => ({
        blocks: [{ text: `${JSON.stringify(messages).includes("alpha") ? "knows" : "new"} ${last}\n` }],
      });
      using at = home();
      const conversation = randomUUID();
      const start = (credential: Credential, begin: AgentSpec["start"], id = conversation): Promise<Rig> => {
        const { configDir, projectsDir, home, runDir } = specIn(at.path, credential);
        const spec = { conversation: id, start: begin, credential, configDir, projectsDir, home, runDir };
        return startRig({ version, script, base: at.path, spec });
      };
      const pays = (rig: Rig): unknown[] => [
        ...new Set(
          rig.model.calls
            .filter(({ path }) => path.endsWith("/messages"))
            .map(({ key, bearer }) => `${key === undefined ? "" : "key"}${bearer === undefined ? "" : "token"}`),
        ),
      ];
      {
        await using rig = await start(paying, "new");
        assert.equal(textOf(await rig.turn("remember alpha")), "knows remember alpha\n");
        assert.deepEqual(pays(rig), ["key"]);
        await rig.agent.stop("term");
      }
      for (const [credential, who, prompt] of [
        [subscribed, "token", "go on"],
        [paying, "key", "and on"],
      ] as const) {
        await using rig = await start(credential, "resume");
        const told = await rig.turn(prompt);
        assert.equal(textOf(rig.frames), `knows ${prompt}\n`);
        assert.equal(textOf(told), `knows ${prompt}\n`);
        assert.equal(rig.of("stop").length, 1);
        assert.deepEqual(pays(rig), [who]);
        await rig.agent.stop("term");
      }
      {
        await using rig = await start(subscribed, { fork: conversation }, randomUUID());
        assert.equal(textOf(await rig.turn("apart")), "knows apart\n");
        await rig.agent.stop("term");
      }
      assert.ok(existsSync(join(at.path, ".claude", "projects")));
    });
  });
}
