"""What in a responses request names state that the provider keeps, or a tool that the provider runs.

Tenants share one upstream account, so the first would let one reach into what another has left there; the second
spends money that no count of tokens shows.

Source: https://platform.openai.com/docs/api-reference/responses/create (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STATE_FIELDS: Final = ("previous_response_id", "conversation", "prompt", "background", "background_options")
"""Top-level fields that name a stored response, conversation or prompt, or ask for one to be kept."""

STATE_ITEMS: Final = frozenset(
    {"item_reference", "image_generation_call", "mcp_approval_request", "mcp_approval_response"}
)
"""Items of the input that stand for something on the provider's side."""

CLIENT_TOOLS: Final = frozenset(
    {
        "function",
        "custom",
        "namespace",
        "local_shell",
        "apply_patch",
        "computer",
        "computer_use_preview",
    }
)
"""Tools that the client runs. Everything else is run by the provider."""


class _Piece(msgspec.Struct):
    """A content part, a tool's output, or where a shell runs."""

    type: Any = None
    file_id: Any = None
    container_id: Any = None


class _Tool(msgspec.Struct):
    type: str | None = None
    environment: _Piece | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    role: Any = None
    container_id: Any = None
    environment: _Piece | None = None
    tools: list[_Tool] | None = None


class _Parted(_Item):
    """An item whose words come in parts: what most clients write, read in one look."""

    content: list[_Piece] | None = None
    output: list[_Piece] | _Piece | None = None


class _Any(_Item):
    """An item whose words may be a string, which is not read: a long one would have to be copied for nothing."""

    content: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()


class _CacheOptions(msgspec.Struct):
    comparison_response_id: Any = None


_PARTED = msgspec.json.Decoder(list[_Parted])
_INPUT = msgspec.json.Decoder(str | list[_Any] | None)
_CONTENT = msgspec.json.Decoder(list[_Piece])
_OUTPUT = msgspec.json.Decoder(list[_Piece] | _Piece)
_NO_PIECES: Final = b'"n'
"""How a string and null begin."""
_TOOLS = msgspec.json.Decoder(list[_Tool] | None)
_CACHE_OPTIONS = msgspec.json.Decoder(_CacheOptions | None)


def provider_state(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a field that names state of the provider's account; None where there is none.

    Raises Problem INVALID_REQUEST where `input` is not what the dialect knows: what cannot be read cannot be let by.
    """
    for name in STATE_FIELDS:
        if name in keys and bytes(keys[name]) not in {b"null", b"false"}:
            return name
    options = _decoded(keys, "prompt_cache_options", _CACHE_OPTIONS)
    if options is not None and options.comparison_response_id is not None:
        return "prompt_cache_options.comparison_response_id"
    try:
        items: str | list[_Parted] | list[_Any] | None = _PARTED.decode(keys.get("input", b"[]"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        items = _decoded(keys, "input", _INPUT)
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if (found := _state_of(item)) is not None:
            return f"input[{place}]{found}"
    return None


def provider_tool(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a tool that the provider would run; None where there is none. Raises as `provider_state` does.

    Tools that come as an item of the input are seen by `provider_state`, which reads the input anyway.
    """
    return next((f"tools[{place}].type" for place in _run_by_provider(_decoded(keys, "tools", _TOOLS) or [])), None)


def _run_by_provider(tools: list[_Tool]) -> Iterator[int]:
    for place, tool in enumerate(tools):
        is_local = tool.type == "shell" and tool.environment is not None and tool.environment.type == "local"
        if tool.type not in CLIENT_TOOLS and not is_local:
            yield place


def _state_of(item: _Parted | _Any) -> str | None:
    """Where in this item the provider's state is named."""
    if item.type in STATE_ITEMS:
        return ".type"
    if item.type is None and item.role is None:
        return ".id"  # an item_reference may leave its type out
    if item.container_id is not None:
        return ".container_id"
    if item.environment is not None and item.environment.container_id is not None:
        return ".environment.container_id"
    if item.tools is not None:
        return next((f".tools[{place}].type" for place in _run_by_provider(item.tools)), None)
    return _stored_file("content", _pieces(item.content, _CONTENT)) or _stored_file(
        "output", _pieces(item.output, _OUTPUT)
    )


def _pieces(
    told: msgspec.Raw | list[_Piece] | _Piece | None, decoder: msgspec.json.Decoder[Any]
) -> list[_Piece] | _Piece | None:
    """The parts; None for a string. Raises Problem INVALID_REQUEST for what is neither."""
    if not isinstance(told, msgspec.Raw):
        return told
    return _read(told, "input", decoder) if told and memoryview(told)[0] not in _NO_PIECES else None


def _stored_file(name: str, pieces: list[_Piece] | _Piece | None) -> str | None:
    """Where a file is named that the provider keeps."""
    if isinstance(pieces, list):
        for place, piece in enumerate(pieces):
            if piece.file_id is not None:
                return f".{name}[{place}].file_id"
    elif isinstance(pieces, _Piece) and pieces.file_id is not None:
        return f".{name}.file_id"
    return None


def _decoded(keys: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    raw = keys.get(name)
    return None if raw is None else _read(raw, name, decoder)


def _read(raw: msgspec.Raw, name: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what = str(error) if isinstance(error, msgspec.ValidationError) else "it cannot be read"
        raise invalid(f"`{name}` is not of this dialect: {what}.", param=name) from None
