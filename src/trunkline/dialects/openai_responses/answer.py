"""A whole response of OpenAI's, as an upstream gives it: its items, its usage, and what a failed one means.

Source: https://platform.openai.com/docs/api-reference/responses/object and, for errors and the cost,
https://openrouter.ai/docs/api-reference/errors (OpenRouterTeam/docs, 2026-08-22).
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Opaque
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Head, Reply, Usage
from trunkline.dialects.openai_responses.call import BETWEEN_PARTS, NAME
from trunkline.dialects.token_logprobs import read_tokens
from trunkline.dialects.upstream_error import (
    UpstreamError,
    classify,
    invalid_answer,
    no_answer,
    read_error,
)
from trunkline.dialects.url_citations import read_citations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem

NANO: Final = Decimal(1_000_000_000)
MAX_REASONABLE_COST: Final = 1_000_000
"""Dollars. A single answer's cost over this is a broken number, not a price."""
MAX_REASONABLE_TOKENS: Final = 1_000_000_000
"""A single answer's count over this is a broken number, not a count."""

CALLS: Final = frozenset({"function_call", "custom_tool_call"})
"""Items that are tool calls of the client's."""

KNOWN_ITEMS: Final = CALLS | {"message", "reasoning"}

PARTS: Final[Mapping[str | None, BlockKind]] = {"output_text": BlockKind.TEXT, "refusal": BlockKind.REFUSAL}
"""What a message's parts are to the hub."""

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_INCOMPLETE: Final[Mapping[str, FinishReason]] = {
    "content_filter": FinishReason.CONTENT_FILTER,
    "steered": FinishReason.STOP,
}
"""Why an answer is incomplete; anything else was a limit."""


