"""Chat completions as upstreams send them: the structs of a chunk and of a whole answer, and what their numbers mean.

Sources: https://platform.openai.com/docs/api-reference/chat, https://openrouter.ai/docs/api-reference/overview (cost,
cache writes, reasoning details), https://api-docs.deepseek.com/api/create-chat-completion (`reasoning_content`,
cache hits), https://docs.mistral.ai/capabilities/reasoning (content in parts); read 2026-11-24.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.core.reply import BlockKind, Citation, FinishReason, Usage
from trunkline.dialects.token_logprobs import read_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.reply import Logprob

NAME: Final = "openai_chat"

NANO: Final = Decimal(1_000_000_000)
MAX_REASONABLE_COST: Final = 1_000_000
"""Dollars. A single answer's cost over this is a broken number, not a price."""
MAX_REASONABLE_TOKENS: Final = 1_000_000_000
"""A single answer's count over this is a broken number, not a count."""

FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


Count = int | Decimal | None
"""A number as it may come: nearly always an integer, sometimes `12.0` or `"12"`; a Decimal holds all of its digits."""


class _Details(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    reasoning_tokens: Count = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count = None
    cost: Decimal | None = None


class FunctionPiece(msgspec.Struct, gc=False):
    """A tool call's function. `arguments` is JSON text; some send the value itself."""

    name: str | None = None
    arguments: Any = None


class ToolPiece(msgspec.Struct, gc=False):
    """A part of a tool call. `index` joins the parts; not everybody sends it."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None
    extra_content: msgspec.Raw = msgspec.Raw()


class Piece(msgspec.Struct, gc=False):
    """What a chunk adds, or the message of a whole answer."""

    content: str | list[Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: msgspec.Raw = msgspec.Raw()
    refusal: str | None = None
    tool_calls: list[ToolPiece] | None = None
    function_call: FunctionPiece | None = None
    audio: Any = None
    annotations: msgspec.Raw = msgspec.Raw()


class Logprobs(msgspec.Struct):
    """The tokens of what a choice says, and of how it declines."""

    content: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()


class Choice(msgspec.Struct, gc=False):
    """One of the answers that a chunk belongs to."""

    delta: Piece | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    index: int = 0
    error: Any = None
    logprobs: msgspec.Raw = msgspec.Raw()


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream. `search_results` and `citations` are Perplexity's: its sources, and their addresses."""

    choices: list[Choice] | None = None
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None
    search_results: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class WholeChoice(msgspec.Struct, gc=False):
    """One of the answers of a whole one."""

    message: Piece | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    index: int = 0
    error: Any = None
    logprobs: msgspec.Raw = msgspec.Raw()


class Whole(msgspec.Struct, gc=False):
    """An answer that does not stream."""

    choices: list[WholeChoice] | None = None
    id: str | None = None
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: Any = None
    search_results: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct):
    url: str
    title: str | None = None


CHUNK: Final = msgspec.json.Decoder(Chunk)
WHOLE: Final = msgspec.json.Decoder(Whole)
_USAGE = msgspec.json.Decoder(_Usage | None)
_LOGPROBS = msgspec.json.Decoder(Logprobs)
_RESULTS = msgspec.json.Decoder(list[_Result] | None)
_URLS = msgspec.json.Decoder(list[str] | None)
_ENTRIES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


NULL: Final = msgspec.Raw(b"null")


def read_logprobs(raw: msgspec.Raw) -> dict[BlockKind, tuple[Logprob, ...]]:
    """The tokens of what is said and of how it is declined; none where they cannot be read."""
    try:
        told = _LOGPROBS.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    tokens = {BlockKind.TEXT: read_tokens(told.content), BlockKind.REFUSAL: read_tokens(told.refusal)}
    return {kind: found for kind, found in tokens.items() if found}


