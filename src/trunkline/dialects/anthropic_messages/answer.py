"""What Anthropic answers, apart from its stream: a whole message, its usage, an error.

Sources: https://platform.claude.com/docs/en/api/messages and, for the errors,
https://platform.claude.com/docs/en/api/errors (read 2026-11-24).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Opaque
from trunkline.core.reply import Block, BlockKind, Citation, Head, Reply, Usage
from trunkline.dialects.anthropic_messages.words import NAME, THOUGHTS, UNREADABLE, finish_of
from trunkline.dialects.opaque import NONE
from trunkline.dialects.upstream_error import (
    classify,
    cut_short,
    invalid_answer,
    no_answer,
    parse_error_body,
    read_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem

MAX_REASONABLE_TOKENS: Final = 1_000_000_000
"""A single answer's count over this is a broken number, not a count."""

_SAYS_CONTEXT: Final = ("prompt is too long", "exceed context limit")
_SAYS_FILTERED: Final = ("content filtering policy",)
_SAYS_UNPAID: Final = ("credit balance is too low",)
"""All three are plain `invalid_request_error`s: only their words tell them apart."""


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Decimal | None = None


class Counts(msgspec.Struct):
    """A usage object. Decimals hold whatever number an upstream may send, to its last digit."""

    input_tokens: Decimal | None = None
    output_tokens: Decimal | None = None
    cache_read_input_tokens: Decimal | None = None
    cache_creation_input_tokens: Decimal | None = None
    output_tokens_details: _OutputDetails | None = None

    def over(self, earlier: Counts) -> Counts:
        """These counts, and the earlier ones where these say nothing: they are totals, not steps."""
        return Counts(
            *(
                getattr(earlier, name) if (said := getattr(self, name)) is None else said
                for name in self.__struct_fields__
            )
        )

    def at_start(self) -> Counts:
        """What these counts are worth before the answer: its length is a placeholder, and so is a prompt of nothing."""
        prompt = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        if not any(prompt):
            return Counts()
        return Counts(
            input_tokens=self.input_tokens,
            cache_read_input_tokens=self.cache_read_input_tokens,
            cache_creation_input_tokens=self.cache_creation_input_tokens,
        )

    def usage(self) -> Usage | None:
        """The same in the hub's terms, where the input holds the cached tokens too; None where nothing is known."""
        fresh, read, written = (
            _count(number)
            for number in (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        )
        details = self.output_tokens_details
        usage = Usage(
            input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
            output_tokens=_count(self.output_tokens),
            cached_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=_count(details.thinking_tokens) if details else None,
        )
        return None if usage == Usage() else usage


def _count(number: Decimal | None) -> int | None:
    """A count of tokens; None, unknown, for what cannot be one."""
    if number is None or not number.is_finite() or not 0 <= number <= MAX_REASONABLE_TOKENS:
        return None
    return int(number) if number == int(number) else None


class ContentBlock(msgspec.Struct):
    """A block of an answer, or how it begins."""

    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class _Location(msgspec.Struct):
    """A source on the web, or a search result of the client's. Those in a document have no address."""

    type: str
    url: str | None = None
    source: str | None = None
    title: str | None = None
    cited_text: str | None = None


_LOCATION = msgspec.json.Decoder(_Location)
_LOCATIONS = msgspec.json.Decoder(list[msgspec.Raw] | None)
_ADDRESSED: Final = ("http://", "https://")


def read_citation(raw: msgspec.Raw) -> Citation | None:
    """A citation, which is of the whole block; None where its source has no address, or it cannot be read."""
    try:
        location = _LOCATION.decode(raw)
    except UNREADABLE:
        return None
    url = location.url or location.source or ""
    return Citation(url, location.title, quote=location.cited_text) if url.startswith(_ADDRESSED) else None


def read_citations(raw: msgspec.Raw, length: int) -> tuple[Citation, ...]:
    """The citations of a block of this many characters."""
    try:
        locations: list[msgspec.Raw] = (_LOCATIONS.decode(raw) if raw else None) or []
    except UNREADABLE:
        return ()
    return placed([citation for one in locations if (citation := read_citation(one)) is not None], length)


def placed(citations: Iterable[Citation], length: int) -> tuple[Citation, ...]:
    """The same with the place that they have: all of their block."""
    return tuple([msgspec.structs.replace(citation, start=0, end=length) for citation in citations])


class _Typed(msgspec.Struct):
    type: str


class Message(msgspec.Struct):
    """A message object, whole or at its start."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[msgspec.Raw] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None


class _TokenCount(msgspec.Struct):
    input_tokens: int


_MESSAGE = msgspec.json.Decoder(Message)
_BLOCK = msgspec.json.Decoder(ContentBlock)
_TYPED = msgspec.json.Decoder(_Typed)
_COUNTS = msgspec.json.Decoder(Counts | None)
_TOKEN_COUNT = msgspec.json.Decoder(_TokenCount)

_KNOWN_BLOCKS: Final = THOUGHTS | {"text", "tool_use"}


def read_counts(raw: msgspec.Raw) -> Counts | None:
    """A usage object; None where there is none that can be read: a good answer does not fail for its bill."""
    try:
        return _COUNTS.decode(raw) if raw else None
    except UNREADABLE:
        return None


def read_block(raw: msgspec.Raw, target: Target) -> ContentBlock:
    """A block. Raises Problem where it is of a known type and not as that must be."""
    try:
        block = _BLOCK.decode(raw)
    except UNREADABLE as error:
        try:
            block = ContentBlock(_TYPED.decode(raw).type)
        except UNREADABLE:
            raise invalid_answer(target, "a content block that cannot be read") from error
        if block.type in _KNOWN_BLOCKS:
            raise invalid_answer(target, "a content block that cannot be read") from error
    if block.type == "tool_use" and not (block.id and block.name):
        raise invalid_answer(target, "a tool use without an id or a name")
    return block


def read_reply(body: bytes, target: Target) -> Reply:
    """A whole answer. Raises Problem for an error inside it and for what is no answer."""
    try:
        message = _MESSAGE.decode(body)
    except UNREADABLE as error:
        raise invalid_answer(target, f"{len(body)} bytes that are not a message") from error
    if message.type == "error" or message.error is not None:
        raise read_error_object(target, 200, {}, message.error)
    if message.type != "message":
        raise invalid_answer(target, "an object that is not a message")
    if not message.stop_reason:
        raise cut_short(target, "message without a stop reason")
    blocks = [_block(raw, read_block(raw, target), target) for raw in message.content]
    counts = read_counts(message.usage)
    return Reply(
        head=Head(id=message.id, model=message.model),
        blocks=tuple(block for block in blocks if block is not None),
        usage=counts.usage() if counts else None,
        finish=finish_of(message.stop_reason, message.stop_sequence),
    )


def _block(raw: msgspec.Raw, block: ContentBlock, target: Target) -> Block | None:
    """A block in the hub's terms; None for one that only this dialect knows."""
    match block.type:
        case "text":
            return Block(BlockKind.TEXT, block.text, citations=read_citations(block.citations, len(block.text)))
        case "thinking":
            return Block(
                BlockKind.REASONING, block.thinking, opaque=proof(raw) if block.signature not in {"", NONE} else None
            )
        case "redacted_thinking":
            return Block(BlockKind.REASONING, "", opaque=proof(raw))
        case "tool_use":
            return Block(BlockKind.TOOL_CALL, arguments_of(block, target), block.id, block.name)
        case _:
            return None


def arguments_of(block: ContentBlock, target: Target) -> str:
    """A tool call's arguments as they stand in its block; a tool without any gets an empty object.

    Raises Problem where they are not UTF-8.
    """
    raw = bytes(block.input)
    try:
        return "{}" if raw in {b"", b"null"} else raw.decode()
    except UnicodeDecodeError as error:
        raise invalid_answer(target, "a tool use that is not UTF-8") from error


def proof(raw: msgspec.Raw) -> Opaque:
    """The whole block, as it came: what is sent back must not differ by a character."""
    return Opaque(NAME, bytes(raw))


def read_count(body: bytes, target: Target) -> int:
    """The answer to a count of tokens. Raises Problem for what is none."""
    try:
        tokens = _TOKEN_COUNT.decode(body).input_tokens
    except UNREADABLE as error:
        raise invalid_answer(target, f"{len(body)} bytes that are not a count of tokens") from error
    if not 0 <= tokens <= MAX_REASONABLE_TOKENS:
        raise invalid_answer(target, "a count of tokens that cannot be one")
    return tokens


def read_problem(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """What a status that is not 200, or a 200 that is no answer, means."""
    error = parse_error_body(body)
    if 200 <= status < 300 and error is None:
        return no_answer(target, status, headers, body)
    return read_error_object(target, status, headers, error)


def read_error_object(target: Target, status: int, headers: Mapping[str, str], error: object) -> Problem:
    """What an error object means, wherever it stood."""
    said = read_error(error)
    words = (said.message or "")[:500].lower()
    if said.type in {"invalid_request_error", "request_too_large"}:
        if any(phrase in words for phrase in _SAYS_CONTEXT):
            said.error_type = "context_length_exceeded"
        elif any(phrase in words for phrase in _SAYS_FILTERED):
            said.error_type = "content_policy_violation"
        elif any(phrase in words for phrase in _SAYS_UNPAID):
            status = 402
    return classify(target, status, headers, said)
