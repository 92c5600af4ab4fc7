/** WS: upgrades admitted or refused, and every open WebSocket. */

import { parseAttach } from "../../control/commands.ts";
import type { Control } from "../../control/control.ts";
import { asCibError, CibError } from "../../errors.ts";
import type { Callers } from "../callers.ts";
import { Connection } from "../connection.ts";
import { checkSize } from "../feed.ts";
import type { Format } from "../values.ts";
import { type Door, protocolsOf } from "./door.ts";
import type { Exchange } from "./listener.ts";
import type { Request, Upgrade } from "./peer.ts";
import { ROUTES, readQuery } from "./routes.ts";
import { refuse } from "./wire.ts";
import { LINK_PROTOCOL, linkUpgrade, wantsLink } from "./ws-link.ts";
import { MQTT_PATH, mqttUpgrade, type TakeMqtt } from "./ws-mqtt.ts";

const PROTOCOLS: ReadonlyMap<string, Format> = new Map([
  ["cib.v1.cbor", "cbor"],
  ["cib.v1.json", "json"],
]);
const QUERY = ROUTES.find((route) => route.does === "socket")?.query;
/** RFC 6455 §5.5: a control frame has 125 bytes, two of them are the code. */
const MAX_REASON_BYTES = 123;

export interface SocketsOptions {
  readonly control: Control;
  readonly door: Door;
  /** Those who come by a device key instead of a token. */
  readonly links: Callers;
  /** Who takes MQTT; undefined where it is off. */
  readonly mqtt: TakeMqtt | undefined;
  readonly tls: boolean;
  /** Whether one more connection is allowed. */
  readonly room: () => boolean;
  fault(thrown: unknown): void;
}

/** Every open WebSocket. */
export class Sockets {
  readonly #options: SocketsOptions;
  readonly #open = new Set<Connection>();

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size + this.#options.links.counts.live;
  }

  /** Admits an upgrade, or answers with the refusal in plain HTTP. */
  upgrade(exchange: Exchange): Upgrade | undefined {
    try {
      return this.#admit(exchange);
    } catch (thrown) {
      const error = asCibError(thrown);
      if (error.code === "internal") this.#options.fault(thrown);
      refuse(exchange, error, "json");
      return undefined;
    }
  }

  /** Says goodbye to every socket. */
  stop(): void {
    for (const connection of [...this.#open]) connection.bye("stopping");
    this.#options.links.stop();
  }

  #admit(exchange: Exchange): Upgrade {
    const { door, room, mqtt, tls } = this.#options;
    const { request } = exchange;
    door.check(request, true);
    if (request.path === MQTT_PATH && mqtt !== undefined) {
      checkRoom(room);
      return mqttUpgrade(request, door.shows(request), tls, mqtt);
    }
    // Not before the Origin was found good: a foreign page learns nothing, not even that there is a box.
    if (!request.headers.has("origin")) return this.#enter(request);
    try {
      return this.#enter(request);
    } catch (thrown) {
      return toPage(protocolsOf(request), asCibError(thrown), room);
    }
  }

  #enter(request: Request): Upgrade {
    const { door, room, control, links } = this.#options;
    if (wantsLink(protocolsOf(request))) {
      checkRoom(room);
      return linkUpgrade(request, door.shows(request), links);
    }
    const query = readQuery(request.query, QUERY);
    const who = door.enter(request);
    const protocol = protocolsOf(request).find((name) => PROTOCOLS.has(name));
    const format = protocol === undefined ? undefined : PROTOCOLS.get(protocol);
    if (protocol === undefined || format === undefined) {
      throw new CibError(
        "bad_request",
        `sec-websocket-protocol: expected ${[...PROTOCOLS.keys(), LINK_PROTOCOL].join(" or ")}`,
      );
    }
    const attach = Object.keys(query).length > 0 ? parseAttach(query) : undefined;
    if (attach !== undefined) checkSize(attach.max_bytes, format);
    checkRoom(room);
    return {
      protocol,
      open: (socket) => {
        const connection = new Connection(
          socket,
          format,
          who,
          control,
          (thrown) => this.#options.fault(thrown),
          () => {
            this.#open.delete(connection);
          },
        );
        this.#open.add(connection);
        connection.begin(attach);
        return connection;
      },
    };
  }
}

/** A page cannot see why an upgrade was refused: its socket is opened, and closes with the error's code. Throws what it cannot tell so. */
function toPage(offered: readonly string[], error: CibError, room: () => boolean): Upgrade {
  const protocol = offered.find((name) => PROTOCOLS.has(name) || name === LINK_PROTOCOL);
  if (protocol === undefined || error.code === "internal" || !room()) throw error;
  return {
    protocol,
    open: (socket) => {
      socket.end(error.row.close, reasonOf(error));
      return { message: () => {}, drained: () => {}, closed: () => {} };
    },
  };
}

/** As much of the message as a close frame holds, cut between characters. */
function reasonOf({ message }: CibError): string {
  return Buffer.from(message)
    .subarray(0, MAX_REASON_BYTES)
    .toString()
    .replace(/\ufffd+$/, "");
}

function checkRoom(room: () => boolean): void {
  if (!room()) throw new CibError("overloaded", "connections: all are in use; close some");
}
