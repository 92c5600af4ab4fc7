/** Transport: a way in. It carries commands to control and frames back, and decides nothing. */
import type { Control } from "../control/control.ts";

export interface Transport extends AsyncDisposable {
  readonly name: string;
  /** Listens; resolves once connections are accepted. Aborting the signal closes every connection. */
  start(control: Control, signal: AbortSignal): Promise<void>;
}
