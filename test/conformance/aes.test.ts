import { aes } from "./aes-way.ts";
import { conformance } from "./suite.ts";

conformance(aes);
