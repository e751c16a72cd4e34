"""Between the two ways to say how much to think: a word, and a limit in tokens.

Source: the shares of an answer that https://openrouter.ai/docs/use-cases/reasoning-tokens gives (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MANY_TOKENS: Final = 16_384
SOME_TOKENS: Final = 4_096
"""Limits from which thinking is high, or medium, where no limit of the answer says more."""

SHARES: Final[Mapping[str, float]] = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
"""How much of an answer goes into thinking, by the word for it."""


def effort_for(budget_tokens: int, max_tokens: int | None) -> str:
    """The word for a limit: the nearest of low, medium and high, by its share of the answer."""
    high, medium = (0.65 * max_tokens, 0.35 * max_tokens) if max_tokens else (MANY_TOKENS, SOME_TOKENS)
    if budget_tokens >= high:
        return "high"
    return "medium" if budget_tokens >= medium else "low"


def budget_for(effort: str | None, max_tokens: int) -> int:
    """The limit for a word, of an answer of `max_tokens`; without a word, that of a medium effort."""
    return int(SHARES.get(effort or "medium", SHARES["medium"]) * max_tokens)
