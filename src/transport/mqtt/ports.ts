/** Ports: what the parts of MQTT know of each other. */
import type { Duplex } from "node:stream";

/** A connection that may speak MQTT, from any listener. */
export interface Arrival {
  /** Bounded: never reports full, and is destroyed where its peer does not read. */
  readonly stream: Duplex;
  /** Remote IP address. */
  readonly address: string;
  /** TLS, by certificate or by key. */
  readonly encrypted: boolean;
  /** The key id (16 hex digits) that TLS-PSK has proved. */
  readonly keyId?: string;
  /** Bytes that wait for the peer to read. */
  waiting(): number;
  /** Grows while the peer reads; left out: `waiting` says it all. */
  taken?(): number;
}

/** What publishes to one client, past the broker's own queues. */
export interface Outlet {
  /** QoS 1 with this packet id (1 to 65535), or QoS 0 without one. False where the connection is gone. */
  publish(topic: string, payload: Uint8Array, packetId?: number): boolean;
  /** Bytes that wait for the peer to read. */
  waiting(): number;
  /** Grows while the peer reads; left out: only its acknowledgements say so. */
  taken?(): number;
  /** A packet id that is in nobody's use on this connection. */
  nextPacketId(): number;
  close(reason: string): void;
}
