/** A sink that remembers what it got and is full, gone or broken when a test says so. */
import type { Encoded } from "../../src/frame/codec.ts";
import type { Frame, PtyFrame } from "../../src/frame/frame.ts";
import type { CloseReason, Sink } from "../../src/frame/sink.ts";

export class Recorder implements Sink {
  /** Frames by seq, gaps as "from-to", in order. */
  readonly got: (number | string)[] = [];
  readonly frames: Encoded[] = [];
  readonly lane: PtyFrame[] = [];
  closed: CloseReason | undefined;
  /** What write answers; asked after the frame was taken. */
  answer: (frame: Encoded) => "ok" | "full" | "gone" = () => "ok";

  write(frame: Encoded): "ok" | "full" | "gone" {
    const answer = this.answer(frame);
    if (answer === "gone") return answer;
    if (frame.type === "pty.raw") this.lane.push(frame.frame() as PtyFrame);
    else {
      this.got.push(frame.seq);
      this.frames.push(frame);
    }
    return answer;
  }

  gap(from: number, to: number): void {
    this.got.push(`${from}-${to}`);
  }

  close(reason: CloseReason): void {
    this.closed = reason;
  }

  get words(): string[] {
    return this.frames
      .map((encoded) => encoded.frame() as Frame)
      .map((frame) => (frame.type === "text.delta" ? frame.text : frame.type));
  }

  /** The lane's bytes as text. */
  get screen(): string {
    return Buffer.concat(this.lane.map((frame) => frame.data)).toString();
  }
}
