import { conformance } from "./suite.ts";
import { rawTcp } from "./tcp-way.ts";

conformance(rawTcp);
