"""Which top-level fields of a chat completion could let a caller escape its key, and what becomes of each.

A field can choose a model or a price, name what a provider keeps for its account, or have the provider run tools.
Sources: https://platform.openai.com/docs/api-reference/chat/create, https://openrouter.ai/docs/api-reference/overview,
https://docs.x.ai/docs/guides/live-search, https://console.groq.com/docs/agentic-tooling (read 2026-11-24).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import invalid
from trunkline.dialects.asked_models import PLANNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.core.call import Envelope


class Fate(StrEnum):
    """What becomes of a field."""

    PLANNED = "planned"
    """The planner's: it never goes upstream."""
    OPENROUTER = "openrouter"
    """Only OpenRouter knows it: it goes to targets that accept its provider object; elsewhere it is dropped by name."""
    PRICED = "priced"
    """It goes on, and the worst case of the request counts it."""
    FORCED = "forced"
    """The router sets it, whatever the client said."""
    STATE = "state"
    """It names what a provider keeps for an account that all tenants share: it needs the scope `provider-state`."""
    TOOLS = "tools"
    """It has the provider run tools at the account's cost: it needs the scope `provider-tools`."""


FATES: Final[Mapping[str, Fate]] = {
    **dict.fromkeys(PLANNED, Fate.PLANNED),
    "transforms": Fate.OPENROUTER,
    "session_id": Fate.OPENROUTER,
    "include_reasoning": Fate.OPENROUTER,
    "trace": Fate.OPENROUTER,
    "debug": Fate.OPENROUTER,
    "n": Fate.PRICED,
    "max_tokens": Fate.PRICED,
    "max_completion_tokens": Fate.PRICED,
    "service_tier": Fate.PRICED,
    "modalities": Fate.PRICED,
    "prediction": Fate.PRICED,
    "model": Fate.FORCED,
    "store": Fate.FORCED,
    "usage": Fate.FORCED,
    "previous_response_id": Fate.STATE,
    "conversation": Fate.STATE,
    "prompt": Fate.STATE,
    "preset": Fate.STATE,
    "background": Fate.STATE,
    "container": Fate.STATE,
    "file_ids": Fate.STATE,
    "plugins": Fate.TOOLS,
    "web_search_options": Fate.TOOLS,
    "search_parameters": Fate.TOOLS,
    "search_settings": Fate.TOOLS,
}
"""The table. What it does not name goes on as it came."""


def fated(fate: Fate) -> frozenset[str]:
    """The fields with this fate."""
    return frozenset(name for name, its in FATES.items() if its is fate)


OPENROUTER: Final = fated(Fate.OPENROUTER)
_STATE = fated(Fate.STATE)
_TOOLS = fated(Fate.TOOLS)

_CLIENT_TOOLS: Final = frozenset({None, "function", "custom"})
"""Types of tools that the client runs."""


class _Typed(msgspec.Struct):
    type: str | None = None


class _Shape(msgspec.Struct):
    """As much of a message as must be known: where it could name something that a provider keeps."""

    content: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()


class _Plain(msgspec.Struct):
    type: str | None = None
    file_id: object = None


_PARTS = msgspec.json.Decoder(list[_Plain])
_MESSAGE_LIST = msgspec.json.Decoder(list[_Shape])
_OBJECT_LIST = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOOL_LIST = msgspec.json.Decoder(list[_Typed] | None)


def provider_state(envelope: Envelope) -> str | None:
    """The first field that names provider-side state; None where none does. Stored files in messages count."""
    keys = envelope.keys
    for name in keys:
        if name in _STATE and not _is_nothing(keys[name]):
            return name
    return next(_stored(keys["messages"]), None) if "messages" in keys else None


def provider_tool(envelope: Envelope) -> str | None:
    """The first field that has the provider run tools; None where none does."""
    keys = envelope.keys
    for name in keys:
        if name in _TOOLS and not _is_nothing(keys[name]):
            return name
    try:
        tools: list[_Typed] = _TOOL_LIST.decode(keys.get("tools", b"null")) or []
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid("`tools` must be a list of objects.", param="tools") from None
    for place, tool in enumerate(tools):
        if tool.type not in _CLIENT_TOOLS:
            return f"tools[{place}].type"
    return None


def _is_nothing(raw: msgspec.Raw) -> bool:
    return bytes(raw) in {b"null", b"false", b"[]"}


def _stored(messages: msgspec.Raw) -> Iterator[str]:
    """The paths of parts that name a stored file, and of answers in sound that are named by their id."""
    try:
        told = _MESSAGE_LIST.decode(messages)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid("`messages` must be a list of objects.", param="messages") from None
    for place, message in enumerate(told):
        if bytes(message.audio)[:1] == b"{":
            yield f"messages[{place}].audio"
        if bytes(memoryview(message.content)[:1]) != b"[" or _is_plain(message.content):
            continue
        path = f"messages[{place}].content"
        try:
            parts = _OBJECT_LIST.decode(message.content)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise invalid(f"`{path}` must be a string or a list of objects.", param=path) from None
        for at, part in enumerate(parts):
            yield from _stored_part(part, f"{path}[{at}]")


def _is_plain(content: msgspec.Raw) -> bool:
    """Whether these parts are nothing but text: by far the most."""
    try:
        return all(part.type == "text" and part.file_id is None for part in _PARTS.decode(content))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def _stored_part(part: Mapping[str, msgspec.Raw], path: str) -> Iterator[str]:
    for name, raw in part.items():
        value = bytes(raw)
        if name == "file_id" and value != b"null":
            yield f"{path}.file_id"
        if value[:1] == b"{":
            try:
                inner = _OBJECT.decode(value)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                raise invalid(f"`{path}` cannot be read.", param=path) from None
            if bytes(inner.get("file_id", b"null")) != b"null":
                yield f"{path}.{name[:60]}.file_id"
