/** A box with device keys and a control whose answers are known: what the AES envelope is tested against. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DeviceKeys } from "../../../src/auth/device-keys.ts";
import { Envelopes } from "../../../src/auth/envelopes.ts";
import { Gate } from "../../../src/auth/gate.ts";
import { SCOPES } from "../../../src/auth/scopes.ts";
import { Tokens } from "../../../src/auth/tokens.ts";
import { Vault } from "../../../src/auth/vault.ts";
import { nodeProvider } from "../../../src/crypto/aead-node.ts";
import type { HttpOptions } from "../../../src/transport/http/http.ts";
import { AesClient } from "../../conformance/aes-client.ts";
import type { DeviceKey } from "../../conformance/link-client.ts";
import { type Box, openBox } from "./fake.ts";

const MASTER = "m".repeat(40);

export class AesHouse implements AsyncDisposable {
  readonly clock = { ms: 0 };
  readonly refused: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "cib-aes-"));
  readonly #tokens = new Tokens(join(this.#folder, "tokens.json"), Date.now);
  readonly #keys = new DeviceKeys({
    file: join(this.#folder, "devices.json"),
    vault: new Vault(MASTER, Buffer.alloc(16)),
    provider: nodeProvider,
    now: Date.now,
  });
  #box: Box | undefined;
  #beat: () => void = () => undefined;

  static async open(options: Partial<HttpOptions> = {}): Promise<AesHouse> {
    const house = new AesHouse();
    const box = await openBox({
      refusedEnvelope: (_, why) => house.refused.push(why),
      every: (_, tick) => {
        house.#beat = tick;
        return () => {
          house.#beat = () => undefined;
        };
      },
      ...options,
    });
    const gate = new Gate({ masterToken: MASTER, tokens: house.#tokens, plain: "loopback", now: Date.now });
    const clock = () => house.clock.ms;
    const common = { keys: house.#keys, gate, provider: nodeProvider, random: randomBytes, clock };
    const envelopes = new Envelopes(common);
    box.control.envelope = (wish) => envelopes.open(wish);
    box.control.envelopeToken = () => envelopes.token();
    house.#box = box;
    return house;
  }

  get box(): Box {
    if (this.#box === undefined) throw new Error("the house is not open");
    return this.#box;
  }

  /** Of every command that has run, its name. */
  get ran(): string[] {
    return this.box.control.commands.map(({ cmd }) => cmd);
  }

  device(scopes = SCOPES): DeviceKey & { readonly token: string } {
    const token = Tokens.newId();
    this.#tokens.issue(token, { label: "lamp", scopes: [...scopes] });
    return { token, ...this.#keys.create(token, false) };
  }

  client(key: DeviceKey = this.device()): AesClient {
    return new AesClient(this.box.url, key);
  }

  revoke(token: string): void {
    this.#tokens.revoke(token);
  }

  /** Time for the heartbeat. */
  beat(): void {
    this.#beat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.box[Symbol.asyncDispose]();
    this.#tokens[Symbol.dispose]();
    rmSync(this.#folder, { recursive: true });
  }
}
