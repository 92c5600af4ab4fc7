/** Question: what one file of bench/ asks, and the shape of its answer. */

/** A table for people, figures for the budget. */
export interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences below the table: what was done, what the figures do not say. */
  readonly notes: readonly string[];
  /** By the names of budget.json, less `<question>.`. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface Question {
  readonly name: string;
  /** One line above the table. */
  readonly asks: string;
  /** Measures its baseline in the same run. Ends everything it started. `quick`: with fewer rounds, where it can. */
  run(quick?: boolean): Promise<Answer>;
}

/** One of the two. */
export interface Limit {
  readonly max?: number;
  readonly min?: number;
  readonly unit: string;
}

/** Figures beyond their limit, one line each; `figures` by full name, `<question>.<figure>`. */
export function exceeded(
  figures: Readonly<Record<string, number>>,
  limits: Readonly<Record<string, Limit>>,
): readonly string[] {
  return Object.entries(figures).flatMap(([name, value]) => {
    const limit = limits[name];
    if (limit === undefined) return [];
    const { max = Number.POSITIVE_INFINITY, min = Number.NEGATIVE_INFINITY, unit } = limit;
    if (value > max) return [`${name}: ${value} ${unit}, the limit is ${max}`];
    return value < min ? [`${name}: ${value} ${unit}, the least is ${min}`] : [];
  });
}
