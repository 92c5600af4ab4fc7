import { needs } from "../skip.ts";
import { cConformance } from "./c-suite.ts";

cConformance("tcp", "client", needs("gcc", "gcc"));
