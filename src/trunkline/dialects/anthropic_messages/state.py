"""What in a messages request names state that the provider keeps, or a tool that the provider runs.

Tenants share one upstream account, so the first would let one reach into what another has left there; the second
spends money that no count of tokens shows.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from trunkline.core.problem import invalid
from trunkline.dialects.anthropic_messages.words import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STATE_FIELDS: Final = (
    "container",
    "thread",
    "diagnostics",
    "user_profile_id",
    "workspace_id",
    "billing_policy",
    "fallback_credit_token",
)
"""Top-level fields that name what the provider keeps for its account: `diagnostics` names an earlier message."""

_CLIENT_TOOL = re.compile(r"custom|(?:bash|text_editor|computer|memory|computer_toolset|browser_toolset)_[0-9]{8}")
"""Tools that the client runs. Everything else is run by the provider."""


class _Holder(msgspec.Struct):
    """A block's source, or what stands in its place."""

    file_id: Any = None
    content: str | list[_Block] | _Holder | None = None


class _Block(msgspec.Struct):
    type: str | None = None
    file_id: Any = None
    source: str | _Holder | None = None
    content: str | list[_Block] | _Holder | None = None


class _Turn(msgspec.Struct):
    """A turn whose words may be a string, which is not read: a long one would have to be copied for nothing."""

    content: msgspec.Raw = msgspec.Raw()


class _Blocks(msgspec.Struct):
    """A turn whose words come in blocks: what most clients write, read in one look."""

    content: list[_Block]


class _Tool(msgspec.Struct):
    type: str | None = None


_TOOLS = msgspec.json.Decoder(list[_Tool] | None)
_TURNS = msgspec.json.Decoder(list[_Turn] | None)
_IN_BLOCKS = msgspec.json.Decoder(list[_Blocks])
_BLOCKS = msgspec.json.Decoder(str | list[_Block] | None)
_PLAIN: Final = frozenset(
    {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result"}
)
"""The blocks whose every field is known. What another one holds is searched through."""

_WORDS: Final = b'"n'
"""How a string and null begin."""

_EMPTY: Final = frozenset({b"null", b"[]"})


def provider_state(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a field that names state of the provider's account; None where there is none.

    Raises Problem INVALID_REQUEST where `system` or `messages` cannot be read.
    """
    for name in STATE_FIELDS:
        if name in keys and bytes(keys[name]) != b"null":
            return name
    for name, decoder in (("system", _BLOCKS), ("messages", _TURNS)):
        if name in keys and (found := _first_file(keys[name], name, decoder)) is not None:
            return found
    return None


def _first_file(raw: msgspec.Raw, name: str, decoder: msgspec.json.Decoder[Any]) -> str | None:
    """The path of a stored file in here. What is plainly of the dialect costs one quick look; the rest is searched."""
    try:
        if _is_plain(_look(raw, decoder)):
            return None
    except msgspec.ValidationError:
        pass  # it is JSON of another shape, which may hold a file all the same
    except UNREADABLE:
        raise invalid(f"`{name}` cannot be read.", param=name) from None
    try:
        return next(_files(msgspec.json.decode(raw), name), None)
    except UNREADABLE:
        raise invalid(f"`{name}` cannot be read.", param=name) from None


def _look(raw: msgspec.Raw, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Raises as the decoder does."""
    if decoder is _TURNS:
        try:
            return _IN_BLOCKS.decode(raw)
        except msgspec.ValidationError:
            pass  # one of them is a string
    return decoder.decode(raw)


def _is_plain(content: str | list[_Block] | list[_Turn] | list[_Blocks] | _Holder | None) -> bool:
    """Whether these blocks are all of types that are known, and none names a file."""
    match content:
        case list():
            return all(map(_is_plain_block, content))
        case _Holder(file_id=None, content=inner):
            return _is_plain(inner)
        case _Holder():
            return False
        case _:
            return True


def _is_plain_block(block: _Block | _Turn | _Blocks) -> bool:
    if isinstance(block, _Turn):
        told = block.content
        return not told or memoryview(told)[0] in _WORDS or _is_plain(_BLOCKS.decode(told))
    if isinstance(block, _Blocks):
        return _is_plain(block.content)
    if block.type == "text" and block.content is None:  # by far the most
        return block.file_id is None and block.source is None
    if block.type not in _PLAIN or block.file_id is not None:
        return False
    return _is_plain(block.content) and (isinstance(block.source, str) or _is_plain(block.source))


def _files(value: Any, path: str) -> Iterator[str]:
    """The paths under which a stored file is named. A tool call's input is the model's own words, whatever its keys."""
    if isinstance(value, list):
        for place, item in enumerate(cast("list[Any]", value)):
            yield from _files(item, f"{path}[{place}]")
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            if name == "file_id" and inner is not None:
                yield f"{path}.file_id"
            elif name != "input":
                yield from _files(inner, f"{path}.{name}")


def provider_tool(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a tool that the provider would run; None where there is none.

    Raises Problem INVALID_REQUEST where `tools` is not a list of objects.
    """
    if "mcp_servers" in keys and bytes(keys["mcp_servers"]) not in _EMPTY:
        return "mcp_servers"
    if "tools" not in keys:
        return None
    try:
        tools: list[_Tool] = _TOOLS.decode(keys["tools"]) or []
    except UNREADABLE:
        raise invalid("`tools` must be a list of objects whose `type` is a string.", param="tools") from None
    found = (place for place, tool in enumerate(tools) if tool.type and not _CLIENT_TOOL.fullmatch(tool.type))
    return next((f"tools[{place}].type" for place in found), None)
