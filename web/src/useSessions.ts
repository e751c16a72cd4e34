import { useCallback, useEffect, useState } from "react";
import { Failure } from "./wire/failure";
import { deleteSession, listSessions, renameSession, type Session } from "./wire/sessions";

export interface Sessions {
  /** "off": the router keeps no history (or has not said so yet). "locked": it wants a key first. */
  readonly history: "off" | "locked" | "on";
  readonly list: readonly Session[];
  readonly hasMore: boolean;
  /** Why the last change did not work, for the reader. */
  readonly trouble: string | null;
  readonly refresh: () => void;
  readonly more: () => void;
  readonly rename: (id: string, title: string) => void;
  readonly remove: (id: string) => Promise<boolean>;
}

/** The caller's sessions. Fetched at the start and after each answer; a router without history gives none. */
export function useSessions(): Sessions {
  const [history, setHistory] = useState<Sessions["history"]>("off");
  const [list, setList] = useState<readonly Session[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);

  const refresh = useCallback(() => {
    listSessions(null).then(
      (page) => {
        setHistory("on");
        setList(page.items);
        setCursor(page.nextCursor);
      },
      (error: unknown) => {
        // What was listed stays on the screen through a bad moment.
        if (error instanceof Failure && error.kind === "login") setHistory("locked");
      },
    );
  }, []);

  useEffect(refresh, [refresh]);

  const more = useCallback(() => {
    if (cursor === null) return;
    listSessions(cursor).then(
      (page) => {
        setList((known) => [...known, ...page.items.filter(({ id }) => known.every((each) => each.id !== id))]);
        setCursor(page.nextCursor);
        setTrouble(null);
      },
      (error: unknown) => setTrouble(sentence(error)),
    );
  }, [cursor]);

  const rename = useCallback(
    (id: string, title: string) => {
      setList((known) => known.map((each) => (each.id === id ? { ...each, title } : each)));
      renameSession(id, title).then(
        () => setTrouble(null),
        (error: unknown) => {
          setTrouble(sentence(error));
          refresh();
        },
      );
    },
    [refresh],
  );

  const remove = useCallback(async (id: string): Promise<boolean> => {
    try {
      await deleteSession(id);
    } catch (error) {
      // Gone already is as good as deleted.
      if (!(error instanceof Failure && error.status === 404)) {
        setTrouble(sentence(error));
        return false;
      }
    }
    setTrouble(null);
    setList((known) => known.filter((each) => each.id !== id));
    return true;
  }, []);

  return { history, list, hasMore: cursor !== null, trouble, refresh, more, rename, remove };
}

function sentence(error: unknown): string {
  return error instanceof Failure ? error.message : "That did not work. Try again.";
}
