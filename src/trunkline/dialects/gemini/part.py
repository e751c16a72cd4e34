"""What Gemini's requests and answers share: the proof on a part, and parts that the hub has no word for.

A proof (`thoughtSignature`) is base64 text that goes back as it came. A proof of another dialect travels through
Gemini's clients in the same place: their SDK decodes it and encodes it again, so it too must be base64.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import binascii
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from trunkline.core.call import Opaque
from trunkline.dialects.opaque import START, unwrap, wrap

NAME: Final = "gemini"

UNPROVEN: Final = "skip_thought_signature_validator"
"""What Google documents for a function call that comes from elsewhere, where a proof would be demanded."""

_UNPROVEN: Final = frozenset({UNPROVEN, b64encode(UNPROVEN.encode()).decode()})
"""The same as a client says it, whose SDK takes every proof for bytes and sends their base64."""

OWN_PARTS: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse", "inlineData")
"""Parts of an answer that the hub has no word for."""

MARK: Final = urlsafe_b64encode(START.encode()).decode()
"""How every proof of another dialect begins: 21 bytes are 28 whole letters."""

_ECHOED: Final = frozenset(
    {*OWN_PARTS, "text", "thought", "thoughtSignature", "mediaResolution", "videoMetadata", "partMetadata"}
)
"""All that a part may hold which comes back as a continuation: nothing in it names what the provider stores."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_signature(signature: str | None) -> Opaque | None:
    """The continuation in a `thoughtSignature`: Google's own, or another dialect's that we put there."""
    if not signature or signature in _UNPROVEN:
        return None
    if signature.startswith(MARK):
        coded = signature.replace("+", "-").replace("/", "_").rstrip("=")
        try:
            opaque = unwrap(urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode())
        except (binascii.Error, ValueError):
            opaque = None
        if opaque is not None:
            return opaque
    return Opaque(NAME, msgspec.json.encode(signature))


def signature_of(opaque: Opaque | None) -> str | None:
    """Google's own proof, as it came; None for any other continuation."""
    if opaque is None or opaque.dialect != NAME or not opaque.raw.startswith(b'"'):
        return None
    return msgspec.json.decode(opaque.raw, type=str)


def carried_signature(opaque: Opaque) -> str | None:
    """A `thoughtSignature` that takes any continuation through a client; None for a part that travels whole."""
    if opaque.dialect == NAME:
        return signature_of(opaque)
    return urlsafe_b64encode(wrap(opaque).encode()).decode()


def whole_part(opaque: Opaque | None) -> bytes | None:
    """The part that this continuation is, as one line of JSON; None where it is none.

    A client may have written it, so it is taken only if nothing in it can name what a provider stores.
    """
    if opaque is None or opaque.dialect != NAME or not opaque.raw.startswith(b"{"):
        return None
    try:
        names = _OBJECT.decode(opaque.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return one_line(opaque.raw) if names and _ECHOED.issuperset(names) else None


def one_line(raw: bytes) -> bytes:
    """JSON without line breaks, its values untouched."""
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw


def is_object(text: str) -> bool:
    """Whether this text is a JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True
