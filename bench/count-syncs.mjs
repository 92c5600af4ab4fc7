// Counts fsync and fdatasync in whatever Node runs it: loaded with --import, before the daemon's own modules bind to node:fs.
import fs, { appendFileSync, existsSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const file = process.env.CIB_BENCH_SYNCS;
// Sessions get an environment of their own, so only the daemon has this variable.
if (file !== undefined && existsSync(file)) {
  const count = () => appendFileSync(file, ".");
  for (const name of ["fsync", "fdatasync", "fsyncSync", "fdatasyncSync"]) {
    const real = fs[name];
    fs[name] = (...args) => {
      count();
      return real(...args);
    };
  }
  const handle = await fs.promises.open(file, "r");
  const proto = Object.getPrototypeOf(handle);
  await handle.close();
  for (const name of ["sync", "datasync"]) {
    const real = proto[name];
    proto[name] = function () {
      count();
      return real.call(this);
    };
  }
  syncBuiltinESMExports();
}
