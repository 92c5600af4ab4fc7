/** Raw TCP as a way in. */
import { linkWay } from "./link-way.ts";
import { TcpLinkClient } from "./tcp-link-client.ts";

export const rawTcp = linkWay("raw TCP, CIB1", ({ tcpPort }, key) => TcpLinkClient.open(tcpPort, key));
