"""Tokens and their log probabilities, as OpenAI's two dialects tell them.

Sources: https://platform.openai.com/docs/api-reference/chat/object (`logprobs`) and
https://platform.openai.com/docs/api-reference/responses-streaming/response/output_text/delta (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.reply import Logprob

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOKENS: Final = 100_000
"""Of one event. More is no list of tokens."""


class _Token(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Token] | None = None


_TOKENS = msgspec.json.Decoder(list[_Token] | None)


def read_tokens(raw: msgspec.Raw) -> tuple[Logprob, ...]:
    """The tokens of a list; none where it cannot be read: a good answer does not fail for them."""
    try:
        tokens: list[_Token] = (_TOKENS.decode(raw) if raw else None) or []
        return tuple([_read(token) for token in tokens[:MAX_TOKENS]])
    except (ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        return ()


def _read(token: _Token) -> Logprob:
    utf8 = None if token.bytes is None else bytes(token.bytes)
    return Logprob(token.token, token.logprob, utf8, tuple([_read(other) for other in token.top_logprobs or ()]))


def written(tokens: Iterable[Logprob], *, needs_bytes: bool = False) -> list[dict[str, Any]]:
    """The tokens as a list. Where bytes must stand, they are the token's own letters if nobody said them."""
    return [
        {
            **_plain(token, needs_bytes=needs_bytes),
            "top_logprobs": [_plain(other, needs_bytes=needs_bytes) for other in token.others],
        }
        for token in tokens
    ]


def _plain(token: Logprob, *, needs_bytes: bool) -> dict[str, Any]:
    utf8 = token.token.encode() if token.utf8 is None and needs_bytes else token.utf8
    return {"token": token.token, "logprob": token.logprob, "bytes": None if utf8 is None else list(utf8)}
