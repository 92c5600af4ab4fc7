import { needs } from "../skip.ts";
import { cConformance } from "./c-suite.ts";
import { headerOf } from "./esp-build.ts";

// With the PSA port: HTTP cuts a reader that takes nothing for some seconds, and the software cipher under a sanitizer can be that slow.
cConformance("http", "client-psa", needs("gcc", "gcc"), needs("libmbedtls-dev", headerOf("psa/crypto.h")));