def read_sources(chunk: Chunk) -> tuple[Citation, ...]:
    """The sources that stand beside an answer, without a place in it; none where they cannot be read."""
    try:
        if chunk.search_results:
            return tuple([Citation(one.url, one.title) for one in _RESULTS.decode(chunk.search_results) or ()])
        return tuple([Citation(url) for url in _URLS.decode(chunk.citations) or ()]) if chunk.citations else ()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ()


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """The usage; None where there is none that can be read: a good answer does not fail for its bill."""
    try:
        usage = _USAGE.decode(raw) if raw else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = _count(prompt.cached_tokens) if prompt else None
    return Usage(
        input_tokens=_count(usage.prompt_tokens),
        output_tokens=_count(usage.completion_tokens),
        cached_tokens=_count(usage.prompt_cache_hit_tokens) if cached is None else cached,
        cache_write_tokens=_count(prompt.cache_write_tokens) if prompt else None,
        reasoning_tokens=_count(completion.reasoning_tokens) if completion else None,
        cost_nano=_nano(usage.cost),
    )


def _count(number: Count) -> int | None:
    """A count of tokens; None, unknown, for what cannot be one."""
    if isinstance(number, int):
        return number if 0 <= number <= MAX_REASONABLE_TOKENS else None
    if number is None or not number.is_finite() or not 0 <= number <= MAX_REASONABLE_TOKENS:
        return None
    return int(number) if number == int(number) else None


def _nano(dollars: Decimal | None) -> int | None:
    """Nano-dollars; None, unknown, for what cannot be a price."""
    if dollars is None or not dollars.is_finite() or not 0 <= dollars <= MAX_REASONABLE_COST:
        return None
    return round(dollars * NANO)


_NESTED: Final = frozenset(
    {
        *("reasoning", "response_format", "json_schema", "tool_choice"),
        *("function", "image_url", "file", "input_audio"),
    }
)
"""Objects of which what nobody reads is named by its path, as `reasoning.summary`."""


def put(written: dict[str, Any], path: str, raw: bytes) -> bool:
    """A field that nobody reads, back in the object where it stood; whether there is room for it."""
    outer, dot, inner = path.partition(".")
    if dot and outer in _NESTED:
        within: object = written.get(outer)
        return isinstance(within, dict) and put(cast("dict[str, Any]", within), inner, raw)
    if path in written:
        return False
    written[path] = msgspec.Raw(raw)
    return True


Entry = dict[str, msgspec.Raw]
"""One element of `reasoning_details`."""


def entries(raw: bytes | msgspec.Raw) -> list[Entry]:
    """The elements of a `reasoning_details`; none where it is not a list of objects."""
    try:
        return _ENTRIES.decode(raw) if raw else []
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []


def entry_text(entry: Entry, name: str) -> str | None:
    """A string of an element, where it has one."""
    try:
        return msgspec.json.decode(entry.get(name, b"null"), type=str | None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_GROWING: Final = ("text", "summary")
"""What comes in pieces. A signature or encrypted data comes whole."""


def joined(fragments: Iterable[bytes]) -> bytes:
    """The `reasoning_details` of a whole message, from those of its chunks.

    Pieces of one text (same type, same index, next to each other) become one element, as OpenRouter gives it in
    answers that do not stream. Everything else stays as it came.
    """
    whole: list[Entry] = []
    for fragment in fragments:
        for entry in entries(fragment):
            if whole and _continues(whole[-1], entry):
                whole[-1] = _grown(whole[-1], entry)
            else:
                whole.append(entry)
    return msgspec.json.encode(whole)


def _continues(before: Entry, entry: Entry) -> bool:
    if any(before.get(name) != entry.get(name) for name in ("type", "index")) or entry_text(before, "signature"):
        return False
    return any(entry_text(before, name) is not None for name in _GROWING)


def _grown(before: Entry, entry: Entry) -> Entry:
    grown = {**before, **{name: raw for name, raw in entry.items() if bytes(raw) != b"null"}}
    for name in _GROWING:
        old, new = entry_text(before, name), entry_text(entry, name)
        if old is not None and new is not None:
            grown[name] = msgspec.Raw(msgspec.json.encode(old + new))
    return grown
