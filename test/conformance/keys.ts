/** Keys: the device keys of the tokens that tests know by their text, for every way in that needs one. */
import { SCOPES } from "../../src/auth/scopes.ts";
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

/** A key that may do what the master may: links know no master. */
export async function deviceKey(world: World, more: object = {}): Promise<DeviceKey> {
  const response = await fetch(`${world.url}/api/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${world.master}` },
    body: JSON.stringify({ label: "device", scopes: SCOPES, device: true, ...more }),
  });
  return ((await response.json()) as { key: DeviceKey }).key;
}
