/** Book: the hooks files of the box, and which rules hold for a session. */
import { readFileSync } from "node:fs";
import { CibError } from "../errors.ts";
import { FileError, writeRename } from "../files.ts";
import { type Level, type Merged, merge, type Placed } from "./merge.ts";
import { parseRules, type Rule, RuleError } from "./rules.ts";
import { restored, shown } from "./shown.ts";
import { isObject } from "./subject.ts";

/** Where images and machines keep the rules that no API caller changes. */
export const IMAGE_HOOKS = "/etc/claude-in-box/hooks.json";

export interface BookOptions {
  /** The image's file, IMAGE_HOOKS; need not exist. */
  readonly image: string;
  /** The user level's, `$CIB_DATA/hooks.json`: read and written; need not exist. */
  readonly user: string;
  /** Variables for every hook process; no secrets. The box's marker belongs here. */
  readonly env?: Readonly<Record<string, string>>;
  /** Told where a rule is left out because an earlier level has locked its name. */
  readonly fault: (thrown: unknown) => void;
}

export class HookBook {
  readonly env: Readonly<Record<string, string>>;
  readonly #o: BookOptions;
  readonly #image: readonly Rule[];
  #user: readonly Rule[];
  readonly #listeners = new Set<() => void>();

  /** Reads the files. Throws FileError when one is there and cannot be understood: without it, what it forbids would be allowed. */
  constructor(options: BookOptions) {
    this.#o = options;
    this.env = options.env ?? {};
    this.#image = readRules(options.image);
    this.#user = readRules(options.user);
    this.#warn(this.#merged([]));
  }

  /** The rules of the box, in the order in which they judge, with their level; header values left out. */
  list(): readonly (Rule & { readonly level: Level })[] {
    return this.#merged([]).rules.map(({ rule, level }) => ({ ...shown(rule), level }));
  }

  /**
   * Replaces the user level; durable when it returns, in force from the next frame on. A rule may come as `list` gave
   * it, with its `level`; those of the image are left out. Throws `bad_request`, and `forbidden` for the name of a
   * locked rule.
   */
  async put(raw: readonly unknown[]): Promise<void> {
    const { hooks, missing } = restored(ofUser(raw), this.#user);
    if (missing !== undefined) throw new CibError("bad_request", `${missing}: nothing is kept there; send its value`);
    const rules = parsed({ hooks });
    refuse(this.#merged([], rules), "user");
    writeRename(this.#o.user, `${JSON.stringify({ hooks: rules }, null, 2)}\n`);
    this.#user = rules;
    for (const listener of this.#listeners) listener();
  }

  /** A session's own rules, checked, as meta.json keeps them. Throws `bad_request`, `forbidden`. */
  check(raw: readonly unknown[]): readonly Rule[] {
    const rules = parsed({ hooks: raw });
    refuse(this.#merged(rules), "session");
    return rules;
  }

  /** The rules that hold for a session with these of its own, in the order in which they judge. A locked one of the box wins. */
  rules(own: readonly unknown[] = []): readonly Rule[] {
    let rules: readonly Rule[] = [];
    try {
      rules = parseRules({ hooks: own });
    } catch (failure) {
      this.#o.fault(failure); // a later version may know more
    }
    const merged = this.#merged(rules);
    if (rules.length > 0) this.#warn({ ...merged, refused: merged.refused.filter(({ level }) => level === "session") });
    return merged.rules.map(({ rule }: Placed) => rule);
  }

  /** Called when the user level has changed. */
  watch(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #merged(session: readonly Rule[], user = this.#user): Merged {
    return merge({ image: this.#image, user, session });
  }

  #warn({ refused }: Merged): void {
    for (const { name, level, by } of refused)
      this.#o.fault(new Error(`hooks: the ${level} rule "${name}" is left out: the ${by} level has locked that name`));
  }
}

/** What GET shows may be sent back. */
function ofUser(raw: readonly unknown[]): readonly unknown[] {
  const mine = raw.filter((rule) => !isObject(rule) || rule["level"] !== "image");
  return mine.map((rule) => {
    if (!isObject(rule) || rule["level"] !== "user") return rule;
    const { level: _level, ...rest } = rule;
    return rest;
  });
}

function refuse({ refused }: Merged, level: Level): void {
  const one = refused.find((each) => each.level === level);
  if (one !== undefined)
    throw new CibError("forbidden", `hooks: rule "${one.name}" is locked by the ${one.by} level; choose another name`);
}

function parsed(raw: unknown): readonly Rule[] {
  try {
    return parseRules(raw);
  } catch (failure) {
    if (failure instanceof RuleError) throw new CibError("bad_request", failure.message);
    throw failure;
  }
}

function readRules(file: string): readonly Rule[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new FileError(file, failure, "make it readable to the daemon, or remove it");
  }
  try {
    return parseRules(JSON.parse(text));
  } catch (failure) {
    throw new FileError(file, failure, "correct what it names, or move the file away");
  }
}
