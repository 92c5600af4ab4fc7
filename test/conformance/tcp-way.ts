/** Raw TCP as a way in: each link has a device key of its own, for of one key only the newest lives. */
import { SCOPES } from "../../src/auth/scopes.ts";
import { keysOf, NOBODY } from "./keys.ts";
import { type DeviceKey, LinkClient } from "./link-client.ts";
import type { Caller, Stream, Verdict, Want, Way } from "./way.ts";
import type { World } from "./world.ts";

export const rawTcp: Way = {
  name: "raw TCP, CIB1",
  leastBytes: 128,
  connect: async (world, token) => {
    const keys = keysOf(world);
    const holder = token === world.master ? "master, tcp" : token;
    const master = token === world.master;
    if (master && !keys.has(holder)) keys.set(holder, await deviceKey(world));
    const main = await LinkClient.open(world.tcpPort, keys.get(holder) ?? NOBODY);
    const open = [main];
    const caller: Caller = {
      run: async (command) => {
        const makes = command["cmd"] === "tokens.create";
        const reply = await main.ask(makes ? { device: true, ...command } : command);
        if (makes) keys.set(String(reply["token"]), reply["key"] as DeviceKey);
        return reply;
      },
      follow: async (want) => {
        if (!master) return follow(main, want);
        const client = await LinkClient.open(world.tcpPort, await deviceKey(world));
        open.push(client);
        return follow(client, want);
      },
      close: () => {
        for (const client of open) client.socket.destroy();
      },
    };
    return caller;
  },
};

async function follow(client: LinkClient, want: Want): Promise<Stream> {
  return {
    verdict: (await client.ask({ cmd: "attach", ...want })) as unknown as Verdict,
    next: () => client.frames.take(),
    ended: client.ended,
    stall: () => void client.socket.pause(),
    resume: () => void client.socket.resume(),
    cut: () => void client.socket.destroy(),
  };
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
