/** A sealed link as a way in, whatever carries it: each has a device key of its own, for of one key only the newest lives. */
import { deviceKey, keysOf, NOBODY } from "./keys.ts";
import type { DeviceKey, LinkClient } from "./link-client.ts";
import type { Stream, Verdict, Want, Way } from "./way.ts";
import type { World } from "./world.ts";

/** A way in over links that `open` opens. */
export function linkWay(name: string, open: (world: World, key: DeviceKey) => Promise<LinkClient>): Way {
  return {
    name,
    leastBytes: 128,
    connect: async (world, token) => {
      const keys = keysOf(world);
      const master = token === world.master;
      const holder = master ? `master, ${name}` : token;
      if (master && !keys.has(holder)) keys.set(holder, await deviceKey(world));
      const main = await open(world, keys.get(holder) ?? NOBODY);
      const clients = [main];
      return {
        run: async (command) => {
          const makes = command["cmd"] === "tokens.create";
          const reply = await main.ask(makes ? { device: true, ...command } : command);
          if (makes) keys.set(String(reply["token"]), reply["key"] as DeviceKey);
          return reply;
        },
        follow: async (want) => {
          if (!master) return follow(main, want);
          const client = await open(world, await deviceKey(world));
          clients.push(client);
          return follow(client, want);
        },
        close: () => {
          for (const client of clients) client.cut();
        },
      };
    },
  };
}

async function follow(client: LinkClient, want: Want): Promise<Stream> {
  return {
    verdict: (await client.ask({ cmd: "attach", ...want })) as unknown as Verdict,
    next: () => client.frames.take(),
    ended: client.ended,
    stall: () => client.stall(),
    resume: () => client.resume(),
    cut: () => client.cut(),
  };
}
