/** The C client of mcu/, built for tests: with AddressSanitizer and UBSan, once for each state of its sources. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const MCU = fileURLToPath(new URL("../../mcu", import.meta.url));
const BUILD = join(MCU, "build", "tests");
const HEADERS = ["include", "src", "port/posix", "posix", "test"];
const INCLUDES = ["include", "port/posix", "posix", "test"].map((folder) => `-I${folder}`);
const STRICT = [
  "-std=c99",
  "-Wall",
  "-Wextra",
  "-Wconversion",
  "-Wshadow",
  "-Wstrict-prototypes",
  "-pedantic",
  "-Werror",
];
const SANITIZED = ["-g", "-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
/** The suite sends texts of 16 KiB and asks for whole lists: more than any board takes. */
const ROOMY = ["-DCARRIER_TAKES=60000u", "-DCARRIER_SAYS=16000u"];

const SOFT = "cib_crypto_soft.c";
const PSA = "port/psa/cib_crypto_psa.c";
const DEVICE = ["port/posix/cib_posix.c", "posix/carrier.c", "posix/device.c"];
const TOLD = ["test/lines.c", "test/told.c"];
/** What is built beside the library: its files, its flags, what it is linked with. */
const PROGRAMS = {
  client: { files: [...DEVICE, ...TOLD, "test/client.c"], flags: ROOMY },
  /** With the operating system's cipher: fast enough for megabytes, and the port that ESP-IDF has. */
  "client-psa": {
    files: [...DEVICE, ...TOLD, "test/client.c"],
    flags: [...ROOMY, "-DCIB_PSA_RECORD=60000u"],
    psa: true,
  },
  codec: { files: [...TOLD, "test/codec.c"], flags: [] },
  boot: { files: ["port/posix/cib_posix.c", "test/boot.c"], flags: [] },
  bridge: { files: ["port/posix/cib_posix.c", "test/bridge.c"], flags: [] },
  "cib-lamp": { files: [...DEVICE, "posix/cib-lamp.c"], flags: [] },
} satisfies Record<string, { files: string[]; flags: string[]; psa?: boolean }>;
export type Name = keyof typeof PROGRAMS;

/** The path of a program, which is compiled where this state of its sources has not been before. Test files run side by side. */
export async function built(program: Name): Promise<string> {
  const { files, flags, psa = false }: { files: string[]; flags: string[]; psa?: boolean } = PROGRAMS[program];
  const library = readdirSync(join(MCU, "src")).filter((name) => name.endsWith(".c") && !(psa && name === SOFT));
  const sources = [...library.map((name) => `src/${name}`), ...(psa ? [PSA] : []), ...files];
  const objects = await Promise.all(sources.map((file) => compiled(file, flags)));
  const libraries = psa ? ["-lmbedcrypto"] : [];
  return once(`${program}-${digest(objects)}`, (to) => gcc([...SANITIZED, ...objects, ...libraries, "-o", to]));
}

/** The path of an object. Its name says what it was made of. */
function compiled(file: string, flags: readonly string[]): Promise<string> {
  // The library knows nothing of what its users choose.
  const own = file.startsWith("src/") ? [] : flags;
  const headers = HEADERS.flatMap((folder) =>
    readdirSync(join(MCU, folder))
      .filter((name) => name.endsWith(".h"))
      .map((name) => `${folder}/${name}`),
  );
  const state = digest([...own, ...[file, ...headers].map((name) => readFileSync(join(MCU, name), "utf8"))]);
  return once(`${basename(file, ".c")}-${state}.o`, (to) =>
    gcc([...STRICT, ...SANITIZED, ...own, ...INCLUDES, "-c", file, "-o", to]),
  );
}

/** Made under another name first: who finds it finds it whole. */
async function once(name: string, make: (to: string) => Promise<void>): Promise<string> {
  const path = join(BUILD, name);
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return path;
  mkdirSync(BUILD, { recursive: true });
  const unfinished = join(BUILD, `${process.pid}-${name}`);
  await make(unfinished);
  renameSync(unfinished, path);
  return path;
}

/** Compilers that run at a time: there are two cores. */
let free = 2;
const waiting: (() => void)[] = [];

async function gcc(args: readonly string[]): Promise<void> {
  if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  else free--;
  try {
    await promisify(execFile)("gcc", [...args], { cwd: MCU });
  } finally {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }
}

function digest(what: readonly string[]): string {
  return createHash("sha256")
    .update([...STRICT, ...SANITIZED, ...what].join("\n"))
    .digest("hex")
    .slice(0, 16);
}
