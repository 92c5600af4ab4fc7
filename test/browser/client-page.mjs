// The page's own script: the client as `claude-in-box/client` gives it, moved by the test from outside.
// Where the test's server has it: beside this one in no folder.
const { connect } = await import(new URL("client.mjs", import.meta.url).href);

const states = [];
let client;
let reading;

/** Texts and numbers of a session until `last` is said. */
async function readTo(feed, last) {
  const got = { seqs: [], texts: [], marks: [] };
  for await (const item of feed) {
    if (item.type === "gap" || item.type === "verdict") got.marks.push(item.verdict ?? "gap");
    if ("seq" in item) got.seqs.push(item.seq);
    if (item.type === "text.delta") got.texts.push(item.text);
    if (item.type === "text.delta" && item.text === last) break;
  }
  return got;
}

/** What came of it: the reply, or the refusal with its code. */
async function outcome(promise) {
  try {
    return { ok: await promise };
  } catch (thrown) {
    return { code: thrown.code, message: thrown.message, name: thrown.name };
  }
}

globalThis.cib = {
  open({ faulty, ...options }) {
    client = connect({
      ...options,
      onState: (state, why) => {
        states.push(state);
        console.log(why === undefined ? state : `${state}: ${why}`);
        if (faulty) throw new Error("a status line that fails");
      },
    });
  },
  run: (command) => outcome(client.run(command)),
  follow(session, last) {
    reading = readTo(client.attach(session, { from: 1 }), last);
  },
  read: () => reading,
  states: () => states,
  close: () => client.close(),
};
console.log("ready");
