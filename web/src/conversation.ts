/** The conversation on the screen: a value, and the one function that changes it. No clock, no network. */

import type { Failure } from "./wire/failure";
import type { Message } from "./wire/sessions";

export type Phase = "waiting" | "streaming" | "done" | "stopped" | "failed";

/** Milliseconds of one monotonic clock. */
export interface Times {
  readonly askedAt: number;
  readonly firstAt: number | null;
  readonly endedAt: number | null;
}

/** One question and its answer. `times` is null where the answer was read from the history. */
export interface Turn {
  readonly id: string;
  readonly question: string;
  readonly answer: string;
  readonly phase: Phase;
  readonly failure: Failure | null;
  readonly times: Times | null;
}

/** `sessionId` is null until the router names one. `standsAlone`: it keeps no history, so no message knows the others. */
export interface Conversation {
  readonly sessionId: string | null;
  readonly standsAlone: boolean;
  readonly turns: readonly Turn[];
}

export type Happening =
  | { readonly kind: "asked"; readonly id: string; readonly question: string; readonly at: number }
  | { readonly kind: "retried"; readonly id: string; readonly at: number }
  | { readonly kind: "opened"; readonly id: string; readonly sessionId: string | null }
  | { readonly kind: "arrived"; readonly id: string; readonly text: string; readonly at: number }
  | { readonly kind: "finished"; readonly id: string; readonly at: number }
  | { readonly kind: "stopped"; readonly id: string; readonly at: number }
  | { readonly kind: "failed"; readonly id: string; readonly failure: Failure; readonly at: number }
  | { readonly kind: "loaded"; readonly sessionId: string; readonly messages: readonly Message[] }
  | { readonly kind: "cleared" };

export const EMPTY: Conversation = { sessionId: null, standsAlone: false, turns: [] };

/** The conversation after this happened. What belongs to a turn that is gone, or has ended, changes nothing. */
export function after(conversation: Conversation, happening: Happening): Conversation {
  switch (happening.kind) {
    case "asked": {
      const { id, question, at } = happening;
      return { ...conversation, turns: [...conversation.turns, fresh(id, question, at)] };
    }
    case "retried": {
      const gone = conversation.turns.find(({ id }) => id === happening.id)?.failure?.kind === "gone";
      const turns = replace(conversation.turns, happening.id, ({ id, question }) => fresh(id, question, happening.at));
      return { ...conversation, turns, sessionId: gone ? null : conversation.sessionId };
    }
    case "opened": {
      if (!isOpenIn(conversation, happening.id)) return conversation;
      const sessionId = happening.sessionId ?? conversation.sessionId;
      return { ...conversation, sessionId, standsAlone: sessionId === null };
    }
    case "arrived":
      return open(conversation, happening.id, (turn) => ({
        ...turn,
        phase: "streaming",
        answer: turn.answer + happening.text,
        times: turn.times && { ...turn.times, firstAt: turn.times.firstAt ?? happening.at },
      }));
    case "finished":
      return open(conversation, happening.id, (turn) => ended(turn, "done", happening.at));
    case "stopped":
      return open(conversation, happening.id, (turn) => ended(turn, "stopped", happening.at));
    case "failed": {
      const { id, failure, at } = happening;
      if (!isOpenIn(conversation, id)) return conversation;
      const told = open(conversation, id, (turn) => ({ ...ended(turn, "failed", at), failure }));
      return { ...told, sessionId: failure.sessionId ?? conversation.sessionId };
    }
    case "loaded":
      return { sessionId: happening.sessionId, standsAlone: false, turns: turnsOf(happening.messages) };
    case "cleared":
      return EMPTY;
  }
}

/** The turn that is being answered, if any. */
export function openTurn(conversation: Conversation): Turn | null {
  return conversation.turns.find(isOpen) ?? null;
}

/** What is told after an answer: seconds to its first text, and characters per second from then on (null: too short). */
export function paceOf(turn: Turn): { firstS: number; perSecond: number | null } | null {
  const { times } = turn;
  if (times === null || times.firstAt === null || times.endedAt === null) return null;
  const lasted = (times.endedAt - times.firstAt) / 1000;
  return {
    firstS: (times.firstAt - times.askedAt) / 1000,
    perSecond: lasted < 0.2 ? null : Math.round(turn.answer.length / lasted),
  };
}

function fresh(id: string, question: string, at: number): Turn {
  const times = { askedAt: at, firstAt: null, endedAt: null };
  return { id, question, answer: "", phase: "waiting", failure: null, times };
}

function isOpen(turn: Turn): boolean {
  return turn.phase === "waiting" || turn.phase === "streaming";
}

function isOpenIn(conversation: Conversation, id: string): boolean {
  return conversation.turns.some((turn) => turn.id === id && isOpen(turn));
}

function ended(turn: Turn, phase: Phase, at: number): Turn {
  return { ...turn, phase, times: turn.times && { ...turn.times, endedAt: at } };
}

function open(conversation: Conversation, id: string, change: (turn: Turn) => Turn): Conversation {
  const turns = replace(conversation.turns, id, (turn) => (isOpen(turn) ? change(turn) : turn));
  return { ...conversation, turns };
}

function replace(turns: readonly Turn[], id: string, change: (turn: Turn) => Turn): readonly Turn[] {
  return turns.map((turn) => (turn.id === id ? change(turn) : turn));
}

function turnsOf(messages: readonly Message[]): readonly Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    if (message.role === "user") {
      turns.push({ ...fresh(message.id, message.content, 0), phase: "done", times: null });
    } else if (message.role === "assistant" && last !== undefined) {
      const phase = message.status === null || message.status === "complete" ? "done" : "stopped";
      turns[turns.length - 1] = { ...last, answer: last.answer + message.content, phase };
    }
  }
  return turns;
}
