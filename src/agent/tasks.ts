/** Tasks: Claude's task list, from the Task tools (one change a call) and from TodoWrite (the whole list). */
import type { Todo } from "../frame/frame.ts";
import { at, type Json, list, text } from "./json.ts";

export type Tasks = Map<string, Todo>;

/** Applies one finished tool call; true when the list is another one now. */
export function applyTool(
  tasks: Tasks,
  tool: string,
  input: unknown,
  output: unknown,
  agent: string | undefined,
): boolean {
  const before = JSON.stringify([...tasks.values()]);
  if (tool === "TaskCreate") create(tasks, input, at(output, "task"));
  else if (tool === "TaskUpdate") update(tasks, input, output);
  else if (tool === "TaskList") replace(tasks, list(at(output, "tasks")));
  // A subagent's TodoWrite list is its own; the Task tools share one.
  else if (tool === "TodoWrite" && agent === undefined) rewrite(tasks, list(at(input, "todos")));
  else return false;
  return JSON.stringify([...tasks.values()]) !== before;
}

function create(tasks: Tasks, input: unknown, task: unknown): void {
  const id = text(at(task, "id"));
  if (id === undefined) return;
  put(tasks, id, {
    subject: text(at(task, "subject")) ?? text(at(input, "subject")),
    status: "pending",
    activeForm: text(at(input, "activeForm")),
  });
}

function update(tasks: Tasks, input: unknown, output: unknown): void {
  const id = text(at(input, "taskId"));
  if (id === undefined || at(output, "success") === false) return;
  const status = text(at(input, "status"));
  if (status === "deleted") tasks.delete(id);
  else put(tasks, id, { subject: text(at(input, "subject")), status, activeForm: text(at(input, "activeForm")) });
}

function replace(tasks: Tasks, listed: readonly Json[]): void {
  const ids = new Set(listed.map((task) => text(task["id"])));
  for (const id of tasks.keys()) if (!ids.has(id)) tasks.delete(id);
  for (const task of listed) {
    const id = text(task["id"]);
    if (id !== undefined)
      put(tasks, id, { subject: text(task["subject"]), status: text(task["status"]), activeForm: undefined });
  }
}

function rewrite(tasks: Tasks, todos: readonly Json[]): void {
  tasks.clear();
  for (const [i, todo] of todos.entries()) {
    put(tasks, String(i + 1), {
      subject: text(todo["content"]),
      status: text(todo["status"]),
      activeForm: text(todo["activeForm"]),
    });
  }
}

function put(
  tasks: Tasks,
  id: string,
  change: { subject: string | undefined; status: string | undefined; activeForm: string | undefined },
): void {
  const old = tasks.get(id);
  const activeForm = change.activeForm ?? old?.activeForm;
  tasks.set(id, {
    id,
    subject: change.subject ?? old?.subject ?? "",
    status: change.status ?? old?.status ?? "pending",
    ...(activeForm === undefined ? {} : { activeForm }),
  });
}
