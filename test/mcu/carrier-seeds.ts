/** Carrier seeds: what fuzzing of the C client's MQTT, HTTP and sealed MQTT begins from. See mcu/test/fuzz_{mqtt,http,mqtt_link}.c for the bytes before each. */

/** {next: 16 bytes}, then the number 1. */
const NEXT = Buffer.concat([Buffer.from("\xa1\x64next\x50", "latin1"), Buffer.alloc(16, 7), Buffer.from([1])]);
/** In a record of the fuzz target for HTTP. */
const LAST = 0x80;
const DAMAGED = 0x70;

/** name under mcu/test/corpus → bytes. */
export function carrierSeeds(): Map<string, Buffer> {
  return new Map([
    ...Object.entries(MQTT).map(([name, hex]) => [`mqtt/${name}`, mqtt(hex)] as const),
    ...Object.entries(HTTP).map(([name, bytes]) => [`http/${name}`, bytes] as const),
    ...Object.entries(SEALED).map(([name, events]) => [`mqtt_link/${name}`, sealed(events)] as const),
  ]);
}

/** Packets of a broker, behind its CONNACK. */
const MQTT: Readonly<Record<string, string>> = {
  messages: "3006000161686921 3b090003612f620007796f d000 40020001",
  suback: "9003000100900300028030050001740101",
  "too-long": `32900100016101ff${"61".repeat(139)}d000`,
  "five-bytes": "30ffffffff01",
  "no-topic": "3003000561",
};

function mqtt(hex: string): Buffer {
  return Buffer.concat([Buffer.from([64, 3, 1]), Buffer.from(hex.replaceAll(" ", ""), "hex")]);
}

function record(flags: number, plaintext: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([flags, plaintext.length]), plaintext]);
}

const RECORDS = Buffer.concat([
  record(0, NEXT),
  record(0, Buffer.alloc(0)),
  record(LAST, Buffer.from("a163627965686d61785f6d7367", "hex")),
]);

const HTTP: Readonly<Record<string, Buffer>> = {
  length: Buffer.concat([Buffer.from([1, 9, 0]), RECORDS]),
  chunks: Buffer.concat([Buffer.from([2, 0, 11]), RECORDS]),
  endless: Buffer.concat([Buffer.from([3, 5, 0]), RECORDS]),
  damaged: Buffer.concat([Buffer.from([1, 0, 0]), record(0, NEXT), record(DAMAGED, NEXT), record(LAST, NEXT)]),
  refused: Buffer.from(`${"\0".repeat(3)}HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n`),
  interim: Buffer.from(
    `${"\0".repeat(3)}HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n`,
  ),
  token: Buffer.from(
    `\x04\0\0HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{"token":"${"0123456789abcdef".repeat(2)}"}`,
  ),
};

/** What happens, and its bytes. */
type Event = readonly [what: number, bytes: Uint8Array];
const RECORD = 0;
const AGAIN = 2;
const ANYTHING = 3;
const TIME = 5;
const COMMAND = 6;
const ACKNOWLEDGED = 7;
const NONE = Buffer.alloc(0);

const SEALED: Readonly<Record<string, readonly Event[]>> = {
  life: [
    [ACKNOWLEDGED, NONE],
    [COMMAND, NEXT],
    [ACKNOWLEDGED, NONE],
    [RECORD, NEXT],
    [AGAIN, NONE],
    [TIME, Buffer.alloc(26)],
    [RECORD, NONE],
  ],
  bye: [
    [RECORD, Buffer.from("05a1636279656572656b6579", "hex")],
    [TIME, Buffer.alloc(1)],
  ],
  foreign: [
    [ANYTHING, Buffer.alloc(40, 1)],
    [4, Buffer.from("1")],
  ],
};

function sealed(events: readonly Event[]): Buffer {
  return Buffer.concat([Buffer.from([1]), ...events.map(([what, bytes]) => record(what, bytes))]);
}
