"""What a model costs, and what an answer has cost: integers of nano-dollars, and None where nobody knows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from trunkline.core.reply import Usage

MILLION: Final = 1_000_000
NANO: Final = 1_000_000_000
MAX_DOLLARS: Final = 1_000_000
"""For a million tokens. What is above it is a mistake, not a price."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nano-dollars for a million tokens of each kind, and for a request.

    A kind that is None costs what plain input does (cached, written to the cache) or plain output does (reasoning).
    `tiers`, by tokens of input from the fewest: above so many, every token of the request costs what is said there.
    """

    input_nano: int
    output_nano: int
    cached_nano: int | None = None
    cache_write_nano: int | None = None
    reasoning_nano: int | None = None
    request_nano: int = 0
    tiers: tuple[tuple[int, Price], ...] = ()

    def at(self, input_tokens: int) -> Price:
        """The price of a request with so many tokens of input."""
        reached = [price for above, price in self.tiers if input_tokens > above]
        return reached[-1] if reached else self

    def cost_nano(self, usage: Usage) -> int | None:
        """What this usage costs, rounded up; None where it does not say how many tokens there were."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.input_tokens)
        written = min(usage.cache_write_tokens or 0, usage.input_tokens - cached)
        thought = min(usage.reasoning_tokens or 0, usage.output_tokens)
        price = self.at(usage.input_tokens)
        total = (
            (usage.input_tokens - cached - written) * price.input_nano
            + cached * _or(price.cached_nano, price.input_nano)
            + written * _or(price.cache_write_nano, price.input_nano)
            + (usage.output_tokens - thought) * price.output_nano
            + thought * _or(price.reasoning_nano, price.output_nano)
        )
        return -(-total // MILLION) + price.request_nano

    def estimate_nano(self, input_tokens: int, output_tokens: int) -> int:
        """What so many tokens would cost without a cache, rounded up."""
        price = self.at(input_tokens)
        total = input_tokens * price.input_nano + output_tokens * price.output_nano
        return -(-total // MILLION) + price.request_nano

    def most_nano(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost, whatever kind they turn out to be, rounded up."""
        price = self.at(input_tokens)
        dearest_in = max(price.input_nano, price.cached_nano or 0, price.cache_write_nano or 0)
        dearest_out = max(price.output_nano, price.reasoning_nano or 0)
        return -(-(input_tokens * dearest_in + output_tokens * dearest_out) // MILLION) + price.request_nano


def dollars(nano: int) -> str:
    """Nano-dollars as dollars, to the last digit: `0.000012`."""
    return f"{Decimal(nano).scaleb(-9):f}"


def _or(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price
