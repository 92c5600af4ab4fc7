/** How a streamed answer ends: as HTTP says, so that a strict client sees its end and not a broken chunk (RFC 9112 §7.1). */
import assert from "node:assert/strict";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { test } from "node:test";
import { openWorld } from "../../conformance/world.ts";

test("a stream whose token is revoked ends whole for a client that reads chunks to the letter", async () => {
  await using world = await openWorld();
  const headers = { authorization: `Bearer ${world.master}` };
  const post = async (path: string, body: unknown) =>
    (await (await fetch(`${world.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) })).json()) as {
      readonly id: string;
      readonly session: string;
      readonly token: string;
    };
  const { session } = await post("/api/sessions", {});
  const reader = await post("/api/tokens", { label: "reader", scopes: ["sessions:read"] });
  const request = get(`${world.url}/api/sessions/${session}/events?from=1`, {
    headers: { authorization: `Bearer ${reader.token}` },
  });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  assert.equal(response.statusCode, 200);
  const ended = once(response, "end");
  response.resume();
  await fetch(`${world.url}/api/tokens/${reader.id}`, { method: "DELETE", headers });
  await ended;
  assert.ok(response.complete);
});
