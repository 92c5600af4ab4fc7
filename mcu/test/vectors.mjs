/** Vectors: test/vectors/cib1.json as a C header, so that the known answers are written down once. */
import { readFileSync } from "node:fs";

const { link, http, mqtt } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const text = (value) => JSON.stringify(String(value ?? ""));
const record = (r) => `{ ${text(r.plaintext)}, ${text(r.record)} }`;
const four = (records) => `{\n      ${records.map(record).join(",\n      ")} }`;
const fields = [
  "secret",
  "keyId",
  "boot",
  "connectionCounter",
  "random",
  "Rc",
  "clientMax",
  "daemonMax",
  "PRK0",
  "hello",
  "reply",
];
fields.push("Kc2s", "Ks2c");

const envelope = ["secret", "keyId", "random", "token"];

// X25519 is left out of this client: those links are the other side's.
const links = link.filter((each) => !each.x25519);
console.log(`/* Made from test/vectors/cib1.json by vectors.mjs. */
typedef struct record_answer { const char *plaintext, *record; } record_answer;
typedef struct link_answer {
  const char ${fields.map((name) => `*${name}`).join(", ")};
  record_answer c2s[${links[0].c2s.length}], s2c[${links[0].s2c.length}];
} link_answer;
static const link_answer LINKS[] = {
${links.map((each) => `  { ${fields.map((name) => text(each[name])).join(",\n    ")},\n    ${four(each.c2s)},\n    ${four(each.s2c)} }`).join(",\n")}
};
static const struct { const char *secret, *keyId, *password; } PASSWORDS[] = {
${mqtt.map((each) => `  { ${text(each.secret)}, ${text(each.keyId)}, ${text(each.linkPassword)} }`).join(",\n")}
};
typedef struct envelope_answer {
  const char *secret, *keyId, *random, *token, *line, *Rc, *header, *PRK, *request, *response, *plaintexts[2];
  unsigned boot, requestCounter;
} envelope_answer;
static const envelope_answer ENVELOPES[] = {
${http
  .map(
    (each) => `  { ${envelope.map((name) => text(each[name])).join(", ")},
    ${text(`${each.method}\n${each.path}\n`)}, ${text(each.Rc)}, ${text(each.header)}, ${text(each.PRK)},
    ${text(each.request)},
    ${text(each.response)},
    { ${each.plaintexts.map(text).join(", ")} }, ${each.boot}, ${each.requestCounter} }`,
  )
  .join(",\n")}
};`);
