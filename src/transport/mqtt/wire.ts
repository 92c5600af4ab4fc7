/** Wire: MQTT 3.1.1 as bytes, as far as we write and measure it ourselves: PUBLISH, and where packets begin and end. */

/** Largest packet that a client may send: a prompt of 256 KiB in JSON with escapes, and its topic. */
export const MAX_PACKET_BYTES = 512 * 1024;
/** CONNECT with a client id, a will and a token, and what a hasty client sends right behind it. */
export const MAX_CONNECT_BYTES = 4096;

/** MQTT 3.1.1 §2.2.3: four bytes of seven bits. */
const MAX_LENGTH_BYTES = 4;

/** PUBLISH (§3.3): QoS 1 with a packet id, QoS 0 without. Made once, whatever the number of its readers. */
export function publishPacket(topic: string, payload: Uint8Array, retain: boolean, packetId?: number): Buffer {
  const name = Buffer.byteLength(topic);
  const length = 2 + name + (packetId === undefined ? 0 : 2) + payload.length;
  const head = 1 + sizeOfLength(length);
  const packet = Buffer.allocUnsafe(head + length);
  packet[0] = 0x30 | (packetId === undefined ? 0 : 0x02) | (retain ? 0x01 : 0);
  writeLength(packet, length);
  let at = packet.writeUInt16BE(name, head);
  at += packet.write(topic, at);
  if (packetId !== undefined) at = packet.writeUInt16BE(packetId, at);
  packet.set(payload, at);
  return packet;
}

function sizeOfLength(length: number): number {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : 4;
}

function writeLength(packet: Buffer, length: number): void {
  let left = length;
  for (let at = 1; ; at++) {
    packet[at] = (left & 0x7f) | (left > 0x7f ? 0x80 : 0);
    left >>= 7;
    if (left === 0) return;
  }
}

/** Measures a stream of packets as it arrives, so that nobody's parser collects what no packet of ours can be. */
export class Meter {
  #most = MAX_CONNECT_BYTES;
  /** Bytes of the running packet still to come; -1: its type is next, -2: its length. */
  #left = -1;
  #length = 0;
  #digits = 0;
  #first = true;

  /** The client has come in: it may say more at once. */
  widen(): void {
    this.#most = MAX_PACKET_BYTES;
  }

  /** Whether all of it may be read. False: a packet too large, a length that is none, or a beginning that is no CONNECT. */
  take(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
        if (this.#left === 0) this.#left = -1;
        continue;
      }
      if (!this.#head(bytes[at++] as number)) return false;
    }
    return true;
  }

  #head(byte: number): boolean {
    if (this.#left === -1) {
      // §3.1: the first packet is a CONNECT.
      if (this.#first && byte !== 0x10) return false;
      this.#first = false;
      this.#left = -2;
      this.#length = 0;
      this.#digits = 0;
      return true;
    }
    this.#length += (byte & 0x7f) * 0x80 ** this.#digits++;
    if (this.#length > this.#most) return false;
    if ((byte & 0x80) === 0) this.#left = this.#length === 0 ? -1 : this.#length;
    else if (this.#digits === MAX_LENGTH_BYTES) return false;
    return true;
  }
}
