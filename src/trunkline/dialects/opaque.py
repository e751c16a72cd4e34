"""A continuation that passes through a client of another dialect: text that such a client echoes without reading it."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from trunkline.core.call import Opaque

PREFIX: Final = "~tl1."
"""Ours, first version. No provider's own proof begins with it, and its first character is rare in what people write."""

START: Final = PREFIX + urlsafe_b64encode(b'{"dialect":"').decode()
"""How all that `wrap` gives begins: long, which makes it quick to look for."""

_RARE: Final = PREFIX[0].encode()
_MARK: Final = PREFIX.encode()
_TRIES: Final = 64

NONE: Final = PREFIX + "none"
"""Where a dialect wants a proof and there is none: it says so, and `unwrap` gives None."""


def may_hold_proofs(body: bytes) -> bool:
    """Whether a proof of ours can stand in here. It is asked of every body, so it looks for the rare character."""
    at = body.find(_RARE)
    for _ in range(_TRIES):
        if at < 0 or body.startswith(_MARK, at):
            return at >= 0
        at = body.find(_RARE, at + 1)
    return _MARK in body


class _Wrapped(msgspec.Struct):
    dialect: str
    raw: msgspec.Raw


_WRAPPED = msgspec.json.Decoder(_Wrapped)


def wrap(opaque: Opaque) -> str:
    """The continuation as text: the prefix, then letters, digits, `-` and `_`."""
    data = msgspec.json.encode(_Wrapped(opaque.dialect, msgspec.Raw(opaque.raw)))
    return PREFIX + urlsafe_b64encode(data).decode().rstrip("=")


def unwrap(text: str) -> Opaque | None:
    """What `wrap` was given; None for any other text, which is then the provider's own.

    A client can write such text itself: what comes out is JSON, and no more to be trusted than the rest of its body.
    """
    if not text.startswith(PREFIX):
        return None
    coded = text[len(PREFIX) :]
    try:
        wrapped = _WRAPPED.decode(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))
    except (binascii.Error, ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        return None
    return Opaque(wrapped.dialect, bytes(wrapped.raw))
