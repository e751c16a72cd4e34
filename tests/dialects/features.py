"""What becomes of each feature in each dialect and direction: probes that run the code, and the cells that they fill.

docs/dialects.md is written from these cells, and `test_features.py` asserts each of them: what is not kept is
dropped by a name, or refused by one. Anything else is LOST, which is a bug.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from dialects.admission import translated
from dialects.every_dialect import DIALECTS, OPENING, target_of, told
from trunkline.core.call import Call, Extras, Message, Role, Text, ToolResult
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Reply, features, unfold
from trunkline.dialects import sse
from trunkline.dialects.openai_chat.completions import OpenAICompletionsIngress
from trunkline.dialects.simple import Simple
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trunkline.core.catalog import Target
    from trunkline.dialects.dialect import Egress, Ingress, WholeIngress

SEED = "seed"
"""The seed's own dialect, which has only an ingress."""
COMPLETIONS = "openai_completions"
"""OpenAI's older completions: an ingress, too."""

INGRESSES: Mapping[str, Ingress] = {
    SEED: Simple(),
    **{name: dialect.ingress for name, dialect in DIALECTS.items()},
    COMPLETIONS: OpenAICompletionsIngress(),
}
PLAIN = "openai_chat, plain"
"""A provider of chat completions that takes nothing beyond the dialect's core."""

TARGETS: Mapping[str, tuple[Egress, Target]] = {
    "openai_chat": (DIALECTS["openai_chat"].egress, DIALECTS["openai_chat"].target),
    PLAIN: (DIALECTS["openai_chat"].egress, target_of("openai_chat")),
    **{name: (dialect.egress, dialect.target) for name, dialect in DIALECTS.items() if name != "openai_chat"},
}

BASE: Mapping[str, dict[str, Any]] = {
    SEED: {"message": "Hi"},
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "openai_responses": {"model": "m", "input": [{"type": "message", "role": "user", "content": "Hi"}]},
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    },
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    COMPLETIONS: {"model": "m", "prompt": "Hi"},
}
"""A request that asks for nothing but an answer."""

HI = Message(Role.USER, (Text("Hi"),))


class Outcome(StrEnum):
    """What became of a feature."""

    KEPT = "kept"
    DROPPED = "dropped"
    REFUSED = "refused"
    VERBATIM = "verbatim only"
    NO_WORD = "no word"
    LOST = "LOST"


class Cell(NamedTuple):
    """One cell of the page. `names` are what it is dropped or refused as; `note` says more."""

    outcome: Outcome
    names: tuple[str, ...] = ()
    note: str = ""

    def __str__(self) -> str:
        if self.outcome is Outcome.NO_WORD:
            return "-"
        names = ", ".join(f"`{name}`" for name in self.names)
        less = "less " if self.outcome is Outcome.KEPT and names else ""
        said = " ".join(word for word in (self.outcome.value, less + names) if word)
        return f"{said}: {self.note}" if self.note else said


class RequestFeature(NamedTuple):
    """One thing that a request can say.

    `call` is the feature in the hub's terms, None where it has none: then it cannot be translated. `native` is the
    same in each dialect that has a word for it, as fields of the body. `told` is how a dialect says it of a call,
    where that is not as in `native`. `holds` is whether a call that was read says it, where that is more than
    holding the fields of `call`.
    """

    title: str
    call: dict[str, Any] | None
    native: Mapping[str, dict[str, Any]]
    told: Mapping[str, dict[str, Any]] = {}
    own: Mapping[str, dict[str, Any]] = {}
    """The feature in the hub's terms where it is another one for each dialect: a proof is of one dialect alone."""
    holds: Callable[[Call], bool] | None = None
    notes: Mapping[str, str] = {}
    """What a cell should add, by `dialect in` or `dialect out`."""

    def is_in(self, call: Call, name: str) -> bool:
        """Whether this call says it."""
        if self.holds is not None:
            return self.holds(call)
        said = self.own.get(name, self.call)
        return said is not None and all(getattr(call, field) == value for field, value in said.items())


