/** Overheard: what the tap heard of one message, as frames; what may not be told now is left to the other accounts. */
import type { FrameBody } from "../frame/frame.ts";
import { by, say } from "./frames.ts";
import type { State } from "./state.ts";
import type { Heard } from "./tap-stream.ts";
import { hear, heard, newTexts, type Texts, unhear, written } from "./texts.ts";

/** Subagents remembered: those that may run at once, and those whose last lines are still to be read. */
const MAX_AGENTS = 32;

/** `agent`: the subagent whose call it is. */
export function onHeard(state: State, event: Heard, agent: string | undefined, out: FrameBody[]): void {
  const said = textsOf(state, agent);
  const id = event.message;
  if (event.tell === "begin") {
    hear(said, id);
    hear(state.thoughts, id);
  } else if (event.tell === "text") say(heard(said, id, event.text, mayTell(state, agent)), agent, out);
  else if (event.tell === "thinking") {
    const tell = state.thinking && mayTell(state, agent);
    think(heard(state.thoughts, id, event.text, tell), agent, out);
  } else if (event.tell === "tool") {
    if (mayTell(state, agent)) state.announced.add(event.tool);
  } else {
    const why = event.tell === "end" ? "whole" : event.tell;
    unhear(said, id, why);
    unhear(state.thoughts, id, why);
  }
}

/** One thinking block of the transcript. */
export function thought(state: State, id: string, block: string, agent: string | undefined, out: FrameBody[]): void {
  think(written(state.thoughts, id, block), agent, out);
}

/** Claude also asks the model for its own ends, as it compacts or when a turn is over: that is not said to the user. */
function mayTell(state: State, agent: string | undefined): boolean {
  if (state.compacting) return false;
  if (agent !== undefined) return state.agents.has(agent);
  return state.turn !== undefined && state.turn.ending === undefined;
}

function think(piece: ReturnType<typeof written>, agent: string | undefined, out: FrameBody[]): void {
  if (piece !== undefined) out.push({ type: "thinking", text: piece.text, message: piece.key, ...by(agent) });
}

/** The messages of one thread. */
export function textsOf(state: State, agent: string | undefined): Texts {
  if (agent === undefined) return state.texts;
  const known = state.agentTexts.get(agent);
  if (known !== undefined) return known;
  const fresh = newTexts();
  state.agentTexts.set(agent, fresh);
  if (state.agentTexts.size > MAX_AGENTS) {
    const [oldest = ""] = state.agentTexts.keys();
    state.agentTexts.delete(oldest);
  }
  return fresh;
}
