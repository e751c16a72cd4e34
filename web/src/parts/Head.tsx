import type { RefObject } from "react";
import { Mark, Menu, Plus } from "./icons";

interface Props {
  readonly menu: RefObject<HTMLButtonElement | null>;
  readonly hasList: boolean;
  readonly isListOpen: boolean;
  readonly canSignIn: boolean;
  readonly canBegin: boolean;
  readonly onOpenList: () => void;
  readonly onSignIn: () => void;
  readonly onBegin: () => void;
}

/** The brand, and what does not fit beside the page: the way to the list, to a new chat, to signing in. */
export function Head(props: Props) {
  const { hasList, isListOpen } = props;
  return (
    <header className="head" inert={isListOpen}>
      {hasList && (
        <button
          ref={props.menu}
          type="button"
          className="quiet only-narrow"
          aria-label="Conversations"
          aria-expanded={isListOpen}
          aria-controls="conversations"
          onClick={props.onOpenList}
        >
          <Menu />
        </button>
      )}
      <h1 className="brand">
        <Mark /> Trunkline
      </h1>
      {props.canSignIn && (
        <button type="button" className="quiet" onClick={props.onSignIn}>
          Sign in
        </button>
      )}
      {props.canBegin && (
        <button type="button" className={hasList ? "quiet only-narrow" : "quiet"} onClick={props.onBegin}>
          <Plus /> New chat
        </button>
      )}
    </header>
  );
}
