"""The tokens of the transcripts in which `Hello!` comes with its log probabilities."""

from __future__ import annotations

from trunkline.core.reply import Logprob


def hello(*, has_bytes: bool) -> tuple[Logprob, ...]:
    """Its two tokens, each with the two likeliest in its place."""

    def token(text: str, logprob: float, *others: tuple[str, float]) -> Logprob:
        utf8 = text.encode() if has_bytes else None
        return Logprob(text, logprob, utf8, tuple(token(*other) for other in others))

    return (
        token("Hello", -0.0625, ("Hello", -0.0625), ("Hi", -2.875)),
        token("!", -0.25, ("!", -0.25), (" there", -1.5)),
    )
