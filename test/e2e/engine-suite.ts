/** Engine suite: what every engine must do with real Claude Code, and what it says where it cannot. */
import { describe } from "node:test";
import type { AgentSpec } from "../../src/agent/agent.ts";
import { offlineReason } from "./claude-versions.ts";
import { askingTests } from "./engine/asking.ts";
import { continuingTests } from "./engine/continuing.ts";
import { endingTests } from "./engine/ending.ts";
import { interruptingTests } from "./engine/interrupting.ts";
import { type Can, kitOf } from "./engine/kit.ts";
import { sendingTests } from "./engine/sending.ts";
import { tellingTests } from "./engine/telling.ts";
import { noTerminalTests, terminalTests } from "./engine/terminal.ts";

export interface Conformance {
  readonly version: string;
  readonly engine: AgentSpec["engine"];
  readonly can: Can;
}

/** Declares the suite of one engine on one version; left out, with the reason, where that version cannot be run here. */
export async function engineSuite({ version, engine, can }: Conformance): Promise<void> {
  const skip = (await offlineReason(version)) ?? false;
  describe(`${engine} engine on Claude Code ${version}`, { skip, concurrency: 2 }, () => {
    const kit = kitOf(version, engine, can);
    tellingTests(kit);
    askingTests(kit);
    continuingTests(kit);
    interruptingTests(kit);
    sendingTests(kit);
    endingTests(kit);
    if (can.terminal) terminalTests(kit);
    else noTerminalTests(kit);
  });
}
