/** Calling: a scripted model that makes the tool calls which the prompt names. */
import type { Block, Script } from "../../src/demo/model.ts";

export const NOW = new AbortController().signal;
export const bash = (command: string): Block => ({ tool: "Bash", input: { command } });

/** The prompt names the calls to make; everything else is answered with a word. */
export const calling =
  (calls: Readonly<Record<string, readonly Block[]>>): Script =>
  ({ last }) => ({
    blocks: Object.entries(calls).find(([prompt]) => last.includes(prompt))?.[1] ?? [{ text: "Fine." }],
  });
