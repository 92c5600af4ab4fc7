import { needs } from "../skip.ts";
import { cConformance } from "./c-suite.ts";

cConformance("mqtt", "client", needs("gcc", "gcc"));
