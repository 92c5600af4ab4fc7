import { needs } from "../skip.ts";
import { cConformance } from "./c-suite.ts";
import { headerOf } from "./esp-build.ts";

cConformance("mqtt-sealed", "client-psa", needs("gcc", "gcc"), needs("libmbedtls-dev", headerOf("psa/crypto.h")));
