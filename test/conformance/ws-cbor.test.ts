import { conformance } from "./suite.ts";
import { webSocket } from "./ways.ts";

conformance(webSocket("cbor"));
