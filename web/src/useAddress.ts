import { useCallback, useSyncExternalStore } from "react";

const PREFIX = "#/chat/";

/** The session that the address names (`#/chat/ID`), so that a reload, a bookmark and the back button find it again. */
export function useAddress(): {
  sessionId: string | null;
  go: (id: string | null) => void;
  note: (id: string) => void;
} {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  const go = useCallback((id: string | null) => {
    if (id !== idIn(location.hash)) location.hash = id === null ? "" : PREFIX + encodeURIComponent(id);
  }, []);
  // A session that has just begun takes the place of the empty page that it began on.
  const note = useCallback((id: string) => {
    history.replaceState(null, "", PREFIX + encodeURIComponent(id));
    dispatchEvent(new HashChangeEvent("hashchange"));
  }, []);
  return { sessionId: idIn(hash), go, note };
}

function subscribe(changed: () => void): () => void {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
}

function idIn(hash: string): string | null {
  if (!hash.startsWith(PREFIX)) return null;
  try {
    return decodeURIComponent(hash.slice(PREFIX.length)) || null;
  } catch {
    return null;
  }
}
