import { useEffect, useRef, useState } from "react";
import type { Sessions } from "../useSessions";
import type { Session } from "../wire/sessions";
import { Bin, Close, Pencil, Plus } from "./icons";

interface Props {
  readonly sessions: Sessions;
  readonly current: string | null;
  readonly isOpen: boolean;
  readonly onPick: (id: string | null) => void;
  readonly onClose: () => void;
}

/** The earlier conversations. Beside the page where there is room, else a drawer over it. */
export function Sidebar({ sessions, current, isOpen, onPick, onClose }: Props) {
  const box = useRef<HTMLElement>(null);

  useEffect(() => {
    if (isOpen) box.current?.querySelector<HTMLElement>("button")?.focus();
  }, [isOpen]);

  return (
    <nav
      ref={box}
      id="conversations"
      className={isOpen ? "sidebar open" : "sidebar"}
      aria-label="Conversations"
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <div className="top">
        <button type="button" className="plain" onClick={() => onPick(null)}>
          <Plus /> New chat
        </button>
        <button type="button" className="quiet only-narrow" aria-label="Close the list" onClick={onClose}>
          <Close />
        </button>
      </div>
      {sessions.trouble !== null && (
        <p className="error" role="alert">
          {sessions.trouble}
        </p>
      )}
      {sessions.list.length === 0 && <p className="none">Conversations are kept here.</p>}
      <ul>
        {sessions.list.map((session) => (
          <Row
            key={session.id}
            session={session}
            isCurrent={session.id === current}
            onPick={() => onPick(session.id)}
            onRename={(title) => sessions.rename(session.id, title)}
            onDelete={async () => {
              if (!(await sessions.remove(session.id))) return;
              if (session.id === current) onPick(null);
              else box.current?.querySelector<HTMLElement>("button")?.focus();
            }}
          />
        ))}
      </ul>
      {sessions.hasMore && (
        <button type="button" className="quiet more" onClick={sessions.more}>
          Show earlier ones
        </button>
      )}
    </nav>
  );
}

interface RowProps {
  readonly session: Session;
  readonly isCurrent: boolean;
  readonly onPick: () => void;
  readonly onRename: (title: string) => void;
  readonly onDelete: () => void;
}

function Row({ session, isCurrent, onPick, onRename, onDelete }: RowProps) {
  const [mode, setMode] = useState<"shown" | "renaming" | "deleting">("shown");
  const title = session.title ?? "Untitled";
  const place = useRef<HTMLLIElement>(null);
  const back = () => {
    setMode("shown");
    // The button that was pressed is there again only after this change is drawn.
    requestAnimationFrame(() => place.current?.querySelector<HTMLElement>("button")?.focus());
  };
  if (mode === "renaming") {
    return (
      <li ref={place}>
        <RenameField
          title={title}
          onEnd={(renamed) => {
            if (renamed !== null) onRename(renamed);
            back();
          }}
        />
      </li>
    );
  }
  if (mode === "deleting") {
    return (
      <li
        ref={place}
        className="asking"
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          back();
        }}
      >
        <span>Delete this one?</span>
        <button
          type="button"
          className="quiet danger"
          aria-label={`Delete “${title}” for good`}
          autoFocus
          onClick={onDelete}
        >
          Delete
        </button>
        <button type="button" className="quiet" onClick={back}>
          Keep
        </button>
      </li>
    );
  }
  return (
    <li ref={place}>
      <button type="button" className="pick" aria-current={isCurrent ? "page" : undefined} onClick={onPick}>
        {title}
      </button>
      <span className="tools">
        <button
          type="button"
          className="quiet"
          aria-label={`Rename “${title}”`}
          title="Rename"
          onClick={() => setMode("renaming")}
        >
          <Pencil />
        </button>
        <button
          type="button"
          className="quiet"
          aria-label={`Delete “${title}”`}
          title="Delete"
          onClick={() => setMode("deleting")}
        >
          <Bin />
        </button>
      </span>
    </li>
  );
}

/** Enter or leaving the field keeps the new title, Escape the old one (null). */
function RenameField({ title, onEnd }: { title: string; onEnd: (renamed: string | null) => void }) {
  const [draft, setDraft] = useState(title);
  const hasEnded = useRef(false);
  const end = (keep: boolean) => {
    if (hasEnded.current) return;
    hasEnded.current = true;
    const renamed = draft.trim();
    onEnd(keep && renamed !== "" && renamed !== title ? renamed : null);
  };
  return (
    <input
      type="text"
      aria-label="New title"
      maxLength={200}
      autoFocus
      value={draft}
      onFocus={(event) => event.target.select()}
      onChange={(event) => setDraft(event.target.value)}
      onBlur={() => end(true)}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") {
          event.stopPropagation();
          end(false);
        }
      }}
    />
  );
}
