/** A certificate for 127.0.0.1, made for one test. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate extends Disposable {
  /** Paths of PEM files. */
  readonly cert: string;
  readonly key: string;
}

export function makeCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), "cib-tls-"));
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
  execFileSync("openssl", [...made, ...name, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, key, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}
