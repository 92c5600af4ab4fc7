/** Shown: rules as an API caller may read and send them: header values are kept out of sight. */

import type { Rule } from "./rules.ts";
import { isObject } from "./subject.ts";

/** In place of a header's value: read, it means that there is one; written, that it stays as it is. */
export const KEPT = "(kept)";

/** Without the values of its headers. */
export function shown(rule: Rule): Rule {
  const { post } = rule;
  if (post?.headers === undefined) return rule;
  const headers = Object.fromEntries(Object.keys(post.headers).map((name) => [name, KEPT]));
  return { ...rule, post: { ...post, headers } };
}

/**
 * What was sent, with the values that are to stay. They stay only where they go to the same place as before: a changed
 * address would carry them off. `missing` names the first that has nothing to keep.
 */
export function restored(
  raw: readonly unknown[],
  before: readonly Rule[],
): { readonly hooks: readonly unknown[]; readonly missing?: string } {
  let missing: string | undefined;
  const hooks = raw.map((rule) => {
    if (!isObject(rule) || !isObject(rule["post"]) || !isObject(rule["post"]["headers"])) return rule;
    const { post, name } = rule;
    const old = before.find((each) => each.name === name)?.post;
    const same = old !== undefined && originOf(old.url) === originOf(post["url"]);
    const headers = Object.entries(post["headers"] as object).map(([header, value]: [string, unknown]) => {
      if (value !== KEPT) return [header, value] as const;
      const kept = same ? old.headers?.[header] : undefined;
      if (kept === undefined) missing ??= `rule "${String(name)}": post: headers: ${header}`;
      return [header, kept] as const;
    });
    return { ...rule, post: { ...post, headers: Object.fromEntries(headers) } };
  });
  return { hooks, ...(missing !== undefined && { missing }) };
}

function originOf(url: unknown): string | undefined {
  return typeof url === "string" && URL.canParse(url) ? new URL(url).origin : undefined;
}
