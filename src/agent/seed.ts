/** Seed: the configuration folder of one session, made so that Claude opens no dialog and finds every conversation of the box. */
import { randomBytes } from "node:crypto";
import { chown, lchown, mkdir, open, readlink, rename, rm, rmdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { AgentSpec } from "./agent.ts";
import { readOwned } from "./owned-file.ts";

/** Claude stores the last characters of an approved key; without them it asks "use this key?" with the default No. */
export const KEY_SUFFIX_CHARS = 20;

/** Makes the folders and writes the configuration. Returns the spec with the conversations' folder that Claude will really use. */
export async function seed(spec: AgentSpec): Promise<AgentSpec> {
  for (const dir of [spec.configDir, spec.home, spec.runDir]) await privateFolder(dir, spec.user);
  await seedConfig(spec.configDir, spec.credential.mode === "api_key" ? spec.credential.key : undefined, spec.user);
  return { ...spec, projectsDir: await linkProjects(spec) };
}

/** Merges what no dialog needs into .claude.json, keeping what Claude itself has written there. */
export async function seedConfig(configDir: string, key: string | undefined, user: AgentSpec["user"]): Promise<void> {
  const file = join(configDir, ".claude.json");
  const config = await readObject(file, user);
  const responses = asObject(config["customApiKeyResponses"]);
  const before = Array.isArray(responses["approved"]) ? (responses["approved"] as unknown[]) : [];
  // A session that pays by login has no key to approve, and must not read the end of another's.
  const approved = key === undefined ? [] : [...new Set([...before, key.slice(-KEY_SUFFIX_CHARS)])];
  const projects = asObject(config["projects"]);
  const seeded = {
    ...config,
    hasCompletedOnboarding: true,
    customApiKeyResponses: { rejected: [], ...responses, approved },
    // Trust on "/" covers every folder; bypass mode does not skip the trust dialog.
    projects: { ...projects, "/": { ...asObject(projects["/"]), hasTrustDialogAccepted: true } },
  };
  if (JSON.stringify(seeded) !== JSON.stringify(config)) await writePrivate(file, JSON.stringify(seeded), user);
}

/**
 * `projects` in the configuration leads to the conversations of the box, whatever pays for the session. Returns the
 * folder that is in use: a real one with conversations in it, left by an earlier use of this configuration, stays.
 */
async function linkProjects({ configDir, projectsDir, user }: AgentSpec): Promise<string> {
  await privateFolder(projectsDir, user);
  const own = join(configDir, "projects");
  if (own === projectsDir) return projectsDir;
  for (let tries = 0; tries < LINK_TRIES; tries++) {
    const there = await readlink(own).catch(codeOf);
    if (there === projectsDir) return projectsDir;
    // No link: an empty folder holds nothing worth keeping, and rmdir takes no other.
    if (there === "EINVAL" && FULL.has(await rmdir(own).then(() => "", codeOf))) return own;
    // Made beside it and renamed: two sessions of one configuration may start at once.
    const fresh = `${own}.${randomBytes(6).toString("hex")}`;
    await symlink(projectsDir, fresh);
    try {
      if (user !== undefined) await lchown(fresh, user.uid, user.gid);
      await rename(fresh, own);
      return projectsDir;
    } catch (failure) {
      await rm(fresh, { force: true });
      // A folder has come to be there meanwhile: looked at again.
      if (codeOf(failure) !== "EISDIR") throw failure;
    }
  }
  throw new Error(`${own}: cannot be made a link to ${projectsDir}, something else puts a folder there`);
}

/** rmdir's answers for a folder that holds something (POSIX leaves it the choice). */
const FULL: ReadonlySet<string> = new Set(["ENOTEMPTY", "EEXIST"]);
/** Another start may win the race once; more often is no accident. */
const LINK_TRIES = 5;

/** 0700 and the session user's; what exists already stays as it is. */
export async function privateFolder(path: string, user: AgentSpec["user"]): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 });
  if (made === undefined || user === undefined) return;
  for (let at = path; at.length >= made.length; at = dirname(at)) await chown(at, user.uid, user.gid);
}

/** 0600, by rename: another session of the same configuration may be reading it. */
export async function writePrivate(path: string, text: string, user: AgentSpec["user"]): Promise<void> {
  // A name that cannot be foreseen and must not exist: the folder is the session's, which could lay a link there for us.
  const fresh = `${path}.${randomBytes(6).toString("hex")}.new`;
  const file = await open(fresh, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.chmod(0o600);
    if (user !== undefined) await file.chown(user.uid, user.gid);
    await rename(fresh, path);
  } catch (failure) {
    await rm(fresh, { force: true });
    throw failure;
  } finally {
    await file.close();
  }
}

async function readObject(path: string, user: AgentSpec["user"]): Promise<Record<string, unknown>> {
  try {
    return asObject(JSON.parse((await readOwned(path, user)) ?? "{}"));
  } catch {
    return {};
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function codeOf(failure: unknown): string {
  const code = (failure as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "unknown";
}
