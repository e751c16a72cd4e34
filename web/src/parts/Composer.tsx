import { useEffect, useRef, useState, type FormEvent, type KeyboardEvent, type ReactNode, type RefObject } from "react";
import { Send, Stop } from "./icons";

interface Props {
  readonly field: RefObject<HTMLTextAreaElement | null>;
  readonly isAnswering: boolean;
  /** Whether there is a conversation that a message would go to. */
  readonly canSend: boolean;
  readonly onSend: (message: string) => void;
  readonly onStop: () => void;
  readonly children: ReactNode;
}

/** Where a message is typed. Enter sends, Shift+Enter breaks the line, Escape stops the answer. */
export function Composer({ field, isAnswering, canSend, onSend, onStop, children }: Props) {
  const [draft, setDraft] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const isReady = canSend && draft.trim() !== "";

  useEffect(() => {
    // A phone's keyboard would cover the examples: there the reader taps the field when ready.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, [field]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isReady || isAnswering) return;
    onSend(draft);
    setDraft("");
  };

  const pressed = (event: KeyboardEvent) => {
    // Enter also ends the composing of a character in many languages: that one is not ours.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      form.current?.requestSubmit();
    } else if (event.key === "Escape" && isAnswering) {
      onStop();
    }
  };

  return (
    <form ref={form} className="composer" noValidate onSubmit={submit}>
      {/* The copy of the draft behind the field makes both grow together, without measuring. */}
      <div className="grow" data-draft={draft}>
        <textarea
          ref={field}
          id="message"
          rows={1}
          value={draft}
          placeholder="Ask anything"
          aria-label="Message"
          aria-describedby="keys"
          enterKeyHint="send"
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={pressed}
        />
      </div>
      <div className="row">
        {children}
        <span id="keys" className="hint">
          {isAnswering ? "Esc stops" : "Enter sends, Shift+Enter breaks the line"}
        </span>
        {isAnswering ? (
          <button
            type="button"
            className="send"
            aria-label="Stop"
            title="Stop"
            onClick={() => {
              onStop();
              field.current?.focus();
            }}
          >
            <Stop />
          </button>
        ) : (
          <button type="submit" className="send" aria-label="Send" title="Send" disabled={!isReady}>
            <Send />
          </button>
        )}
      </div>
    </form>
  );
}
