"""Vectors as JSON lists of numbers: looked at one by one, so that no step of the work is long, and never written anew.

An answer with a thousand of them takes tens of MiB.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST: Final = float.fromhex("0x1.fffffep+127")
"""The largest number of 32 bits: base64 has no room for more."""

EDGE_BYTES: Final = 4096
"""In so many bytes before and after the vectors the rest of an answer is looked for."""

_NUMBERS = msgspec.json.Decoder(list[float])


def is_vector(raw: msgspec.Raw) -> bool:
    """Whether this is a list of numbers, at least one, as vectors have them."""
    try:
        numbers = _NUMBERS.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    return bool(numbers) and max(map(abs, numbers)) <= LARGEST


def packed(raw: msgspec.Raw) -> bytes:
    """The vector as a JSON string: the base64 of its numbers as little-endian 32-bit floats."""
    numbers = _NUMBERS.decode(raw)
    return b'"' + b64encode(struct.pack(f"<{len(numbers)}f", *numbers)) + b'"'


def json_list(items: Iterable[bytes]) -> bytes:
    """A JSON list of these values."""
    return b"[" + b",".join(items) + b"]"


def less_vectors(body: bytes, vectors: bytes, name: bytes) -> bytes | None:
    """A large answer less its vectors: an object with the top-level fields that come before them, or with those after.

    `vectors` is the field that holds them, `name` one that must be among the others. None where the answer is small or
    not like that, and has to be read whole. Whoever reads the object sees whether it is one: cut elsewhere, it is none.
    """
    start = body.find(b'"%b"' % vectors, 0, EDGE_BYTES) if len(body) > 2 * EDGE_BYTES else -1
    if start < 0:
        return None
    before = body[:start].rstrip()
    if before.endswith(b",") and b'"%b"' % name in before:
        return before[:-1] + b"}"
    place = body.rfind(b'"%b"' % name, len(body) - EDGE_BYTES)
    return None if place < 0 else b"{" + body[place:]
