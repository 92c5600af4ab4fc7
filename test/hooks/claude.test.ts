/** Hooks at work on a real Claude Code: its tools, its results and its prompts. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { AgentEvents } from "../../src/agent/agent.ts";
import type { Script } from "../../src/demo/model.ts";
import type { FrameBody } from "../../src/frame/frame.ts";
import { HookGate } from "../../src/hooks/gate.ts";
import type { Rule } from "../../src/hooks/rules.ts";
import { Intake } from "../../src/session/intake.ts";
import { judge } from "../../src/session/judge.ts";
import { startRig } from "../agent/rig.ts";
import { ALL_VERSIONS, offlineReason } from "../e2e/claude-versions.ts";
import { each } from "./scripts.ts";

const RULES: readonly Rule[] = [
  {
    name: "tools",
    on: ["tool.use.start"],
    run: each(`
      const { command } = e.frame.input;
      if (command.includes("forbidden")) say({ verdict: "block", reason: "not in this house" });
      else if (command.includes("wrong")) say({ verdict: "rewrite", input: { command: "touch right" } });
      else say({ verdict: "pass" });`),
  },
  {
    name: "results",
    on: ["tool.use.result"],
    match: { text: "hush" },
    run: each(
      `say({ verdict: "rewrite", output: { ...e.frame.output, stdout: e.frame.output.stdout.replace("hush", "[quiet]") } })`,
    ),
  },
  {
    name: "prompts",
    on: ["input"],
    match: { text: "swear" },
    run: each(`say({ verdict: "block", reason: "no swearing" })`),
  },
].map((rule) => ({ ...rule, kept: true, timeout_ms: 20_000 }) as Rule);

const COMMANDS = { one: "touch forbidden", two: "touch wrong", three: "echo hush" } as const;

/** The prompt names the command; what Claude reads back is kept. */
const scripted =
  (read: string[]): Script =>
  ({ last, ...request }) => {
    read.push(JSON.stringify(request));
    const command = Object.entries(COMMANDS).find(([prompt]) => last.includes(`do ${prompt}`))?.[1];
    return { blocks: command === undefined ? [{ text: "Fine." }] : [{ tool: "Bash", input: { command } }] };
  };

for (const version of ALL_VERSIONS) {
  const skip = await offlineReason(version);
  describe(`hooks on Claude Code ${version}`, { skip: skip ?? false }, () => {
    it("keep a tool from running, change what runs and what is read, and keep a typed prompt back", async () => {
      const logged: FrameBody[] = [];
      const append = (body: FrameBody): void => void logged.push(body);
      const place = { session: "s", workdir: tmpdir(), home: tmpdir() };
      const hooks = new HookGate({ place, emit: append }, RULES);
      const fault = (thrown: unknown): void => assert.fail(String(thrown));
      const intake = new Intake({ gate: hooks, append, blocked: () => undefined, fault });
      const judged: AgentEvents["judge"] = (call) =>
        judge({ hooks, intake, gate: undefined, bypass: true, append }, call);
      const read: string[] = [];
      await using rig = await startRig({ version, script: scripted(read), judge: judged });
      try {
        const inWork = (name: string): boolean => existsSync(join(rig.spec.workdir, name));
        await rig.turn("do one");
        assert.equal(inWork("forbidden"), false);
        assert.match(read.at(-1) ?? "", /tools: not in this house/);
        await rig.turn("do two");
        assert.deepEqual([inWork("wrong"), inWork("right")], [false, true]);
        const starts = rig.of("tool.use.start").map(({ input }) => input as { command: string });
        assert.equal(starts.at(-1)?.command, "touch right");
        await rig.turn("do three");
        assert.match(JSON.stringify(rig.of("tool.use.result").at(-1)?.output), /\[quiet\]/);
        // 2.1.112 shows Claude its own output whatever a hook says.
        assert.equal(/\[quiet\]/.test(read.at(-1) ?? ""), version !== "2.1.112");
        const asked = read.length;
        rig.agent.write(Buffer.from("swear"));
        await rig.until(() => rig.words().includes("swear"), "the echo");
        rig.agent.write(Buffer.from("\r"));
        await rig.until(() => logged.some((body) => body.type === "hook" && body.name === "prompts"), "the judgement");
        await rig.turn("carry on");
        assert.ok(read.slice(asked).every((request) => !request.includes('swear"')));

        for (const body of rig.frames) intake.frame(body);
        await intake.settled();
        const fired = logged.flatMap((body) =>
          body.type === "hook" ? [`${body.name} ${(body.result as { verdict: string }).verdict}`] : [],
        );
        assert.deepEqual(fired.sort(), [
          "prompts block",
          "results rewrite",
          "tools block",
          "tools pass",
          "tools rewrite",
        ]);
      } finally {
        hooks.stop();
      }
    });
  });
}
