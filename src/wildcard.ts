/** Wildcard: `*` for anything, in time that grows with the text alone: patterns meet what Claude and its children write. */

/** Whether the whole text is what the pattern says: `mcp__*`, `git push*`, `*rm*-rf*`. */
export function fits(pattern: string, text: string): boolean {
  const [first = "", ...more] = pattern.split("*");
  const last = more.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let at = first.length;
  // The earliest place of each part leaves the most room for the next.
  for (const part of more) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
