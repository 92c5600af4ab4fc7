/** Socket: what a connection speaks through, whatever carries its messages. */

/** One WebSocket, or a link that carries the same messages. Every method is safe after the end. */
export interface Socket {
  /** Longest message that the peer takes, in bytes; undefined: any. */
  readonly room?: number;
  /**
   * Sends what is due, at least one message, in as few system calls as hold it: callers gather, so that nothing has to
   * wait here. False when not all of it was taken: the socket is gone or over its limit.
   */
  send(messages: readonly Buffer[], binary: boolean): boolean;
  /** Bytes that wait for the peer to read. */
  buffered(): number;
  /** Grows while the peer reads; undefined or left out: `buffered` says it all. */
  taken?(): number | undefined;
  end(code: number, reason: string): void;
}

export interface SocketEvents {
  /** The bytes are the handler's to keep. */
  message(bytes: Buffer, binary: boolean): void;
  drained(): void;
  closed(): void;
}
