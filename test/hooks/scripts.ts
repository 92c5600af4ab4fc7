/** Hook commands for tests: little programs in node, so that they run wherever the tests do. */

/** argv of a program that handles each stdin line with `body`, where `e` is the event and `say` answers. */
export function each(body: string): string[] {
  return script(
    `const say = (v) => process.stdout.write(JSON.stringify(v) + "\\n");
    require("readline").createInterface({ input: process.stdin }).on("line", (line) => { const e = JSON.parse(line); ${body} });`,
  );
}

/** argv of a program. */
export function script(body: string): string[] {
  return [process.execPath, "-e", body];
}
