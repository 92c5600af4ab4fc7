/** The AES envelope as a way in: every command a request of its own, and a stream is one request that goes on. */
import { ROUTES } from "../../src/transport/http/routes.ts";
import { AesClient, type AesStream } from "./aes-client.ts";
import { deviceKey, keysOf, NOBODY } from "./keys.ts";
import type { DeviceKey } from "./link-client.ts";
import { Refused, type Way } from "./way.ts";

const CHANGES = new Set<string>(ROUTES.filter(({ method }) => method !== "GET").map(({ does }) => does));
/** What a client takes that is no microcontroller. */
const ROOM = { max_bytes: 32_767 };

let asked = 0;

export const aes: Way = {
  name: "AES envelope over HTTP",
  leastBytes: 128,
  connect: async (world, token) => {
    const keys = keysOf(world);
    const holder = token === world.master ? "master, aes" : token;
    if (token === world.master && !keys.has(holder)) keys.set(holder, await deviceKey(world));
    const client = new AesClient(world.url, keys.get(holder) ?? NOBODY);
    const open: AesStream[] = [];
    const follow = async (want: Readonly<Record<string, unknown>>) => {
      const stream = await client.follow({ ...ROOM, ...want });
      open.push(stream);
      return stream;
    };
    return {
      run: async (command) => {
        if (command["cmd"] === "attach") {
          const stream = await follow({ ...command });
          stream.cut();
          return { ...(await stream.verdict) };
        }
        const makes = command["cmd"] === "tokens.create";
        const id = CHANGES.has(String(command["cmd"])) ? { id: `ask-${asked++}` } : {};
        const [reply] = await client.ask([{ ...ROOM, ...id, ...(makes && { device: true }), ...command }]);
        const { re: _, ok, error, bye, ...fields } = reply ?? {};
        if (bye !== undefined) throw new Refused({ code: "unauthorized", message: String(bye), retryable: false });
        if (ok !== true) throw new Refused(error);
        if (makes) keys.set(String(fields["token"]), fields["key"] as DeviceKey);
        return fields;
      },
      follow: async (want) => {
        const stream = await follow({ ...want });
        return {
          verdict: await stream.verdict,
          next: () => stream.frames.take(),
          ended: stream.ended,
          stall: () => stream.stall(),
          resume: () => stream.resume(),
          cut: () => stream.cut(),
        };
      },
      close: () => {
        for (const stream of open) stream.cut();
      },
    };
  },
};
