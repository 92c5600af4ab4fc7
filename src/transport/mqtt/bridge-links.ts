/** Bridge links: sealed links of devices that come in over a foreign broker. */
import type { Control } from "../../control/control.ts";
import type { Timers } from "../timers.ts";
import type { Line } from "./bridge-line.ts";

export interface BridgeLinksOptions {
  readonly control: Control;
  readonly root: string;
  readonly now: () => number;
  readonly timers: Timers;
  fault(thrown: unknown): void;
  refused(why: string): void;
}

export class BridgeLinks {
  readonly size = 0;
  constructor(_options: BridgeLinksOptions) {}
  begin(_line: Line): void {}
  end(): void {}
  stop(): void {}
  message(_key: string, _payload: Buffer): void {}
  acknowledged(_packetId: number): void {}
}
