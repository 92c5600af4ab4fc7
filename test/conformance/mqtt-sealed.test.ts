import { mqttSealed } from "./mqtt-sealed-way.ts";
import { conformance } from "./suite.ts";

conformance(mqttSealed);
