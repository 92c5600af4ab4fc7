import { mqtt } from "./mqtt-way.ts";
import { conformance } from "./suite.ts";

conformance(mqtt("json"));
conformance(mqtt("cbor"));
