/** Socket: what a connection speaks through, whatever carries its messages. */

/** One WebSocket, or a link that carries the same messages. Every method is safe after the end. */
export interface Socket {
  /** Longest message that the peer takes, in bytes; undefined: any. */
  readonly room?: number;
  /** False when it was not taken: the socket is gone or over its limit. */
  send(message: Buffer | string, binary: boolean): boolean;
  /** Bytes that wait for the peer to read. */
  buffered(): number;
  /** Packs the sends of `body` into one system call. */
  cork(body: () => void): void;
  end(code: number, reason: string): void;
}

export interface SocketEvents {
  /** The bytes are the handler's to keep. */
  message(bytes: Buffer, binary: boolean): void;
  drained(): void;
  closed(): void;
}
