import { expect, test } from "vitest";
import { after, EMPTY, openTurn, paceOf, type Conversation, type Happening } from "./conversation";
import { Failure } from "./wire/failure";

function told(...happenings: readonly Happening[]): Conversation {
  return happenings.reduce(after, EMPTY);
}

const ASKED: Happening = { kind: "asked", id: "a", question: "Why?", at: 1000 };
const OPENED: Happening = { kind: "opened", id: "a", sessionId: "s1" };
const arrived = (text: string, at: number): Happening => ({ kind: "arrived", id: "a", text, at });
const FINISHED: Happening = { kind: "finished", id: "a", at: 3000 };
const failed = (failure: Failure): Happening => ({ kind: "failed", id: "a", failure, at: 3000 });

test("an answer grows as it arrives and ends", () => {
  const growing = told(ASKED, OPENED, arrived("Be", 1500), arrived("cause.", 2000));
  expect(growing.turns[0]).toMatchObject({ question: "Why?", answer: "Because.", phase: "streaming" });
  expect(openTurn(growing)?.id).toBe("a");
  const ended = after(growing, FINISHED);
  expect(ended.turns[0]).toMatchObject({ answer: "Because.", phase: "done", failure: null });
  expect(openTurn(ended)).toBeNull();
});

test("the pace is counted from the first text", () => {
  const [turn] = told(ASKED, OPENED, arrived("x".repeat(300), 1500), FINISHED).turns;
  expect(turn && paceOf(turn)).toEqual({ firstS: 0.5, perSecond: 200 });
});

test("an answer that came all at once has no rate, and one without text has no pace", () => {
  const [quick] = told(ASKED, OPENED, arrived("Yes.", 2950), FINISHED).turns;
  expect(quick && paceOf(quick)).toEqual({ firstS: 1.95, perSecond: null });
  const [silent] = told(ASKED, OPENED, FINISHED).turns;
  expect(silent && paceOf(silent)).toBeNull();
});

test("what was written stays when the reader stops or the answer fails", () => {
  const growing = told(ASKED, OPENED, arrived("Half", 1500));
  expect(after(growing, { kind: "stopped", id: "a", at: 2000 }).turns[0]).toMatchObject({
    answer: "Half",
    phase: "stopped",
  });
  const failure = new Failure("cut", "It broke off.");
  expect(after(growing, failed(failure)).turns[0]).toMatchObject({ answer: "Half", phase: "failed", failure });
});

test("what comes after the end, or for a turn that is gone, changes nothing", () => {
  const ended = told(ASKED, OPENED, arrived("Yes.", 1500), FINISHED);
  expect(after(ended, arrived("No.", 4000)).turns).toEqual(ended.turns);
  expect(after(ended, { kind: "stopped", id: "a", at: 4000 }).turns).toEqual(ended.turns);
  const failure = new Failure("server_error", "Late.", { sessionId: "s2" });
  expect(after(ended, failed(failure))).toEqual(ended);
  expect(told({ kind: "cleared" }, OPENED, arrived("ghost", 1), failed(failure))).toEqual(EMPTY);
});

test("another try starts the turn again and keeps the others", () => {
  const again = told(
    { kind: "asked", id: "first", question: "One?", at: 0 },
    { kind: "finished", id: "first", at: 1 },
    ASKED,
    arrived("Half", 1500),
    failed(new Failure("cut", "It broke off.")),
    { kind: "retried", id: "a", at: 5000 },
  );
  expect(again.turns.map(({ id, phase }) => [id, phase])).toEqual([
    ["first", "done"],
    ["a", "waiting"],
  ]);
  expect(again.turns[1]).toMatchObject({ answer: "", failure: null, times: { askedAt: 5000, firstAt: null } });
});

test("the session is the router's to name, also when it names it in a refusal", () => {
  expect(told(ASKED, OPENED)).toMatchObject({ sessionId: "s1", standsAlone: false });
  expect(told(ASKED, { ...OPENED, sessionId: null })).toMatchObject({ sessionId: null, standsAlone: true });
  expect(told(ASKED, failed(new Failure("rate_limit", "Wait.", { sessionId: "s2" }))).sessionId).toBe("s2");
  expect(told(ASKED, OPENED, failed(new Failure("cut", "It broke off."))).sessionId).toBe("s1");
});

test("another try after the session went away begins a new session", () => {
  const gone = told(ASKED, OPENED, failed(new Failure("gone", "Deleted.")));
  expect(after(gone, { kind: "retried", id: "a", at: 5000 }).sessionId).toBeNull();
});

test("a session from the history becomes turns", () => {
  const message = (id: string, role: string, content: string, status: string | null = null) => ({
    id,
    role,
    content,
    status,
  });
  const loaded = told({
    kind: "loaded",
    sessionId: "s1",
    messages: [
      message("0", "assistant", "nobody asked"),
      message("1", "user", "One?", "complete"),
      message("2", "assistant", "Yes.", "complete"),
      message("3", "system", "hidden"),
      message("4", "user", "Two?"),
      message("5", "assistant", "No", "cut"),
      message("6", "user", "Three?"),
    ],
  });
  expect(loaded.sessionId).toBe("s1");
  expect(loaded.turns.map(({ question, answer, phase, times }) => [question, answer, phase, times])).toEqual([
    ["One?", "Yes.", "done", null],
    ["Two?", "No", "stopped", null],
    ["Three?", "", "done", null],
  ]);
});

test("a value is never changed in place", () => {
  const before = told(ASKED, OPENED);
  const copy = structuredClone(before);
  after(before, arrived("text", 2000));
  expect(before).toEqual(copy);
});
