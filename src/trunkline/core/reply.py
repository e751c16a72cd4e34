"""An answer: events while it streams, a `Reply` when it is whole, and the two ways between them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import Opaque

if TYPE_CHECKING:
    from collections.abc import Iterable


class BlockKind(StrEnum):
    """What a block of an answer holds."""

    TEXT = "text"
    REASONING = "reasoning"
    REFUSAL = "refusal"
    TOOL_CALL = "tool_call"
    """Its text is the arguments: JSON as the model wrote it."""


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Feature(StrEnum):
    """What an answer can hold that some dialects have no word for. Its value is the name that a client is told."""

    REASONING = "reasoning"
    TOOL_CALLS = "tool_calls"
    CITATIONS = "citations"
    LOGPROBS = "logprobs"
    LENGTH = "finish_reason"
    """That it was cut at its length."""
    STOP_SEQUENCE = "stop_sequence"
    """Which one ended it."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="usage"):
    """What an answer used, as the upstream counted it. None means unknown, 0 means zero.

    `input_tokens` holds the cached ones, read or written, too; `output_tokens` the reasoning. `cost_nano` is the
    upstream's own price for it in nano-dollars. As an event it replaces the one before it.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_nano: int | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag="head"):
    """The answer's identity: the upstream's id for it, and the model that serves it."""

    id: str | None = None
    model: str | None = None


class Start(msgspec.Struct, frozen=True, gc=False, tag="start"):
    """Block `index` begins. `id` and `name` are a tool call's."""

    index: int
    kind: BlockKind
    id: str | None = None
    name: str | None = None


class Logprob(msgspec.Struct, frozen=True, gc=False):
    """A token and the natural logarithm of its probability.

    `utf8` are its bytes, where the upstream says them: a token may be a part of a character. `others` are the
    likeliest tokens in its place, itself among them where the upstream has it so.
    """

    token: str
    logprob: float
    utf8: bytes | None = None
    others: tuple[Logprob, ...] = ()


class Delta(msgspec.Struct, frozen=True, gc=False, tag="delta"):
    """More text of block `index`, and its tokens where they were asked for: there may be tokens without text."""

    index: int
    text: str
    logprobs: tuple[Logprob, ...] = ()


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A source of an answer's words. `start` and `end` are places in the text of their block, in characters.

    The places are None where nobody says them. `quote` are words of the source.
    """

    url: str
    title: str | None = None
    start: int | None = None
    end: int | None = None
    quote: str | None = None


class End(msgspec.Struct, frozen=True, gc=False, tag="end"):
    """Block `index` is whole. `opaque` is its provider's proof of it, `citations` its sources: both known only now."""

    index: int
    opaque: Opaque | None = None
    citations: tuple[Citation, ...] = ()


class Finish(msgspec.Struct, frozen=True, gc=False, tag="finish"):
    """The answer is whole. `native_reason` is the upstream's own word for why."""

    reason: FinishReason
    native_reason: str | None = None
    stop_sequence: str | None = None


Event = Head | Start | Delta | End | Usage | Finish


class Block(msgspec.Struct, frozen=True, gc=False):
    """A whole block of an answer."""

    kind: BlockKind
    text: str
    id: str | None = None
    name: str | None = None
    opaque: Opaque | None = None
    logprobs: tuple[Logprob, ...] = ()
    citations: tuple[Citation, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `finish` is None where it was cut."""

    head: Head = Head()
    blocks: tuple[Block, ...] = ()
    usage: Usage | None = None
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """What a reader sees: text and refusals, without reasoning."""
        seen = (BlockKind.TEXT, BlockKind.REFUSAL)
        return "".join(block.text for block in self.blocks if block.kind in seen)


def features(event: Event) -> list[Feature]:
    """What this event says that some dialects have no word for."""
    if type(event) is Finish:
        length = [Feature.LENGTH] if event.reason is FinishReason.LENGTH else []
        return length if event.stop_sequence is None else [*length, Feature.STOP_SEQUENCE]
    match event:
        case Start(kind=BlockKind.REASONING):
            return [Feature.REASONING]
        case Start(kind=BlockKind.TOOL_CALL):
            return [Feature.TOOL_CALLS]
        case Delta(logprobs=logprobs) if logprobs:
            return [Feature.LOGPROBS]
        case End(citations=citations) if citations:
            return [Feature.CITATIONS]
        case _:
            return []


def fold(events: Iterable[Event]) -> Reply:
    """The reply that these events tell. Blocks come in the order in which they began."""
    head = Head()
    begun: dict[int, Start] = {}
    texts: dict[int, list[str]] = {}
    logprobs: dict[int, list[Logprob]] = {}
    ends: dict[int, End] = {}
    usage: Usage | None = None
    finish: Finish | None = None
    for event in events:
        match event:
            case Delta(index=index, text=text):
                texts[index].append(text)
                if event.logprobs:
                    logprobs.setdefault(index, []).extend(event.logprobs)
            case Start(index=index):
                begun[index] = event
                texts[index] = []
            case End(index=index):
                ends[index] = event
            case Head():
                head = event
            case Usage():
                usage = event
            case Finish():
                finish = event
    blocks = tuple(
        Block(
            start.kind,
            "".join(texts[index]),
            start.id,
            start.name,
            (end := ends.get(index, End(index))).opaque,
            tuple(logprobs.get(index, ())),
            end.citations,
        )
        for index, start in begun.items()
    )
    return Reply(head=head, blocks=blocks, usage=usage, finish=finish)


def unfold(reply: Reply) -> list[Event]:
    """The events that tell this reply, in normal form: one delta for each block that is not empty."""
    events: list[Event] = [reply.head]
    for index, block in enumerate(reply.blocks):
        events.append(Start(index, block.kind, block.id, block.name))
        if block.text or block.logprobs:
            events.append(Delta(index, block.text, block.logprobs))
        events.append(End(index, block.opaque, block.citations))
    if reply.usage is not None:
        events.append(reply.usage)
    if reply.finish is not None:
        events.append(reply.finish)
    return events
