import type { Turn } from "../conversation";
import { Answer } from "./Answer";

interface Props {
  readonly turns: readonly Turn[];
  readonly onRetry: (turn: Turn) => void;
  readonly onSignedIn: (turn: Turn) => void;
}

/** The questions and their answers. Only the last can be tried again. */
export function Turns({ turns, onRetry, onSignedIn }: Props) {
  const last = turns.at(-1);
  return turns.map((turn) => (
    <article key={turn.id} className="turn">
      <h2 className="sr">You</h2>
      <div className="question">{turn.question}</div>
      <h2 className="sr">Answer</h2>
      <Answer turn={turn} canRetry={turn === last} onRetry={() => onRetry(turn)} onSignedIn={() => onSignedIn(turn)} />
    </article>
  ));
}

/** Tells a screen reader, politely, how the last answer stands. Failures tell themselves. */
export function Announcer({ turn }: { turn: Turn | undefined }) {
  return (
    <p className="sr" role="status">
      {turn === undefined ? "" : announcement(turn)}
    </p>
  );
}

const READ_ALOUD = 600;

function announcement({ phase, times, answer }: Turn): string {
  switch (phase) {
    case "waiting":
      return "Waiting for the answer.";
    case "streaming":
      return "Answering.";
    case "done":
      return times === null ? "" : `Answer: ${answer.slice(0, READ_ALOUD)}`;
    case "stopped":
      return times === null ? "" : "Stopped.";
    case "failed":
      return "";
  }
}
