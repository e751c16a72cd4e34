"""The tokens of a candidate and their log probabilities: `logprobsResult`.

Source: `LogprobsResult` at https://ai.google.dev/api/generate-content (read 2026-11-25). Google gives its tokens
numbers, too, which mean nothing elsewhere.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.reply import Logprob

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Likeliest(msgspec.Struct):
    candidates: list[_Token] = []


class _Result(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] = []
    top_candidates: list[_Likeliest] = []


_RESULT = msgspec.json.Decoder(_Result | None)


def read_tokens(raw: msgspec.Raw) -> tuple[Logprob, ...]:
    """The tokens of a candidate; none where they cannot be read: a good answer does not fail for them."""
    try:
        result: _Result | None = _RESULT.decode(raw) if raw else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ()
    if result is None:
        return ()
    return tuple(
        Logprob(
            token.token,
            token.log_probability,
            others=tuple([Logprob(other.token, other.log_probability) for other in top.candidates] if top else ()),
        )
        for token, top in zip_longest(result.chosen_candidates, result.top_candidates)
        if token is not None
    )


def written(tokens: Iterable[Logprob]) -> bytes:
    """The field with its comma; empty where there are no tokens."""
    told = list(tokens)
    if not told:
        return b""
    result: dict[str, object] = {"chosenCandidates": [_plain(token) for token in told]}
    if any(token.others for token in told):
        result["topCandidates"] = [{"candidates": [_plain(other) for other in token.others]} for token in told]
    return b'"logprobsResult":' + msgspec.json.encode(result) + b","


def _plain(token: Logprob) -> dict[str, object]:
    return {"token": token.token, "logProbability": token.logprob}
