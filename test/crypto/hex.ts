/** Hex for the tests of crypto. */

export const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
export const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");
