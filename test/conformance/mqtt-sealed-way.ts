/** Sealed links over MQTT as a way in: each link has a device key of its own, for of one key only the newest lives. */
import { keysOf, NOBODY } from "./keys.ts";
import type { DeviceKey } from "./link-client.ts";
import { MqttLinkClient } from "./mqtt-link-client.ts";
import { deviceKey } from "./tcp-way.ts";
import type { Caller, Stream, Verdict, Want, Way } from "./way.ts";

export const mqttSealed: Way = {
  name: "MQTT, CIB1 on topics",
  leastBytes: 128,
  connect: async (world, token) => {
    const keys = keysOf(world);
    const holder = token === world.master ? "master, mqtt-sealed" : token;
    const master = token === world.master;
    if (master && !keys.has(holder)) keys.set(holder, await deviceKey(world));
    const main = await MqttLinkClient.open(world.mqttPort, keys.get(holder) ?? NOBODY);
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
        const client = await MqttLinkClient.open(world.mqttPort, await deviceKey(world));
        open.push(client);
        return follow(client, want);
      },
      close: () => {
        for (const client of open) client.mqtt.end();
      },
    };
    return caller;
  },
};

async function follow(client: MqttLinkClient, want: Want): Promise<Stream> {
  return {
    verdict: (await client.ask({ cmd: "attach", ...want })) as unknown as Verdict,
    next: () => client.frames.take(),
    ended: client.ended,
    stall: () => void client.mqtt.socket.pause(),
    resume: () => void client.mqtt.socket.resume(),
    cut: () => client.mqtt.end(),
  };
}
