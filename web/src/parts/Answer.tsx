import type { ReactNode } from "react";
import { paceOf, type Turn } from "../conversation";
import { Markdown } from "../markdown/Markdown";
import type { Failure } from "../wire/failure";
import { CopyButton } from "./CopyButton";
import { LoginForm } from "./LoginForm";
import { Again } from "./icons";

interface Props {
  readonly turn: Turn;
  readonly canRetry: boolean;
  readonly onRetry: () => void;
  readonly onSignedIn: () => void;
}

/** The answer to one question, in whatever state it is. */
export function Answer({ turn, canRetry, onRetry, onSignedIn }: Props) {
  const { phase, answer, failure } = turn;
  const isOpen = phase === "waiting" || phase === "streaming";
  return (
    <div className="answer" aria-busy={isOpen}>
      {answer !== "" && (
        <div className="prose">
          <Markdown text={answer} />
        </div>
      )}
      {failure !== null && failure.kind !== "login" && (
        <Trouble failure={failure}>{canRetry && <RetryButton onRetry={onRetry} />}</Trouble>
      )}
      {failure?.kind === "login" && canRetry && <LoginForm onSignedIn={onSignedIn} />}
      {isOpen ? <UnderWay hasWords={phase === "streaming"} /> : <Receipt turn={turn} />}
    </div>
  );
}

/** Why there is no answer, or only half of one. */
export function Trouble({ failure, children }: { failure: Failure; children?: ReactNode }) {
  return (
    <div className="trouble" role="alert">
      <p className="title">{failure.title}</p>
      <p>{failure.message}</p>
      {failure.retryAfterS !== null && <p>It may work again in {failure.retryAfterS} s.</p>}
      {(children || failure.requestId !== null) && (
        <div className="actions">
          {children}
          {failure.requestId !== null && <small>Request {failure.requestId}</small>}
        </div>
      )}
    </div>
  );
}

export function RetryButton({ onRetry }: { onRetry: () => void }) {
  return (
    <button type="button" className="plain" onClick={onRetry}>
      <Again /> Try again
    </button>
  );
}

function UnderWay({ hasWords }: { hasWords: boolean }) {
  return (
    <div className="under-way">
      <span className="track" aria-hidden="true" />
      {!hasWords && <span className="patience">Still waiting for the first words…</span>}
    </div>
  );
}

function Receipt({ turn }: { turn: Turn }) {
  const pace = paceOf(turn);
  const isEmpty = turn.answer === "";
  if (turn.phase === "failed" && isEmpty) return null;
  return (
    <footer className="receipt">
      {!isEmpty && <CopyButton text={turn.answer} label="Copy answer" />}
      {turn.phase === "stopped" && <span>{turn.times === null ? "Not complete" : "Stopped"}</span>}
      {turn.phase === "done" && isEmpty && (
        <span>{turn.times === null ? "No answer was kept" : "The answer was empty"}</span>
      )}
      {pace !== null && <span>{pace.firstS.toFixed(2)} s to first words</span>}
      {pace !== null && pace.perSecond !== null && <span>{pace.perSecond.toLocaleString("en")} characters/s</span>}
    </footer>
  );
}
