/** MQTT: a broker in this process, for devices, homes and scripts: the topics of docs/MQTT.md and nothing else. */
import type { Control, Principal } from "../../control/control.ts";
import type { SessionId } from "../../frame/frame.ts";
import type { Transport } from "../transport.ts";
import type { Broker, BrokerOptions } from "./broker.ts";
import type { Client } from "./client.ts";
import { Floor } from "./floor.ts";
import { Listeners, type ListenersOptions } from "./listeners.ts";
import { admit } from "./lobby.ts";
import type { Arrival } from "./ports.ts";
import { Publisher } from "./publisher.ts";

/** What clients get to read their goodbye before they are cut. */
const STOP_GRACE_MS = 100;

export interface MqttOptions extends ListenersOptions {
  /** Whose eyes the broker has: it reads every session, and each client sees what its own principal may see. */
  readonly reader: Principal;
  /** mqtt.json in CIB_DATA: the subscriptions of clients that come back. */
  readonly file: string;
  /** Replaces that file as a whole. */
  write(file: string, text: string): void;
  readonly now: () => number;
  onFault(where: string, thrown: unknown): void;
  /** Told of everybody who was turned away, and why: for the log. */
  onRefused?(address: string, why: string): void;
  readonly limits?: BrokerOptions["limits"];
}
