/** The command line: which command, signals, exit codes. What a command does is in cli/. */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { attach } from "./cli/attach.ts";
import { doctor } from "./cli/doctor.ts";
import { EXIT, Failure, type Io, UsageError } from "./cli/io.ts";
import { login } from "./cli/login.ts";
import { serve } from "./cli/serve.ts";
import { token } from "./cli/token.ts";
import { VERSION } from "./daemon.ts";

export const HELP = `cib: Claude Code sessions, kept running and reachable

usage
  cib serve [--dev | --demo]        run the daemon; settings are CIB_* variables. It listens on 8080 (CIB_LISTEN: HTTP),
                                    8081 (CIB_TCP_LISTEN: raw TCP), 1883 and 8883 (CIB_MQTT_LISTEN, CIB_MQTTS_LISTEN)
                                    --dev: on loopback with a minted token, everything under .cib
                                    --demo: the same with a scripted model, no account needed
  cib attach <session>              sit at a session's terminal; ctrl-] leaves it
  cib attach <session> --frames     print its frames as they come; --from <seq> also older ones
  cib token create <label> [--scopes a,b] [--ttl 30d] [--session <id>] [--device [--x25519]]
                                    --device: a key for links without TLS; --x25519: links with X25519 only
  cib token list | cib token revoke <id>
  cib login [--status]              log the box's subscription in: shows a page to open, asks for its code
  cib doctor [--json]               what is in order, what is not, and what to do
  cib --version | --help

which box (attach, token, login)
  --url <url>                       or CIB_URL; http://127.0.0.1:8080
  --token-file <file>               or CIB_TOKEN, CIB_AUTH_TOKEN, CIB_AUTH_TOKEN_FILE; beside cib serve --dev
                                    none is needed. Never an argument: others can read those
  CIB_DEVICE_KEY=<id>:<secret>      instead of a token (attach, token): a sealed link, over http:// without TLS
                                    or --url tcp://<host>:8081

exit codes
  0 done   1 it did not work   2 the command line was wrong
`;

const COMMANDS: Readonly<Record<string, (args: readonly string[], io: Io, stop: AbortSignal) => Promise<number>>> = {
  serve,
  attach,
  token,
  login,
  doctor,
};

/** Runs one command line (without node and script) to its exit code. A fault of ours is thrown. */
export async function main(argv: readonly string[], io: Io, stop: AbortSignal): Promise<number> {
  const [name, ...args] = argv;
  if (name === "--version" || name === "-v") return say(io, `${VERSION}\n`);
  if (name === "--help" || name === "-h" || name === "help" || args.includes("--help")) return say(io, HELP);
  try {
    const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) throw new UsageError(name === undefined ? "expected a command" : `no command "${name}"`);
    const leaked = args.find((arg) => /^--token(=|$)/.test(arg));
    if (leaked !== undefined)
      throw new UsageError(
        "--token: every user of this machine can read arguments; set CIB_TOKEN, or use --token-file",
      );
    return await command(args, io, stop);
  } catch (failure) {
    if (failure instanceof UsageError || isParseError(failure)) {
      io.err(`cib: ${failure.message}\ncib --help shows how\n`);
      return EXIT.usage;
    }
    if (!(failure instanceof Failure)) throw failure;
    io.err(`cib: ${failure.message}\n`);
    return EXIT.failed;
  }
}

function say(io: Io, text: string): number {
  io.out(text);
  return EXIT.ok;
}

/** What node:util parseArgs throws: its messages are fit for people. */
function isParseError(thrown: unknown): thrown is Error {
  return thrown instanceof Error && String((thrown as NodeJS.ErrnoException).code).startsWith("ERR_PARSE_ARGS");
}

/** The first signal stops gracefully, the second at once. */
function onSignals(): AbortSignal {
  const stop = new AbortController();
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(128 + number);
      stop.abort(signal);
    });
  }
  return stop.signal;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const io: Io = {
    env: process.env,
    cwd: process.cwd(),
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
  // A reader that has seen enough (`cib token list | head`) is no fault.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failed),
  );
  process.exit(await main(process.argv.slice(2), io, onSignals()));
}
