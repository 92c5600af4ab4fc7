/** Tree: who has subscribed to what; a topic finds its listeners in one walk, whatever the number of filters. */

interface Node<T> {
  readonly next: Map<string, Node<T>>;
  readonly here: Set<T>;
}

export class Tree<T> {
  readonly #root: Node<T> = node();

  /** A well-formed filter (MQTT 3.1.1 §4.7); twice the same counts once. */
  add(filter: string, listener: T): void {
    let at = this.#root;
    for (const level of filter.split("/")) {
      const next = at.next.get(level) ?? node<T>();
      at.next.set(level, next);
      at = next;
    }
    at.here.add(listener);
  }

  /** Leaves nothing behind: a filter that nobody has costs nobody anything. */
  delete(filter: string, listener: T): void {
    const levels = filter.split("/");
    const way = [this.#root];
    for (const level of levels) {
      const next = way.at(-1)?.next.get(level);
      if (next === undefined) return;
      way.push(next);
    }
    way.at(-1)?.here.delete(listener);
    for (let i = levels.length; i > 0; i--) {
      const at = way[i];
      if (at === undefined || at.here.size > 0 || at.next.size > 0) return;
      way[i - 1]?.next.delete(levels[i - 1] as string);
    }
  }

  get empty(): boolean {
    return this.#root.next.size === 0;
  }

  /** Each listener once, however many of its filters match. */
  match(topic: string): Set<T> {
    const found = new Set<T>();
    walk(this.#root, topic.split("/"), 0, (listeners) => {
      for (const each of listeners) found.add(each);
      return false;
    });
    return found;
  }

  /** Whether one whose filter matches satisfies `is`. */
  some(topic: string, is: (listener: T) => boolean): boolean {
    return walk(this.#root, topic.split("/"), 0, (listeners) => someOf(listeners, is));
  }

  /** Whether one that satisfies `is` has a filter that matches something at or below this place. */
  within(prefix: string, is: (listener: T) => boolean): boolean {
    return below(this.#root, prefix.split("/"), 0, is);
  }
}

function node<T>(): Node<T> {
  return { next: new Map(), here: new Set() };
}

/** Visits the listeners of every matching filter until `visit` is content. */
function walk<T>(at: Node<T>, levels: readonly string[], i: number, visit: (found: Set<T>) => boolean): boolean {
  // `#` matches the parent level, too (MQTT 3.1.1 §4.7.1.2).
  const rest = at.next.get("#");
  if (rest !== undefined && visit(rest.here)) return true;
  const level = levels[i];
  if (level === undefined) return visit(at.here);
  for (const name of [level, "+"]) {
    const next = at.next.get(name);
    if (next !== undefined && walk(next, levels, i + 1, visit)) return true;
  }
  return false;
}

function below<T>(at: Node<T>, levels: readonly string[], i: number, is: (listener: T) => boolean): boolean {
  const rest = at.next.get("#");
  if (rest !== undefined && someOf(rest.here, is)) return true;
  const level = levels[i];
  if (level === undefined) {
    if (someOf(at.here, is)) return true;
    for (const next of at.next.values()) if (below(next, levels, i, is)) return true;
    return false;
  }
  for (const name of [level, "+"]) {
    const next = at.next.get(name);
    if (next !== undefined && below(next, levels, i + 1, is)) return true;
  }
  return false;
}

function someOf<T>(listeners: Set<T>, is: (listener: T) => boolean): boolean {
  for (const each of listeners) if (is(each)) return true;
  return false;
}
