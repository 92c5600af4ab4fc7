/** Keys: the device keys of the tokens that tests know by their text, for every way in that needs one. */
import type { DeviceKey } from "./link-client.ts";
import type { World } from "./world.ts";

/** Opens nothing. */
export const NOBODY: DeviceKey = { id: "00".repeat(8), secret: "00".repeat(32) };

const KEYS = new WeakMap<World, Map<string, DeviceKey>>();

/** By token. What a way needs for itself stands under names of its own, for of one key only the newest link lives. */
export function keysOf(world: World): Map<string, DeviceKey> {
  const keys = KEYS.get(world) ?? new Map<string, DeviceKey>();
  KEYS.set(world, keys);
  return keys;
}
