import { conformance } from "./suite.ts";
import { webSocketSealed } from "./ws-sealed-way.ts";

conformance(webSocketSealed);
