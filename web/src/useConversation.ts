import { useCallback, useEffect, useReducer, useRef, useState } from "react";
import { after, EMPTY, openTurn, type Conversation } from "./conversation";
import { fieldsOf, type Settings } from "./settings";
import { streamChat } from "./wire/chat";
import { Failure } from "./wire/failure";
import { listMessages } from "./wire/sessions";

/** Text is drawn at most this often, however fast it streams. */
const DRAW_MS = 40;

export interface Talk {
  readonly conversation: Conversation;
  /** The session that is being fetched, or why it could not be. */
  readonly loading: string | Failure | null;
  readonly ask: (question: string, settings: Settings) => void;
  readonly retry: (turnId: string, settings: Settings) => void;
  readonly stop: () => void;
  readonly load: (sessionId: string) => void;
  readonly clear: () => void;
}

/** The conversation and what can be done with it. One answer streams at a time; leaving it closes its connection. */
export function useConversation(onSettled: (hasSession: boolean) => void): Talk {
  const [conversation, dispatch] = useReducer(after, EMPTY);
  const [loading, setLoading] = useState<string | Failure | null>(null);
  const active = useRef<AbortController | null>(null);
  const latest = useRef(conversation);
  latest.current = conversation;
  const count = useRef(0);

  const begin = useCallback((): AbortController => {
    active.current?.abort();
    active.current = new AbortController();
    setLoading(null);
    return active.current;
  }, []);

  useEffect(() => () => active.current?.abort(), []);

  const run = useCallback(
    async (id: string, message: string, sessionId: string | null, settings: Settings) => {
      const { signal } = begin();
      let pending = "";
      let since = 0;
      let hasSession = sessionId !== null;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const draw = () => {
        clearTimeout(timer);
        timer = undefined;
        if (pending !== "") dispatch({ kind: "arrived", id, text: pending, at: since });
        pending = "";
      };
      const settle = (happening: Parameters<typeof dispatch>[0]) => {
        draw();
        dispatch(happening);
        onSettled(hasSession);
      };
      const request = { message, ...fieldsOf(settings), ...(sessionId !== null && { sessionId }) };
      try {
        for await (const event of streamChat(request, signal)) {
          if (event.kind === "opened") {
            hasSession ||= event.sessionId !== null;
            dispatch({ kind: "opened", id, sessionId: event.sessionId });
          } else if (event.kind === "done") {
            settle({ kind: "finished", id, at: performance.now() });
          } else {
            if (pending === "") since = performance.now();
            pending += event.text;
            timer ??= setTimeout(draw, DRAW_MS);
          }
        }
      } catch (error) {
        const at = performance.now();
        const failure = failureFrom(error);
        hasSession ||= failure.sessionId !== null;
        settle(signal.aborted ? { kind: "stopped", id, at } : { kind: "failed", id, failure, at });
      }
    },
    [begin, onSettled],
  );

  const ask = useCallback(
    (question: string, settings: Settings) => {
      count.current += 1;
      const id = `asked-${count.current}`;
      dispatch({ kind: "asked", id, question, at: performance.now() });
      void run(id, question, latest.current.sessionId, settings);
    },
    [run],
  );

  const retry = useCallback(
    (id: string, settings: Settings) => {
      const turn = latest.current.turns.find((each) => each.id === id);
      if (turn === undefined || openTurn(latest.current) !== null) return;
      const sessionId = turn.failure?.kind === "gone" ? null : latest.current.sessionId;
      dispatch({ kind: "retried", id, at: performance.now() });
      void run(id, turn.question, sessionId, settings);
    },
    [run],
  );

  const load = useCallback(
    (sessionId: string) => {
      const { signal } = begin();
      dispatch({ kind: "cleared" });
      setLoading(sessionId);
      listMessages(sessionId, signal).then(
        (messages) => {
          if (signal.aborted) return;
          dispatch({ kind: "loaded", sessionId, messages });
          setLoading(null);
        },
        (error: unknown) => {
          if (!signal.aborted) setLoading(failureFrom(error));
        },
      );
    },
    [begin],
  );

  const stop = useCallback(() => active.current?.abort(), []);
  const clear = useCallback(() => {
    begin();
    dispatch({ kind: "cleared" });
  }, [begin]);

  return { conversation, loading, ask, retry, stop, load, clear };
}

function failureFrom(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof RangeError) return new Failure("cut", error.message);
  return new Failure("cut", "The page could not read the answer.");
}
