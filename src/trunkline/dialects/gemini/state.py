"""What in a Gemini request names state that Google keeps for the account.

Tenants share one upstream account, so such a name would let one reach what another has stored there. The body goes on
as it came where both sides speak Gemini, so all places are looked at before, in one typed read that skips the rest.

Sources: https://ai.google.dev/gemini-api/docs/file-input-methods, the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from trunkline.core.problem import invalid
from trunkline.dialects.gemini.fields import camel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATE_FIELDS: Final = ("cachedContent", "continuationToken")
"""Top-level fields that name a stored context or an unfinished answer."""

_ADDRESS = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(?:[/?#][!-\[\]-~]*)?", re.IGNORECASE)
"""A public address: no user, nothing escaped in the host, no backslash, which some take for a slash."""

_GOOGLES = ("googleapis.com", "googleusercontent.com", "cloud.google.com", "aistudio.google.com")
_OPEN = "storage.googleapis.com"
"""Anybody's public or signed address, although the host is Google's."""

_AT = re.compile(r" at `\$([^`]*)`$")


class _File(msgspec.Struct):
    uri: Any = msgspec.field(default=None, name="fileUri")
    uri_snake: Any = msgspec.field(default=None, name="file_uri")


class _Piece(msgspec.Struct):
    file: _File | None = msgspec.field(default=None, name="fileData")
    file_snake: _File | None = msgspec.field(default=None, name="file_data")


class _Response(msgspec.Struct):
    parts: list[_Piece] | _Piece | None = None


class _Part(_Piece):
    response: _Response | None = msgspec.field(default=None, name="functionResponse")
    response_snake: _Response | None = msgspec.field(default=None, name="function_response")


class _Content(msgspec.Struct):
    parts: list[_Part] | _Part | None = None


class _Tool(msgspec.Struct):
    """Tools over what the account has stored."""

    file_search: Any = msgspec.field(default=None, name="fileSearch")
    file_search_snake: Any = msgspec.field(default=None, name="file_search")
    retrieval: Any = None


CLIENT_TOOLS: Final = frozenset({"functionDeclarations", "computerUse"})
"""Tools that the client runs. Everything else is run by Google."""

_NAMED_TOOLS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw] | None)
_CONTENTS = msgspec.json.Decoder(list[_Content] | _Content | None)
_SYSTEM = msgspec.json.Decoder(_Content | str | None)
_TOOLS = msgspec.json.Decoder(list[_Tool] | _Tool | None)


def is_stored(uri: str) -> bool:
    """Whether this names a file that the account keeps, or that its credential opens, and not a public address."""
    if _ADDRESS.fullmatch(uri) is None:
        return True
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".").lower()
    except ValueError:
        return True
    if host == _OPEN or host.endswith(f".{_OPEN}"):
        return False
    return not host or any(host == name or host.endswith(f".{name}") for name in _GOOGLES)


def provider_state(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a field that names state of the provider's account; None where there is none.

    `keys` are in camel case. Raises Problem INVALID_REQUEST for contents and tools that are not what the dialect
    knows: what cannot be read cannot be let by.
    """
    for name in STATE_FIELDS:
        if name in keys and bytes(keys[name]) not in {b"null", b'""'}:
            return name
    if "tools" in keys and (path := _in_tools(keys["tools"])) is not None:
        return path
    if "contents" in keys:
        for place, content in enumerate(_listed(_read(_CONTENTS, "contents", keys["contents"]))):
            if (path := _in_content(content, "contents", place)) is not None:
                return path
    if "systemInstruction" in keys:
        system = _read(_SYSTEM, "systemInstruction", keys["systemInstruction"])
        if isinstance(system, _Content):
            return _in_content(system, "systemInstruction")
    return None


def stored_file(content: msgspec.Raw, path: str) -> str | None:
    """The path of a file in this one content that the account keeps, which begins with its own; None without one.

    Raises Problem INVALID_REQUEST as `provider_state` does.
    """
    told = _read(_SYSTEM, path, content)
    return _in_content(told, path) if isinstance(told, _Content) else None


def provider_tool(keys: Mapping[str, msgspec.Raw]) -> str | None:
    """The path of a tool that Google runs, such as a search; None where there is none. `keys` are in camel case.

    Raises Problem INVALID_REQUEST where the tools are not objects.
    """
    if "tools" not in keys:
        return None
    for place, tool in enumerate(_listed(_read(_NAMED_TOOLS, "tools", keys["tools"]))):
        for name, raw in tool.items():
            if camel(name) not in CLIENT_TOOLS and bytes(raw) != b"null":
                return f"tools[{place}].{name[:60]}"
    return None


def _in_tools(raw: msgspec.Raw) -> str | None:
    for place, tool in enumerate(_listed(_read(_TOOLS, "tools", raw))):
        if tool.retrieval is not None:
            return f"tools[{place}].retrieval"
        if tool.file_search is not None or tool.file_search_snake is not None:
            return f"tools[{place}].fileSearch"
    return None


def _in_content(content: _Content, path: str, at: int | None = None) -> str | None:
    for place, part in enumerate(_listed(content.parts)):
        if part.file is part.file_snake is part.response is part.response_snake is None:
            continue  # nearly all of them: this stands in the way of every request
        where = f"{path}.parts[{place}]" if at is None else f"{path}[{at}].parts[{place}]"
        if _names_a_file(part):
            return f"{where}.fileData.fileUri"
        for response in (part.response, part.response_snake):
            for inner, piece in enumerate(_listed(response.parts) if response is not None else ()):
                if _names_a_file(piece):
                    return f"{where}.functionResponse.parts[{inner}].fileData.fileUri"
    return None


def _names_a_file(piece: _Piece) -> bool:
    return any(
        uri is not None and not (isinstance(uri, str) and not is_stored(uri))
        for file in (piece.file, piece.file_snake)
        if file is not None
        for uri in (file.uri, file.uri_snake)
    )


def _listed(value: Any) -> Sequence[Any]:
    """Google takes one object for a list of one."""
    if isinstance(value, list):
        return value  # pyright: ignore[reportUnknownVariableType]  # a list of whatever the decoder was told
    return () if value is None else (value,)


def _read(decoder: msgspec.json.Decoder[Any], name: str, raw: msgspec.Raw) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.ValidationError, RecursionError) as error:
        found = _AT.search(str(error))
        path = name + (found[1] if found else "")
        raise invalid(f"`{path}` is not of the type that it must be.", param=path) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise invalid(f"`{name}` cannot be read.", param=name) from None
