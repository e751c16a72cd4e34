/** `/api/chat/sessions` and `/auth/login`: what the page asks beside the chat itself. */

import { Failure, failureOf } from "./failure";

export interface Session {
  readonly id: string;
  readonly title: string | null;
  readonly lastMessageAt: string | null;
  readonly updatedAt: string | null;
}

export interface Message {
  readonly id: string;
  readonly role: string;
  readonly content: string;
  readonly status: string | null;
}

interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/** A conversation longer than this is shown from its start up to here. */
const MOST_PAGES = 40;

const PATIENCE_MS = 20_000;

const SESSIONS = "/api/chat/sessions";

/** The first or next page of the caller's sessions, newest first. Throws Failure; its status is 503 when history is off. */
export async function listSessions(cursor: string | null, signal?: AbortSignal): Promise<Page<Session>> {
  const body = await ask(withCursor(SESSIONS, cursor), { signal: signal ?? null });
  return { items: list(body["sessions"]).flatMap(readSession), nextCursor: text(body["nextCursor"]) };
}

/** All messages of a session, oldest first. */
export async function listMessages(id: string, signal: AbortSignal): Promise<readonly Message[]> {
  const messages: Message[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const body: Readonly<Record<string, unknown>> = await ask(withCursor(`${path(id)}/messages`, cursor), { signal });
    messages.push(...list(body["messages"]).flatMap(readMessage));
    cursor = text(body["nextCursor"]);
    if (cursor === null) break;
  }
  return messages;
}

export async function renameSession(id: string, title: string): Promise<void> {
  await ask(path(id), {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ title }),
  });
}

export async function deleteSession(id: string): Promise<void> {
  await ask(path(id), { method: "DELETE", headers: { "content-type": "application/json" } });
}

/** Trades a key for the router's cookie. The key is kept nowhere in the page. */
export async function login(key: string): Promise<void> {
  await ask("/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ key }),
  });
}

async function ask(url: string, init: RequestInit): Promise<Readonly<Record<string, unknown>>> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  let response: Response;
  try {
    response = await fetch(url, { ...init, signal });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw new Failure("unreachable", "The router did not answer. Check that it is running.");
  }
  if (!response.ok) throw await failureOf(response);
  return response.status === 204 ? {} : fields(await response.json().catch(() => null));
}

function path(id: string): string {
  return `${SESSIONS}/${encodeURIComponent(id)}`;
}

function withCursor(url: string, cursor: string | null): string {
  return cursor === null ? url : `${url}?cursor=${encodeURIComponent(cursor)}`;
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function readSession(value: unknown): Session[] {
  const row = fields(value);
  const id = text(row["id"]);
  if (id === null) return [];
  return [
    { id, title: text(row["title"]), lastMessageAt: text(row["lastMessageAt"]), updatedAt: text(row["updatedAt"]) },
  ];
}

function readMessage(value: unknown): Message[] {
  const row = fields(value);
  const [id, role] = [text(row["id"]), text(row["role"])];
  if (id === null || role === null) return [];
  return [{ id, role, content: text(row["content"]) ?? "", status: text(row["status"]) }];
}
