/** Half-open callers: never more than allowed, and who came first goes first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Caller, HalfOpen } from "../../src/transport/half-open.ts";

class Guest implements Caller {
  readonly address: string;
  out = false;

  constructor(address: string) {
    this.address = address;
  }

  evicted(): void {
    this.out = true;
  }
}

test("a flood of one address pushes out its own, and leaves the others", () => {
  const halfOpen = new HalfOpen(100, 3);
  const other = new Guest("10.0.0.2");
  halfOpen.add(other);
  const flood = Array.from({ length: 50 }, () => new Guest("10.0.0.1"));
  for (const guest of flood) halfOpen.add(guest);
  assert.deepEqual([halfOpen.size, other.out], [4, false]);
  assert.deepEqual(flood.map(({ out }) => out).lastIndexOf(true), 46);
});

test("a flood of many addresses pushes out the oldest of all", () => {
  const halfOpen = new HalfOpen(10, 3);
  const guests = Array.from({ length: 10_000 }, (_, i) => new Guest(`10.0.${i >> 8}.${i & 255}`));
  for (const guest of guests) halfOpen.add(guest);
  assert.equal(halfOpen.size, 10);
  assert.deepEqual(
    guests.filter(({ out }) => !out),
    guests.slice(-10),
  );
});

test("whatever comes and goes, the limits hold and only the oldest is put out", () => {
  const step = fc.oneof(
    fc.record({ does: fc.constant("add" as const), address: fc.constantFrom("a", "b", "c") }),
    fc.record({ does: fc.constant("leave" as const), which: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const halfOpen = new HalfOpen(5, 2);
      let inside: Guest[] = [];
      for (const each of steps) {
        if (each.does === "leave") {
          const guest = inside[each.which % Math.max(1, inside.length)];
          if (guest === undefined) continue;
          halfOpen.delete(guest);
          halfOpen.delete(guest);
          inside = inside.filter((other) => other !== guest);
          continue;
        }
        const guest = new Guest(each.address);
        const same = inside.filter(({ address }) => address === each.address);
        const goes = same.length >= 2 ? same[0] : inside.length >= 5 ? inside[0] : undefined;
        halfOpen.add(guest);
        inside = [...inside, guest].filter((other) => other !== goes);
        assert.equal(goes?.out ?? true, true);
        assert.ok(inside.every(({ out }) => !out));
        assert.equal(halfOpen.size, inside.length);
      }
    }),
  );
});
