/** WebSocket without TLS as a way in: `cib.v1.link`. */
import { linkWay } from "./link-way.ts";
import { WsLinkClient } from "./ws-link-client.ts";

export const webSocketSealed = linkWay("WebSocket, CIB1", ({ url }, key) => WsLinkClient.open(url, key));
