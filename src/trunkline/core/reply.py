"""An answer: events while it streams, a `Reply` when it is whole, and the two ways between them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class BlockKind(StrEnum):
    """What a block of an answer holds."""

    TEXT = "text"
    REASONING = "reasoning"
    REFUSAL = "refusal"


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag="usage"):
    """What an answer used, as the upstream counted it. None means unknown, 0 means zero.

    `cost_nano` is the upstream's own price for it in nano-dollars. As an event it replaces the one before it.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_nano: int | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True, tag="head"):
    """The answer's identity: the upstream's id for it, and the model that serves it."""

    id: str | None = None
    model: str | None = None


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Block `index` begins."""

    index: int
    kind: BlockKind


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """More text of block `index`."""

    index: int
    text: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """Block `index` is whole."""

    index: int


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """The answer is whole. `native_reason` is the upstream's own word for why."""

    reason: FinishReason
    native_reason: str | None = None


Event = Head | Start | Delta | End | Usage | Finish


class Block(msgspec.Struct, frozen=True):
    """A whole block of an answer."""

    kind: BlockKind
    text: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `finish` is None where it was cut."""

    head: Head = Head()
    blocks: tuple[Block, ...] = ()
    usage: Usage | None = None
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """What a reader sees: text and refusals, without reasoning."""
        return "".join(block.text for block in self.blocks if block.kind is not BlockKind.REASONING)


def fold(events: Iterable[Event]) -> Reply:
    """The reply that these events tell. Blocks come in the order in which they began."""
    head = Head()
    kinds: dict[int, BlockKind] = {}
    texts: dict[int, list[str]] = {}
    usage: Usage | None = None
    finish: Finish | None = None
    for event in events:
        match event:
            case Delta(index=index, text=text):
                texts[index].append(text)
            case Start(index=index, kind=kind):
                kinds[index] = kind
                texts[index] = []
            case End():
                pass
            case Head():
                head = event
            case Usage():
                usage = event
            case Finish():
                finish = event
    blocks = tuple(Block(kind, "".join(texts[index])) for index, kind in kinds.items())
    return Reply(head=head, blocks=blocks, usage=usage, finish=finish)


def unfold(reply: Reply) -> list[Event]:
    """The events that tell this reply, in normal form: one delta for each block that is not empty."""
    events: list[Event] = [reply.head]
    for index, block in enumerate(reply.blocks):
        events.append(Start(index, block.kind))
        if block.text:
            events.append(Delta(index, block.text))
        events.append(End(index))
    if reply.usage is not None:
        events.append(reply.usage)
    if reply.finish is not None:
        events.append(reply.finish)
    return events
