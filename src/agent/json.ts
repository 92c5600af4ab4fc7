/** JSON from Claude: read field by field, believing nothing about its shape. */

export type Json = Readonly<Record<string, unknown>>;

export function object(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

/** One field of what may be an object. */
export function at(value: unknown, key: string): unknown {
  return object(value)?.[key];
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** A whole number ≥ 0, else undefined. */
export function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.round(value) : undefined;
}

/** The objects in what may be an array. */
export function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.map(object).filter((entry) => entry !== undefined) : [];
}

/** The text of a content field: a string, or the text blocks of an array. */
export function words(content: unknown): string {
  if (typeof content === "string") return content;
  return list(content)
    .map((block) => text(block["text"]) ?? "")
    .filter((part) => part !== "")
    .join("\n");
}