class Part(msgspec.Struct):
    """A part of a message or of a thought."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    logprobs: msgspec.Raw = msgspec.Raw()
    annotations: msgspec.Raw = msgspec.Raw()


class Item(msgspec.Struct):
    """An item of the output, as far as the hub knows it."""

    type: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: msgspec.Raw = msgspec.Raw()


class _InputDetails(msgspec.Struct):
    cached_tokens: Decimal | None = None
    cache_write_tokens: Decimal | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Decimal | None = None


class _Usage(msgspec.Struct):
    """Decimals hold whatever number an upstream may send, to its last digit."""

    input_tokens: Decimal | None = None
    output_tokens: Decimal | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cost: Decimal | None = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class Response(msgspec.Struct):
    """The response object. Its output is read only where nothing was streamed."""

    object: str | None = None
    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    incomplete_details: _IncompleteDetails | None = None
    error: Any = None
    error_type: Any = None


class _Typed(msgspec.Struct):
    type: str | None = None


class _Failed(msgspec.Struct):
    error: Any = None
    error_type: Any = None


_TYPED = msgspec.json.Decoder(_Typed)
_FAILED = msgspec.json.Decoder(_Failed)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PART = msgspec.json.Decoder(Part)
_ITEM = msgspec.json.Decoder(Item)
_RESPONSE = msgspec.json.Decoder(Response)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw] | None)
_USAGE = msgspec.json.Decoder(_Usage | None)


def read_item(raw: msgspec.Raw, target: Target) -> Item:
    """An item of the output. Raises Problem where it is of a known type and not as that must be."""
    try:
        return _ITEM.decode(raw)
    except UNREADABLE as error:
        kind = _type(raw)
        if kind is None or kind in KNOWN_ITEMS:
            raise invalid_answer(target, "an item that cannot be read") from error
        return Item(type=kind)


def read_part(raw: msgspec.Raw, target: Target) -> Part:
    """A part of a message. Raises Problem where it is of a known type and not as that must be."""
    try:
        return _PART.decode(raw)
    except UNREADABLE as error:
        kind = _type(raw)
        if kind is None or kind in PARTS:
            raise invalid_answer(target, "a part of a message that cannot be read") from error
        return Part(type=kind)


def _type(raw: msgspec.Raw) -> str | None:
    try:
        return _TYPED.decode(raw).type
    except UNREADABLE:
        return None


def read_reply(body: bytes, target: Target) -> Reply:
    """A whole answer. Raises Problem for an error inside it and for what is no answer."""
    try:
        response = _RESPONSE.decode(body)
    except UNREADABLE as error:
        raise invalid_answer(target, f"{len(body)} bytes that are not a response") from error
    if response.error is not None or response.status in {"failed", "cancelled"}:
        raise response_error(target, response)
    if response.status not in {"completed", "incomplete"}:
        raise invalid_answer(target, "a response that is not finished")
    blocks = tuple(read_blocks(target, response.output))
    has_calls = any(block.kind is BlockKind.TOOL_CALL for block in blocks)
    return Reply(
        head=Head(id=response.id, model=response.model),
        blocks=blocks,
        usage=read_usage(response.usage),
        finish=read_finish(response, is_incomplete=response.status == "incomplete", has_calls=has_calls),
    )


def read_blocks(target: Target, output: msgspec.Raw) -> list[Block]:
    """The blocks of an output. Raises Problem where it cannot be read."""
    try:
        items = _ITEMS.decode(output) if output else None
    except UNREADABLE as error:
        raise invalid_answer(target, "a response whose output cannot be read") from error
    blocks: list[Block] = []
    for raw in items or ():
        item = read_item(raw, target)
        if item.type == "message":
            parts = (part for part in item.content or () if part.type in PARTS)
            blocks += [
                Block(
                    PARTS[part.type],
                    part.text or part.refusal or "",
                    logprobs=read_tokens(part.logprobs),
                    citations=read_citations(part.annotations),
                )
                for part in parts
            ]
        elif item.type == "reasoning":
            blocks.append(Block(BlockKind.REASONING, thought_text(item), opaque=proof(item)))
        elif item.type in CALLS:
            call_id = item.call_id or item.id
            if not call_id or not item.name:
                raise invalid_answer(target, "a function call without an id or a name")
            blocks.append(Block(BlockKind.TOOL_CALL, item.arguments or item.input or "", call_id, item.name))
    return blocks


def thought_text(item: Item) -> str:
    """The parts of a thought as one text."""
    parts = (*(item.summary or ()), *(item.content or ()))
    return BETWEEN_PARTS.join(part.text for part in parts if part.text)


def proof(item: Item) -> Opaque | None:
    """The encrypted thought, as it came: a JSON string."""
    raw = bytes(item.encrypted_content)
    return Opaque(NAME, raw) if raw.startswith(b'"') and raw != b'""' else None


def read_finish(response: Response, *, is_incomplete: bool, has_calls: bool) -> Finish:
    """Why it ended. OpenAI has no word of its own for a tool call."""
    if is_incomplete or response.status == "incomplete":
        reason = response.incomplete_details.reason if response.incomplete_details else None
        return Finish(_INCOMPLETE.get(reason or "", FinishReason.LENGTH), reason or "incomplete")
    return Finish(FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP, response.status or "completed")


def stream_error(target: Target, data: bytes) -> Problem:
    """What an error event means: its fields stand at the top, or in an `error` of its own."""
    said: dict[str, Any] = {}
    with suppress(*UNREADABLE):
        for name, raw in _FIELDS.decode(data).items():
            with suppress(*UNREADABLE):  # what nobody here reads may be any number
                said[name] = msgspec.json.decode(raw)
    inner = said.get("error")
    if inner is None:
        said.pop("type", None)  # "error", which says nothing
        inner = said
    return classify(target, 200, {}, _error(inner, said.get("error_type")))


def response_error(target: Target, response: Response) -> Problem:
    """What a failed response means."""
    return classify(target, 200, {}, _error(response.error, response.error_type))


def read_failure(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """What a status that is not 200, or a 200 that is no answer, means."""
    try:
        failed = _FAILED.decode(body)
    except UNREADABLE:
        failed = _Failed()
    if 200 <= status < 300 and failed.error is None:
        return no_answer(target, status, headers, body)
    return classify(target, status, headers, _error(failed.error, failed.error_type))


def _error(error: Any, error_type: Any) -> UpstreamError:
    """OpenRouter names the type of an error beside it."""
    read = read_error(error)
    if read.error_type is None and isinstance(error_type, str):
        read.error_type = error_type
    return read


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """The usage; None where there is none that can be read: a good answer does not fail for its bill."""
    try:
        usage = _USAGE.decode(raw) if raw else None
    except UNREADABLE:
        return None
    if usage is None:
        return None
    given, made = usage.input_tokens_details, usage.output_tokens_details
    return Usage(
        input_tokens=_count(usage.input_tokens),
        output_tokens=_count(usage.output_tokens),
        cached_tokens=_count(given.cached_tokens) if given else None,
        cache_write_tokens=_count(given.cache_write_tokens) if given else None,
        reasoning_tokens=_count(made.reasoning_tokens) if made else None,
        cost_nano=_nano(usage.cost),
    )


def _count(number: Decimal | None) -> int | None:
    """A count of tokens; None, unknown, for what cannot be one."""
    if number is None or not number.is_finite() or not 0 <= number <= MAX_REASONABLE_TOKENS:
        return None
    return int(number) if number == int(number) else None


def _nano(dollars: Decimal | None) -> int | None:
    """Nano-dollars; None, unknown, for what cannot be a price."""
    if dollars is None or not dollars.is_finite() or not 0 <= dollars <= MAX_REASONABLE_COST:
        return None
    return round(dollars * NANO)
