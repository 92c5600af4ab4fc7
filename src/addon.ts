/** Addons: the two native packages, loaded on first use, so that the command line can say what to do where one does not load. */
import { createRequire } from "node:module";

/** A native package that does not load here; the message says why and what to do. */
export class AddonError extends Error {
  override readonly name = "AddonError";
}

/** A loader that loads once. Throws AddonError. */
export function addon<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => {
    loaded ??= load(name) as T;
    return loaded;
  };
}

function load(name: string): unknown {
  try {
    return createRequire(import.meta.url)(name);
  } catch (cause) {
    throw new AddonError(`${name} does not load: ${reason(String((cause as Error).message))}`, { cause });
  }
}

function reason(message: string): string {
  const glibc = /version `GLIBC_([\d.]+)' not found/.exec(message)?.[1];
  if (glibc !== undefined) {
    return `its binary for Node ${process.versions.node} needs glibc ${glibc}; use Node 20, or Debian 13, Ubuntu 24.04 or newer`;
  }
  const first = message.split("\n")[0] ?? "";
  return `${first}; run npm install beside the bundle, with this Node and on this machine (${process.platform} ${process.arch})`;
}
