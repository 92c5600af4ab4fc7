/** WS MQTT: MQTT as messages of a WebSocket, handed over as it comes: this folder knows nothing of MQTT but its name. */
import { CibError } from "../../errors.ts";
import type { SocketEvents } from "../socket.ts";
import { protocolsOf } from "./door.ts";
import type { RawSocket, Request, Upgrade } from "./peer.ts";

/** Where stock clients look for it. */
export const MQTT_PATH = "/mqtt";
/** MQTT 3.1.1 §6: the subprotocol's name. */
const MQTT_PROTOCOL = "mqtt";
/** Longest message that is read at all: the largest packet that the broker takes, 512 KiB, and its head. Of the 128 that may be half-open 64 MiB, of one address 16 MiB. */
export const MAX_MQTT_MESSAGE_BYTES = 513 * 1024;

/** Who takes such a socket; what it brings goes to what is given back. */
export type TakeMqtt = (
  socket: RawSocket,
  from: { readonly address: string; readonly encrypted: boolean },
) => SocketEvents;

/** Admits one: who it is from is said inside, in MQTT. Throws `bad_request`. */
export function mqttUpgrade(request: Request, shows: boolean, encrypted: boolean, take: TakeMqtt): Upgrade {
  if (!protocolsOf(request).includes(MQTT_PROTOCOL))
    throw new CibError("bad_request", `sec-websocket-protocol: ${MQTT_PATH} expects ${MQTT_PROTOCOL}`);
  if (shows)
    throw new CibError("bad_request", "authorization: MQTT takes its token as the password of CONNECT, not here");
  if (request.query !== "") throw new CibError("bad_request", `query: ${MQTT_PATH} takes none`);
  const { address } = request;
  return { protocol: MQTT_PROTOCOL, open: (socket) => take(socket, { address, encrypted }) };
}
