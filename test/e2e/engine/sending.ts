/** Engine suite, what is sent: odd texts, commands of Claude's own, switches. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { textOf } from "../../agent/rig.ts";
import { NEWEST, PINNED } from "../claude-versions.ts";
import { call, ended, type Kit, mains, NOW, stops, when } from "./kit.ts";

const soon = (): AbortSignal => AbortSignal.timeout(30_000);

export function sendingTests(kit: Kit): void {
  const { rigged, start, version, can } = kit;
  rigged("long, odd and commanding texts are submitted as they are", when({}), async (rig) => {
    const odd = [
      "# not a memory",
      "ends with @",
      "tab\there and \"quotes\" 'and' `ticks`",
      `${"many words ".repeat(1500)}end`,
      "a\n\nb\n".repeat(20).trim(),
      "über 🙂 漢字",
    ];
    for (const text of odd) {
      const at = rig.agent.at;
      await rig.turn(text);
      assert.equal(await rig.shows(at, text), true, text.slice(0, 30));
    }
    const requests = mains(rig);
    assert.equal(requests.length, odd.length);
    assert.match(requests[3]?.last ?? "", /many words end$/);
    assert.doesNotMatch(
      JSON.stringify(requests.at(-1)?.messages),
      /pasted_content/,
      "the model is not told that a prompt was pasted",
    );
  });

  it("switches model, effort and mode, each confirmed, and refuses what there is not", async () => {
    const [first, other] = ["claude-opus-4-6", "claude-haiku-4-5-20251001"];
    let release: () => void = () => undefined;
    const released = new Promise<void>((done) => {
      release = done;
    });
    async function* slowly(): AsyncGenerator<string> {
      yield "It takes a while.\n";
      await released;
      yield "Done.";
    }
    const script = when({ slowly: () => call({ text: slowly() }) });
    const knows = (model: string): boolean => !model.includes("unheard");
    await using rig = await start({ script, knows, spec: { model: first } });
    assert.equal(await rig.agent.switch("model", other, soon()), other);
    assert.equal(rig.of("meta").at(-1)?.model, other);
    await rig.turn("which model");
    assert.equal(mains(rig).at(-1)?.model, other);

    const from = rig.frames.length;
    await rig.agent.submit("slowly", NOW);
    await rig.until(() => mains(rig).length === 2, "the slow turn's request");
    const switching = rig.agent
      .switch("model", first, soon())
      .then((model) => [model, ...stops(rig.frames.slice(from))]);
    if (can.switchesAtOnce) assert.deepEqual(await switching, [first], "in the middle of the turn");
    release();
    if (!can.switchesAtOnce) assert.deepEqual((await switching).slice(0, 2), [first, "end_turn"], "when it has ended");
    await ended(rig, from);
    assert.deepEqual(stops(rig.frames.slice(from)).at(0), "end_turn");

    await assert.rejects(rig.agent.switch("model", "claude-unheard-of-9", soon()), { code: "bad_request" });
    await assert.rejects(rig.agent.switch("effort", "turbo", soon()), { code: "bad_request" });
    assert.equal(await rig.agent.switch("effort", "low", soon()), "low");
    assert.equal(rig.of("meta").at(-1)?.effort, "low");
    await rig.turn("which effort");
    assert.deepEqual([mains(rig).at(-1)?.model, mains(rig).at(-1)?.effort], [first, "low"]);

    for (const mode of ["plan", "default", "acceptEdits", "bypassPermissions"]) {
      assert.equal(await rig.agent.switch("mode", mode, soon()), mode);
      assert.equal(rig.of("meta").at(-1)?.permission_mode, mode);
    }
    // At a terminal it is known only which modes come round.
    const code = can.terminal ? "conflict" : "bad_request";
    await assert.rejects(rig.agent.switch("mode", "frantic", soon()), { code });
    assert.deepEqual(stops(await rig.turn("go on")), ["end_turn"]);
    assert.equal(mains(rig).length, 4);
    assert.deepEqual(rig.faults, []);
  });

  // At a terminal once is enough: how these are typed does not depend on the version.
  if (can.terminal && version !== PINNED) return;
  rigged("a text that ends in a backslash is taken as it was typed", when({}), async (rig) => {
    const at = rig.agent.at;
    let taken = 0;
    await rig.agent.submit("a\\", NOW, () => taken++);
    assert.equal(taken, 1);
    assert.ok(await rig.shows(at, "a\\"));
    await rig.until(() => rig.of("stop").length === 1, "the end of the turn");
    assert.equal(mains(rig).length, 1);
  });

  rigged(
    "the stop of a command is told after it was taken and before its submission is over",
    when({}),
    async (rig) => {
      // Without a terminal 2.1.330 takes an unknown command for a prompt.
      const asPrompt = !can.terminal && version === NEWEST;
      const texts = asPrompt ? ["/context", "/context"] : ["/nosuchcommand", "/context", "/nosuchcommand", "/context"];
      for (const text of texts) {
        const from = rig.frames.length;
        let stopsAtTaken = -1;
        await rig.agent.submit(text, NOW, () => {
          stopsAtTaken = rig.of("stop", from).length;
        });
        assert.equal(stopsAtTaken, 0, text);
        assert.deepEqual(stops(rig.frames.slice(from)), ["command"], text);
      }
      const last = await rig.turn(asPrompt ? "/nosuchcommand" : "hello");
      assert.equal(textOf(last), "Fine.");
      assert.deepEqual(stops(rig.frames), [...texts.map(() => "command"), "end_turn"]);
    },
  );
}
