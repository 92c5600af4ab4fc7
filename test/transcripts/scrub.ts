/** Scrub: takes out of a recording what another run on another machine would have otherwise, and what no translation reads. */
import type { Source } from "../../src/agent/source.ts";

/** Fields of a transcript line that mean something to somebody; the rest is Claude's own business. */
const LINE_FIELDS = [
  "type",
  "subtype",
  "message",
  "content",
  "toolUseResult",
  "isMeta",
  "isSidechain",
  "isApiErrorMessage",
  "isCompactSummary",
  "agentId",
  "aiTitle",
  "permissionMode",
  "operation",
  "error",
  "retryAttempt",
  "maxRetries",
  "retryInMs",
];
/** Lines of other types are kept as their type alone: they must be passed over. */
const KEPT = new Set(["user", "assistant", "system", "ai-title", "permission-mode", "queue-operation"]);

/** Makes the recording of one run neutral; ids are numbered in the order of their appearance. */
export function scrubber(base: string, start: number): (text: string) => string {
  const known = new Map<string, string>();
  const counts = new Map<string, number>();
  const renamed = (kind: string, found: string, make: (n: number) => string): string => {
    const before = known.get(found);
    if (before !== undefined) return before;
    const n = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, n);
    const name = make(n);
    known.set(found, name);
    return name;
  };
  const slug = base.replace(/[^a-zA-Z0-9]/g, "-");
  return (text) =>
    text
      .replaceAll(base, "/box")
      .replaceAll(slug, "-box")
      .replace(/http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{32}/g, "http://127.0.0.1/hook")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) =>
        renamed("uuid", id, (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`),
      )
      .replace(/\b(msg|toolu|req)_[0-9a-z]{8,}/g, (id, kind: string) => renamed(kind, id, (n) => `${kind}_${n}`))
      .replace(/\ba[0-9a-f]{16}\b/g, (id) => renamed("agent", id, (n) => `agent${n}`))
      .replace(/\b1[67]\d{11}\b/g, (ms) => String(Math.max(0, Number(ms) - start)));
}

/** One event without what nothing reads, with its time counted from the start of the run. */
export function slim(source: Source, start: number): Source {
  const at = source.at - start;
  if (source.src === "line") {
    const kept = KEPT.has(String(source.line["type"])) ? LINE_FIELDS : ["type"];
    const line = Object.fromEntries(
      kept.flatMap((name) => (source.line[name] === undefined ? [] : [[name, source.line[name]]])),
    );
    return { ...source, at, line };
  }
  if (source.src === "state" && source.since !== undefined) return { ...source, at, since: source.since - start };
  return { ...source, at };
}
