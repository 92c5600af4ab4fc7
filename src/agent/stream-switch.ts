/** Stream switch: model, effort and mode by control request, at once and also in the middle of a turn, confirmed by what Claude says it uses now. */
import { CibError } from "../errors.ts";
import type { AgentSpec, Setting } from "./agent.ts";
import { at, type Json, list, text } from "./json.ts";
import type { Source } from "./source.ts";
import type { StreamControl } from "./stream-control.ts";
import type { Refusal } from "./stream-probe.ts";
import { permitted } from "./switches.ts";

/** 2.1.112 and 2.1.197 take any word for a mode, and then behave as in none. */
const MODES: ReadonlySet<string> = new Set(["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto"]);

export interface SwitchOptions {
  readonly spec: AgentSpec;
  readonly control: StreamControl;
  readonly feed: (source: Source) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Asks the API, the way Claude does, whether it has this model: undefined when it has. */
  readonly probe: (model: string, signal: AbortSignal) => Promise<Refusal | undefined>;
}

export class StreamSwitch {
  readonly #o: SwitchOptions;
  readonly #models: Set<string>;

  constructor(options: SwitchOptions) {
    this.#o = options;
    this.#models = new Set([options.spec.model]);
  }

  /** Claude's answer to `initialize` lists the models that it offers. */
  initialized(response: Json): void {
    for (const model of list(response["models"]))
      for (const name of [text(model["value"]), text(model["resolvedModel"])]) if (name) this.#models.add(name);
  }

  async set(what: Setting, value: string, signal: AbortSignal): Promise<string> {
    if (what === "mode") return this.#mode(value);
    return what === "model" ? this.#model(value, signal) : this.#effort(value);
  }

  async #model(value: string, signal: AbortSignal): Promise<string> {
    const { control, probe } = this.#o;
    // Claude takes any name and fails with it at the next prompt: one that it does not list is tried first, on the side.
    if (!this.#models.has(value)) {
      const refusal = await probe(value, signal);
      if (refusal !== undefined) {
        const code = refusal.unknown ? "bad_request" : "claude_failed";
        throw new CibError(code, `model: ${JSON.stringify(value)}: ${refusal.words}`);
      }
      this.#models.add(value);
    }
    await control.request({ subtype: "set_model", model: value }).catch((thrown: unknown) => {
      throw new CibError("bad_request", `model: ${wordsOf(thrown)}`, { cause: thrown });
    });
    const { model = value, effort } = await this.#applied();
    this.#confirm({ model, ...(effort === undefined ? {} : { effort }) });
    return model;
  }

  async #effort(value: string): Promise<string> {
    const { control } = this.#o;
    const before = await this.#applied();
    await control.request({ subtype: "apply_flag_settings", settings: { effortLevel: value } });
    const { effort, model } = await this.#applied();
    if (effort === value) {
      this.#confirm({ effort });
      return effort;
    }
    // A level that this model does not have would wait for one that has.
    await control.request({ subtype: "apply_flag_settings", settings: { effortLevel: before.effort ?? null } });
    const stays = effort === undefined ? "takes no effort level" : `stays at ${effort}`;
    throw new CibError(
      "bad_request",
      `effort: claude knows no ${JSON.stringify(value)} here; ${model ?? "it"} ${stays}`,
    );
  }

  async #mode(value: string): Promise<string> {
    const { control, spec } = this.#o;
    if (!MODES.has(value)) throw new CibError("bad_request", `mode: expected one of ${[...MODES].join(", ")}`);
    permitted(spec, value);
    const response = await control.request({ subtype: "set_permission_mode", mode: value }).catch((thrown: unknown) => {
      throw new CibError("conflict", `mode: ${wordsOf(thrown)}`, { cause: thrown });
    });
    const mode = text(response["mode"]) ?? value;
    this.#confirm({ permission_mode: mode });
    return mode;
  }

  /** What Claude uses now. */
  async #applied(): Promise<{ readonly model?: string; readonly effort?: string }> {
    const { applied } = await this.#o.control.request({ subtype: "get_settings" });
    const [model, effort] = [text(at(applied, "model")), text(at(applied, "effort"))];
    return { ...(model === undefined ? {} : { model }), ...(effort === undefined ? {} : { effort }) };
  }

  #confirm(set: Readonly<Record<string, string>>): void {
    this.#o.feed({ src: "set", at: this.#o.now(), set });
  }
}

function wordsOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
