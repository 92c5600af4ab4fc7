import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { keepingDefaults } from "../../src/agent/user-settings.ts";

/** A configuration folder with these settings, and a Claude that saves something in it. */
async function folder(settings?: string) {
  const configDir = await mkdtemp(join(tmpdir(), "cib-settings-"));
  const file = join(configDir, "settings.json");
  if (settings !== undefined) await writeFile(file, settings);
  return {
    configDir,
    read: async (): Promise<unknown> => JSON.parse(await readFile(file, "utf8")),
    saves: async (change: object): Promise<void> => {
      const before = JSON.parse(await readFile(file, "utf8").catch(() => "{}")) as object;
      await writeFile(file, JSON.stringify({ ...before, ...change }));
    },
    [Symbol.asyncDispose]: () => rm(configDir, { recursive: true, force: true }),
  };
}

describe("the settings that sessions share", () => {
  it("keep what a person chose, and lose what a switch has saved", async () => {
    await using at = await folder('{"effortLevel":"medium","theme":"dark"}');
    const answer = await keepingDefaults(at, async () => {
      await at.saves({ effortLevel: "low", model: "opus", modelSettings: { opus: { effortLevel: "low" } }, vim: true });
      return "low";
    });
    assert.equal(answer, "low");
    assert.deepEqual(await at.read(), { effortLevel: "medium", theme: "dark", vim: true });
  });

  it("lose it too where the switch failed, and where there was no file", async () => {
    await using at = await folder();
    const failing = keepingDefaults(at, async () => {
      await at.saves({ model: "opus" });
      throw new Error("not confirmed");
    });
    await assert.rejects(failing, /not confirmed/);
    assert.deepEqual(await at.read(), {});
  });

  it("two switches at once do not take each other's choice for the default", async () => {
    await using at = await folder('{"model":"sonnet"}');
    const order: string[] = [];
    const one = (model: string): Promise<void> =>
      keepingDefaults(at, async () => {
        order.push(`${model} begins`);
        await at.saves({ model });
        order.push(`${model} ends`);
      });
    await Promise.all([one("opus"), one("haiku")]);
    assert.deepEqual(order, ["opus begins", "opus ends", "haiku begins", "haiku ends"]);
    assert.deepEqual(await at.read(), { model: "sonnet" });
  });

  it("are left alone where they cannot be read", async () => {
    await using at = await folder("{ half a");
    await keepingDefaults(at, () => Promise.resolve());
    assert.equal(await readFile(join(at.configDir, "settings.json"), "utf8"), "{ half a");
  });
});
