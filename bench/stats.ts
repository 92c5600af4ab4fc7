/** Stats: what many measurements come to, and how numbers are written. */

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Nearest rank above, so that it is always a value that was measured. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError("quantile: no values");
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] as number;
}

/** Three significant digits, and no more than `most` decimals. */
export function num(value: number, most = 2): string {
  if (Number.isInteger(value)) return grouped(String(value));
  const size = Math.floor(Math.log10(Math.abs(value)));
  return grouped(value.toFixed(Math.min(most, Math.max(0, 2 - size))));
}

function grouped(digits: string): string {
  const [whole = "", ...rest] = digits.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...rest].join(".");
}

/** A Markdown table. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(columns), line(columns.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}
