/** OpenAPI: the HTTP API described for machines, made from the route table, the command schemas and the error table; at build time only. */
import { toJsonSchema } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { ATTACH, COMMANDS } from "../../control/commands.ts";
import { ERRORS } from "../../errors.ts";
import type { QueryKind, Route } from "./routes.ts";
import { ROUTES } from "./routes.ts";

type Schema = Readonly<Record<string, unknown>>;

/** Of the API, not of the program: it changes when a client has to. */
const API_VERSION = "1";
/** Every route can refuse with these, whatever it does. */
const COMMON_REFUSALS = [400, 401, 403, 429, 500, 503];
const ERROR = { $ref: "#/components/responses/Error" };

/** The description as one OpenAPI 3.1 object, the same for the same sources: docs/openapi.json is compared with it. */
export function openapi(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of ROUTES as readonly Route[]) {
    const path = route.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "claude-in-box",
      version: API_VERSION,
      description:
        "Live Claude Code sessions over HTTP. Bodies are JSON, or CBOR with content-type and accept application/cbor.",
      license: { name: "MIT", identifier: "MIT" },
    },
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "The master token or a device token; never in a URL." },
      },
      responses: {
        Error: {
          description: "A refusal; Retry-After says when to try again.",
          content: body({ $ref: "#/components/schemas/Error" }),
        },
      },
      schemas: { Error: errorSchema() },
    },
  };
}

function operation(route: Route): object {
  const args = argsOf(route);
  const inPath = Array.from(route.path.matchAll(/:(\w+)/g), ([, name = ""]) => name);
  const parameters = [
    ...inPath.map((name) => ({ name, in: "path", required: true, schema: schemaOf(args[name]) ?? { type: "string" } })),
    ...Object.entries(route.query ?? {}).map(([name, kind]) => ({
      name,
      in: "query",
      ...querySchema(kind, schemaOf(args[name])),
    })),
    ...(route.does === "events"
      ? [{ name: "Last-Event-ID", in: "header", description: "<epoch>:<seq>; beats from", schema: { type: "string" } }]
      : []),
    ...(route.body && "id" in args
      ? [
          {
            name: "Idempotency-Key",
            in: "header",
            description: "id, where the body has none",
            schema: { type: "string", maxLength: 64 },
          },
        ]
      : []),
  ];
  return {
    operationId: `${route.method.toLowerCase()} ${route.does}`.replace(/[ .]+(\w)/g, (_, letter: string) =>
      letter.toUpperCase(),
    ),
    summary: route.summary,
    ...(route.open && { security: [] }),
    ...(scopesOf(route).length > 0 && { description: `Scope: ${scopesOf(route).join(", ")}.` }),
    ...(parameters.length > 0 && { parameters }),
    ...(route.body && { requestBody: requestBody(args, inPath) }),
    responses: responses(route),
  };
}

function requestBody(args: v.ObjectEntries, inPath: readonly string[]): object {
  const names = Object.keys(args).filter((name) => !inPath.includes(name));
  const required = names.filter((name) => args[name]?.type !== "optional");
  return {
    required: required.length > 0,
    content: body({
      type: "object",
      properties: Object.fromEntries(names.map((name) => [name, schemaOf(args[name]) ?? {}])),
      ...(required.length > 0 && { required }),
      additionalProperties: false,
    }),
  };
}

function responses(route: Route): object {
  if (route.does === "socket") return { 101: { description: "Switching to WebSocket" }, default: ERROR };
  if (route.does === "envelope")
    return {
      200: { description: "The replies, sealed", content: { "application/octet-stream": {} } },
      401: { description: "Unknown key, used or expired token, altered or repeated: always the same, and empty" },
      default: ERROR,
    };
  const success =
    route.does === "events"
      ? {
          description: "A stream: the event verdict, then frames; bye at the end",
          content: { "text/event-stream": { schema: { type: "string" } } },
        }
      : { description: "Done", content: body({ type: "object" }) };
  return {
    [route.status ?? 200]: success,
    ...(route.does === "interrupt" && { 202: { description: "Claude has not confirmed yet; a status frame will" } }),
    ...(route.does === "send" && { 408: { description: "The turn goes on; what there is comes with the error" } }),
    ...Object.fromEntries(COMMON_REFUSALS.map((status) => [status, ERROR])),
    default: ERROR,
  };
}

function body(schema: Schema): object {
  return { "application/json": { schema }, "application/cbor": { schema } };
}

function argsOf(route: Route): v.ObjectEntries {
  if (route.does === "events" || route.does === "socket") return ATTACH.entries;
  return Object.hasOwn(COMMANDS, route.does) ? COMMANDS[route.does as keyof typeof COMMANDS].args : {};
}

function scopesOf(route: Route): readonly string[] {
  if (route.does === "events") return ["sessions:read"];
  return Object.hasOwn(COMMANDS, route.does) ? COMMANDS[route.does as keyof typeof COMMANDS].scope : [];
}

/** A list travels as one comma-separated value. */
function querySchema(kind: QueryKind, schema: Schema | undefined): object {
  if (kind === "list")
    return { style: "form", explode: false, schema: schema ?? { type: "array", items: { type: "string" } } };
  return { schema: schema ?? { type: kind === "whole" ? "integer" : kind === "flag" ? "boolean" : "string" } };
}

/** What JSON Schema cannot say (byte lengths, control characters) is left to the refusal. */
function schemaOf(schema: v.ObjectEntries[string] | undefined): Schema | undefined {
  if (schema === undefined) return undefined;
  const { $schema: _, ...rest } = toJsonSchema(schema as v.GenericSchema, { errorMode: "ignore", typeMode: "input" });
  return rest as Schema;
}

function errorSchema(): Schema {
  return {
    type: "object",
    required: ["error"],
    properties: {
      error: {
        type: "object",
        required: ["code", "message", "retryable"],
        properties: {
          code: { enum: Object.keys(ERRORS) },
          message: { type: "string" },
          retryable: { type: "boolean" },
        },
      },
    },
  };
}
