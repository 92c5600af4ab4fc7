/** The demo: opens a session on a running box, sends a prompt, shows the frames, and says what to try next. */
import type { Frame } from "../frame/frame.ts";
import { type Look, present } from "./present.ts";
import { DEMO_PROMPT } from "./script.ts";

const TITLE = "demo";

/** The box as the demo reaches it: over HTTP, as anybody does. */
export interface DemoBox {
  readonly url: string;
  readonly token: string;
  /** Port of MQTT without TLS on loopback; undefined where it is off. */
  readonly mqtt?: number | undefined;
  readonly call: (method: "GET" | "POST", path: string, body?: object) => Promise<unknown>;
}

/** Shows the demo until `signal` ends it. `out` takes whole lines. */
export async function runDemo(
  box: DemoBox,
  out: (text: string) => void,
  look: Look,
  signal: AbortSignal,
): Promise<void> {
  const before = await lastDemo(box);
  const { session } = before ?? ((await box.call("POST", "/api/sessions", { title: TITLE })) as { session: string });
  out(`\nsession ${session}${before ? ", as the last demo left it" : ""}\n\n`);
  const frames = follow(box, session, signal);
  // The id makes it one prompt, however often the demo is started on this session.
  await box.call("POST", `/api/sessions/${session}/input`, { text: DEMO_PROMPT, id: `demo-${session}` });
  let told = false;
  for await (const frame of frames) {
    out(`${present(frame, look)}\n`);
    if (frame.type !== "stop" || told) continue;
    told = true;
    out(hints(box, session));
  }
}

/** A session that an earlier demo in this folder left running: it goes on where it was. */
async function lastDemo(box: DemoBox): Promise<{ session: string } | undefined> {
  const { sessions } = (await box.call("GET", "/api/sessions")) as {
    sessions: { session: string; title?: string; state: string }[];
  };
  return sessions.find(({ title, state }) => title === TITLE && state !== "stopped");
}

function hints({ url, token, mqtt }: DemoBox, session: string): string {
  const listen = `
  # the same frames over MQTT, as they come (while it runs, other users of this machine can read -P)
  mosquitto_sub -p ${mqtt} -u master -P "$CIB_TOKEN" -i master-demo -v -t 'cib/${session}/json/+'
`;
  return `
The box keeps running; ctrl-C stops it. In another terminal:

  export CIB_TOKEN=${token}

  # every frame so far, from the durable log
  curl -sH "Authorization: Bearer $CIB_TOKEN" ${url}/api/sessions/${session}/frames

  # say something; the frames appear here
  curl -sH "Authorization: Bearer $CIB_TOKEN" -H 'content-type: application/json' \\
    -d '{"text":"Hello, box"}' ${url}/api/sessions/${session}/input

  # sit down at its terminal
  CIB_URL=${url} node dist/cib.mjs attach ${session}
${mqtt === undefined ? "" : listen}
`;
}

/** The frames of a session from the first on, over server-sent events. Ends with the signal or the connection. */
async function* follow({ url, token }: DemoBox, session: string, signal: AbortSignal): AsyncGenerator<Frame> {
  const response = await fetch(`${url}/api/sessions/${session}/events?from=1`, {
    headers: { authorization: `Bearer ${token}`, accept: "text/event-stream" },
    signal,
  });
  if (!response.ok || response.body === null) throw new Error(`events: HTTP ${response.status}`);
  let rest = "";
  try {
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const events = (rest + text).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        const frame = frameIn(event);
        if (frame !== undefined) yield frame;
      }
    }
  } catch (failure) {
    if (!signal.aborted) throw failure;
  }
}

/** Heartbeats are comments and the verdict has no type: neither is a frame. */
function frameIn(event: string): Frame | undefined {
  const data = event.split("\n").filter((line) => line.startsWith("data:"));
  if (data.length === 0) return undefined;
  const value = JSON.parse(data.map((line) => line.slice(5)).join("\n")) as Frame;
  return typeof value.seq === "number" && typeof value.type === "string" ? value : undefined;
}
