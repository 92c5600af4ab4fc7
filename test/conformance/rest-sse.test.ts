import { conformance } from "./suite.ts";
import { restAndEvents } from "./ways.ts";

conformance(restAndEvents);
