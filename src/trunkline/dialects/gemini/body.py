"""A client's own contents on their way to Google: what of them must change.

They may hold proofs of another provider's thoughts, which we put there for the client to send back. Google refuses
those, so they are taken out; everything else stays as the bytes that came.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.dialects.gemini.fields import camel
from trunkline.dialects.gemini.part import MARK, UNPROVEN

MAY_BE_FOREIGN: Final = b'"' + MARK.encode()
"""Clients send back what we wrote, in plain letters: a body without this needs no closer look."""

_UNPROVEN: Final = msgspec.Raw(msgspec.json.encode(UNPROVEN))
_EMPTY: Final = msgspec.Raw(b'""')

_Object = dict[str, msgspec.Raw]
_OBJECT = msgspec.json.Decoder(_Object)
_OBJECTS = msgspec.json.Decoder(list[_Object])


def without_foreign_proofs(contents: bytes | msgspec.Raw) -> bytes | None:
    """Raw contents less the proofs of other dialects; None where there are none of those, or they cannot be read.

    The first call of a turn that had one says that it has none, in Google's own word for that: it is refused
    without either.
    """
    try:
        given = _objects(contents)
        turns = [_turn(content) for content in given]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None  # Google says what is wrong with them
    if turns == given:
        return None
    return msgspec.json.encode([turn for turn in turns if turn is not None])


def _objects(raw: bytes | msgspec.Raw) -> list[_Object]:
    """A list of objects, or the one object that Google takes in place of it."""
    return [_OBJECT.decode(raw)] if bytes(raw).startswith(b"{") else _OBJECTS.decode(raw)


def _turn(content: _Object) -> _Object | None:
    """A content without foreign proofs; the same one where it has none, None where nothing is left of it."""
    if "parts" not in content:
        return content
    parts = _objects(content["parts"])
    if not any(_foreign(part) for part in parts):
        return content
    kept: list[_Object] = []
    has_called = False
    for part in parts:
        is_call = any(camel(name) == "functionCall" for name in part)
        own = {name: raw for name, raw in part.items() if name != _foreign(part)}
        if is_call and not has_called and not any(camel(name) == "thoughtSignature" for name in own):
            own["thoughtSignature"] = _UNPROVEN
        has_called |= is_call
        if own == part or not own.keys() <= {"text", "thought"} or own.get("text", _EMPTY) != _EMPTY:
            kept.append(own)
    return {**content, "parts": msgspec.Raw(msgspec.json.encode(kept))} if kept else None


def _foreign(part: _Object) -> str | None:
    """The name of the field that holds another provider's proof, in the client's spelling."""
    for name, raw in part.items():
        if camel(name) == "thoughtSignature" and bytes(raw).startswith(MAY_BE_FOREIGN):
            return name
    return None