class AnswerFeature(NamedTuple):
    """One thing that an answer can say.

    `reply` says it in the hub's terms. `whole` is what it is in a whole answer of each dialect that has a word for
    it, as fields of the body; `stream` the same as events. `told` is an event, or a part of one, with which a
    dialect says it in a stream, where that is not the first of `stream`. `holds` is whether a reply that was read
    says it.
    """

    title: str
    reply: Reply
    holds: Callable[[Reply], bool]
    whole: Mapping[str, dict[str, Any]]
    stream: Mapping[str, list[dict[str, Any]]]
    told: Mapping[str, dict[str, Any]] = {}
    unsaid: Mapping[str, str] = {}
    """Why clients of a dialect are not told of it: their dialect has no word for it."""
    is_receipted: bool = False
    """Whether the receipt has it in a field of its own; else it is named there where a client is not told of it."""
    notes: Mapping[str, str] = {}
    """In which form clients of a dialect are told of it."""


def contains(whole: object, part: object) -> bool:
    """Whether a JSON value says all that `part` says: objects may say more, lists may not."""
    if isinstance(part, dict) and isinstance(whole, dict):
        known = cast("dict[str, object]", whole)
        return all(name in known and contains(known[name], value) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        items, parts = cast("list[object]", whole), cast("list[object]", part)
        return len(items) == len(parts) and all(map(contains, items, parts))
    return whole == part and isinstance(whole, bool) == isinstance(part, bool)


def request_in(feature: RequestFeature, name: str) -> Cell:
    """A client of this dialect asks for it: does the call hold it?"""
    note = feature.notes.get(f"{name} in", "")
    if name not in feature.native:
        return Cell(Outcome.NO_WORD)
    body = msgspec.json.encode({**BASE[name], **feature.native[name]})
    ingress = INGRESSES[name]
    try:
        call = translated(ingress, body)
    except Problem as problem:
        return refused(problem, note)
    if feature.is_in(call, name):
        return Cell(Outcome.KEPT, note=note)
    extras = tuple(dict.fromkeys(extras_of(call)))
    if extras and all(_names_the_loss(call, other) for other in DIALECTS if other != name):
        return Cell(Outcome.VERBATIM if name in DIALECTS else Outcome.DROPPED, extras, note)
    return Cell(Outcome.LOST)


def request_out(feature: RequestFeature, name: str) -> Cell:
    """A target of this dialect is to be told of it: does the body say it?"""
    note = feature.notes.get(f"{name} out", "")
    egress, target = TARGETS[name]
    dialect = target.provider.dialect
    said = feature.own.get(dialect, feature.call)
    if said is None:
        return Cell(Outcome.VERBATIM if dialect in feature.native else Outcome.NO_WORD)
    nothing = Call(messages=(HI,), stream=False)
    call = msgspec.structs.replace(nothing, **said)
    before = egress.write_call(nothing, target)
    try:
        request = egress.write_call(call, target)
    except Problem as problem:
        return refused(problem, note)
    names = tuple(lost for lost in request.dropped if lost not in before.dropped)
    words = feature.told.get(name, feature.told.get(dialect, feature.native.get(dialect)))
    if words is not None and contains(msgspec.json.decode(request.body), words):
        return Cell(Outcome.KEPT, names, note)
    return Cell(Outcome.DROPPED, names, note) if names else Cell(Outcome.LOST)


def answer_in(feature: AnswerFeature, name: str) -> Cell:
    """An upstream of this dialect says it: does the reply hold it, streamed and whole?"""
    if name not in feature.stream:
        return Cell(Outcome.NO_WORD)
    dialect = DIALECTS[name]
    streamed = told(dialect, [encoded(name, feature.stream[name])])
    outcomes = [isinstance(streamed, Reply) and feature.holds(streamed)]
    if name in feature.whole:
        body = msgspec.json.encode({**WHOLE[name], **feature.whole[name]})
        outcomes.append(feature.holds(dialect.egress.read_reply(body, dialect.target)))
    return Cell(Outcome.KEPT if all(outcomes) else Outcome.LOST)


def answer_out(feature: AnswerFeature, name: str) -> Cell:
    """A client of this dialect is told of it, streamed and whole; or there is a reason why not."""
    unsaid = feature.unsaid.get(name)
    is_said = _is_streamed(feature, name) and (name == SEED or _is_in_whole(feature, name))
    names = _named_as_unsaid(feature, name)
    is_honest = not names if is_said else bool(names) or feature.is_receipted
    if is_said is not (unsaid is None) or not is_honest:
        return Cell(Outcome.LOST)
    if is_said:
        return Cell(Outcome.KEPT, note=feature.notes.get(name, ""))
    return Cell(Outcome.DROPPED, names, unsaid or "")


def _named_as_unsaid(feature: AnswerFeature, name: str) -> tuple[str, ...]:
    """What the router names as dropped where a client of this dialect gets this answer."""
    held = {one for event in unfold(feature.reply) for one in features(event)}
    return tuple(sorted(held & INGRESSES[name].unsaid))


def _is_streamed(feature: AnswerFeature, name: str) -> bool:
    writer = INGRESSES[name].writer(OPENING)
    data = b""
    for event in unfold(feature.reply):
        try:
            data += writer.write([event])
        except Problem as problem:  # a finish that its clients know as an error
            data += writer.write_problem(problem)
    said = feature.told.get(name) or (feature.stream[name][0] if name in feature.stream else None)
    return said is not None and any(contains(event, said) for event in decoded(data))


def _is_in_whole(feature: AnswerFeature, name: str) -> bool:
    ingress = cast("WholeIngress", INGRESSES[name])
    body = ingress.write_reply(feature.reply, OPENING)
    return name in feature.whole and contains(msgspec.json.decode(body), feature.whole[name])


def encoded(name: str, events: Iterable[dict[str, Any]]) -> bytes:
    """These events as a stream of this dialect."""
    named = name in {"anthropic_messages", "openai_responses"}
    return b"".join(
        sse.event(msgspec.json.encode(event), event["type"].encode() if named else None) for event in events
    )


def decoded(data: bytes) -> list[Any]:
    """The events of a stream, their sentinel left out."""
    frames = Framer().feed(data)
    return [msgspec.json.decode(frame.data) for frame in frames if frame.data != b"[DONE]"]


WHOLE: Mapping[str, dict[str, Any]] = {
    "openai_chat": {"id": "a", "object": "chat.completion", "model": "m"},
    "openai_responses": {"id": "a", "object": "response", "model": "m", "status": "completed", "output": []},
    "anthropic_messages": {
        "id": "a",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "gemini": {"responseId": "a", "modelVersion": "m"},
}
"""A whole answer that says nothing."""


def extras_of(call: Call) -> Iterator[str]:
    """The names of everything in this call that only its own dialect knows."""
    holders: list[Any] = [call, *call.tools, *call.messages]
    for message in call.messages:
        for part in message.parts:
            holders += [part, *(part.parts if isinstance(part, ToolResult) else ())]
    for holder in holders:
        extras = getattr(holder, "extras", None)
        if isinstance(extras, Extras):
            yield from (name for name, _ in extras.fields)


def _names_the_loss(call: Call, name: str) -> bool:
    """Whether a target of another dialect is told less by name."""
    dialect = DIALECTS[name]
    try:
        dropped = dialect.egress.write_call(call, dialect.target).dropped
    except Problem:
        return True
    return all(any(extra in lost for lost in dropped) for extra in extras_of(call))


def refused(problem: Problem, note: str = "") -> Cell:
    """A refusal names the field; without a name nobody knows what to leave out."""
    if problem.kind is not Kind.INVALID_REQUEST or problem.param is None:
        return Cell(Outcome.LOST, note=problem.message)
    return Cell(Outcome.REFUSED, (problem.param,), note)
