import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { openTurn, type Turn } from "./conversation";
import { RetryButton, Trouble } from "./parts/Answer";
import { Composer } from "./parts/Composer";
import { Head } from "./parts/Head";
import { LoginForm } from "./parts/LoginForm";
import { SettingsPopover } from "./parts/SettingsPopover";
import { Sidebar } from "./parts/Sidebar";
import { Announcer, Turns } from "./parts/Turns";
import { Welcome } from "./parts/Welcome";
import { Down } from "./parts/icons";
import { remember, remembered, type Settings } from "./settings";
import { useAddress } from "./useAddress";
import { useConversation } from "./useConversation";
import { useHealth } from "./useHealth";
import { useSessions } from "./useSessions";
import { useStickToEnd } from "./useStickToEnd";
import { Failure } from "./wire/failure";

export function App() {
  const [settings, setSettings] = useState<Settings>(remembered);
  const [isListOpen, setListOpen] = useState(false);
  const [isSigningIn, setSigningIn] = useState(false);
  const sessions = useSessions();
  const { refresh, history } = sessions;
  // A router that keeps no history is not asked for it again after every answer.
  const settled = useCallback((hasSession: boolean) => hasSession && refresh(), [refresh]);
  const { conversation, loading, ask, retry, stop, load, clear } = useConversation(settled);
  const { turns, sessionId, standsAlone } = conversation;
  const address = useAddress();
  const view = useStickToEnd(turns.length > 0);
  const field = useRef<HTMLTextAreaElement>(null);
  const menu = useRef<HTMLButtonElement>(null);

  const last = turns.at(-1);
  const unopened = loading instanceof Failure ? loading : null;
  // What is typed while a conversation opens is meant for that one; one that is gone for good gives way to a new one.
  const canSend = loading === null || (unopened !== null && (unopened.status === 404 || history === "off"));
  const wantsKey = last?.failure?.kind === "login" || unopened?.kind === "login";
  const isUp = useHealth(last?.failure?.kind === "unreachable" ? last.id : null);
  useTitle(turns[0]?.question);
  useFollowAddress(address, sessionId, load, clear);

  const toField = () => field.current?.focus();
  const send = (question: string) => {
    ask(question, settings);
    view.toEnd();
    toField();
  };
  const again = (turn: Turn) => {
    retry(turn.id, settings);
    view.toEnd();
    toField();
  };
  const reload = () => {
    if (address.sessionId !== null) load(address.sessionId);
  };
  const pick = (id: string | null) => {
    if (id === null) clear();
    address.go(id);
    if (isListOpen) closeList();
    else toField();
  };
  const closeList = () => {
    // What lies under the open list takes no focus until this is drawn.
    flushSync(() => setListOpen(false));
    menu.current?.focus();
  };
  const signedIn = () => {
    setSigningIn(false);
    refresh();
    if (unopened !== null) reload();
    toField();
  };

  return (
    <div className={history === "on" ? "page with-history" : "page"}>
      <SkipLink onSkip={toField} />
      <Head
        menu={menu}
        hasList={history === "on"}
        isListOpen={isListOpen}
        canSignIn={history === "locked" && !isSigningIn && !wantsKey}
        canBegin={turns.length > 0 || loading !== null}
        onOpenList={() => setListOpen(true)}
        onSignIn={() => setSigningIn(true)}
        onBegin={() => pick(null)}
      />
      {history === "on" && (
        <Sidebar
          sessions={sessions}
          current={address.sessionId}
          isOpen={isListOpen}
          onPick={pick}
          onClose={closeList}
        />
      )}
      {isListOpen && <div className="scrim" onClick={closeList} />}
      <main className="main" inert={isListOpen}>
        {!isUp && (
          <p className="offline" role="status">
            The router is not answering. This page tries again by itself.
          </p>
        )}
        <div ref={view.scroller} className="scroller" tabIndex={0} role="region" aria-label="Conversation">
          <div ref={view.content} className="column">
            {(isSigningIn || unopened?.kind === "login") && <LoginForm onSignedIn={signedIn} />}
            {turns.length === 0 && loading === null && !isSigningIn && <Welcome onPick={send} />}
            {typeof loading === "string" && <p className="loading">Opening the conversation…</p>}
            {unopened !== null && unopened.kind !== "login" && (
              <Trouble failure={unopened}>
                <RetryButton onRetry={reload} />
              </Trouble>
            )}
            <Turns
              turns={turns}
              onRetry={again}
              onSignedIn={(turn) => {
                refresh();
                again(turn);
              }}
            />
          </div>
        </div>
        <div className="dock">
          {view.isAway && turns.length > 0 && <ToEnd onPress={() => view.toEnd(true)} />}
          <Composer
            field={field}
            isAnswering={openTurn(conversation) !== null}
            canSend={canSend}
            onSend={send}
            onStop={stop}
          >
            <SettingsPopover
              settings={settings}
              onChange={(changed) => {
                setSettings(changed);
                remember(changed);
              }}
            />
          </Composer>
          <p className="note">
            {standsAlone
              ? "History is off on this router: the model sees each message on its own."
              : "Models make mistakes: check what matters."}
          </p>
        </div>
      </main>
      <Announcer turn={last} />
    </div>
  );
}

function SkipLink({ onSkip }: { onSkip: () => void }) {
  return (
    <a
      className="skip"
      href="#message"
      onClick={(event) => {
        // The address names the conversation: it is not changed for this.
        event.preventDefault();
        onSkip();
      }}
    >
      Skip to the message field
    </a>
  );
}

function ToEnd({ onPress }: { onPress: () => void }) {
  return (
    <button type="button" className="to-end" aria-label="Go to the latest" title="Go to the latest" onClick={onPress}>
      <Down />
    </button>
  );
}

/** The address leads, the conversation follows; a session that begins here is noted in the address. */
function useFollowAddress(
  { sessionId: wanted, note }: ReturnType<typeof useAddress>,
  shown: string | null,
  load: (id: string) => void,
  clear: () => void,
): void {
  const followed = useRef<string | null>(null);
  useEffect(() => {
    if (wanted === followed.current) return;
    followed.current = wanted;
    if (wanted === null) clear();
    else load(wanted);
  }, [wanted, load, clear]);
  // Before the browser draws: whoever sees the answer's first word can reload the page and find it again.
  useLayoutEffect(() => {
    if (shown === null || shown === followed.current) return;
    followed.current = shown;
    note(shown);
  }, [shown, note]);
}

/** Names the tab after the conversation. */
function useTitle(question: string | undefined): void {
  useEffect(() => {
    document.title = question === undefined ? "Trunkline" : `${question.slice(0, 60)} – Trunkline`;
  }, [question]);
}
