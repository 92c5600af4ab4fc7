/** Stream talk: what the translation remembers of a Claude that speaks stream-json, beside what every engine remembers. */
import { type Counts, minus, NOTHING, sumOf } from "./counts.ts";
import { at, count, type Json, list, object, text } from "./json.ts";

/** Subagents whose messages may still come. */
const MAX_PARENTS = 256;

export interface Talk {
  /** The subagent that each call of the Agent tool started. */
  readonly agents: Map<string, string>;
  /** The message that is being streamed, of the main thread ("") and of each subagent. */
  readonly message: Map<string, { readonly id: string; readonly usage: Json }>;
  /** What Claude had counted when it last ended a turn, over all models, subagents and side calls. */
  counted: Counts;
  /** The turn was begun by a command of ours, and the model has said nothing in it. */
  command: boolean;
  /** The model was switched in this turn. */
  switched: boolean;
  /** Why the turn will end badly. */
  failure: { readonly code: string; readonly message: string } | undefined;
  /** What Claude last said of the account's limits. */
  limit: Json | undefined;
}

export function newTalk(): Talk {
  return {
    agents: new Map(),
    message: new Map(),
    counted: NOTHING,
    command: false,
    switched: false,
    failure: undefined,
    limit: undefined,
  };
}

/** A call of the Agent tool has started this subagent. */
export function startedBy(talk: Talk, call: string, agent: string): void {
  talk.agents.set(call, agent);
  const [oldest = ""] = talk.agents.keys();
  if (talk.agents.size > MAX_PARENTS) talk.agents.delete(oldest);
}

/** Whose message it is: 2.1.330 says so itself, before it only the call that started the subagent is named. */
export function agentOf(talk: Talk, message: Json): string | undefined {
  const call = text(message["parent_tool_use_id"]);
  return text(message["agent_id"]) ?? (call === undefined ? undefined : (talk.agents.get(call) ?? call));
}

/**
 * What Claude counted since its last result and `told` does not hold: the tokens of subagents and of calls on the side,
 * which stdout shows only in part. What an interrupt cut off Claude does not count, and we do.
 */
export function restOf(talk: Talk, result: Json, told: Iterable<Counts>): Counts {
  const total = sumOf(list(Object.values(object(result["modelUsage"]) ?? {})).map(countsOf));
  const fresh = object(result["model_usage_since_last_result"]);
  // 2.1.330 goes on counting where an earlier process stopped; there it also says what is new.
  const since = fresh === undefined ? minus(total, talk.counted) : sumOf(list(Object.values(fresh)).map(countsOf));
  talk.counted = total;
  return minus(since, sumOf(told));
}

function countsOf(usage: Json): Counts {
  return {
    input: count(at(usage, "inputTokens")) ?? 0,
    output: count(at(usage, "outputTokens")) ?? 0,
    cache_read: count(at(usage, "cacheReadInputTokens")) ?? 0,
    cache_write: count(at(usage, "cacheCreationInputTokens")) ?? 0,
  };
}
