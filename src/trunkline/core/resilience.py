"""How often a request is tried again, and how long a target that fails is given up on: the operator's figures.

The defaults are what the field's proxies have settled on: Envoy's and linkerd's outlier detection, Finagle's budget.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Span = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""Seconds that something is divided by, or that are taken to a power."""


class RetryLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`attempts` after the first, for one request; `share` of a retry that each request earns, within `window_s`.

    `reserve_per_s` retries a second are there whatever was earned, `concurrent` of them at once. A retry of the same
    target waits a random part of `backoff_s`, doubled each time up to `longest_backoff_s`.
    """

    attempts: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    share: Share = 0.2
    window_s: Span = 10.0
    reserve_per_s: float = 10.0
    concurrent: Annotated[int, msgspec.Meta(ge=0)] = 3
    backoff_s: Seconds = 0.25
    longest_backoff_s: Seconds = 8.0

    def backoff(self, retry: int, chance: float) -> float:
        """Seconds to wait before the `retry`th retry of a target, from 0; `chance` is from 0 to 1 (full jitter)."""
        return chance * min(self.longest_backoff_s, self.backoff_s * 2**retry)


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it opens and for how long; seconds.

    It opens after `consecutive` failures, or when at least `least` answers within `window_s` failed by `share` or
    more. It stays open for `open_s`, by chance up to `jitter` of that less; then one request tries. Where that takes
    longer than `quick_s` to fail, the next waits twice as long, up to `longest_s`. After it closes, the target's share
    of the traffic grows from `slow_start_share` to all within `slow_start_s`. Where fewer than `panic_share` of a
    route's targets are closed, breakers are not believed and all are tried: the fault is then more likely ours, or
    everybody's. 0 believes them always.
    """

    consecutive: Annotated[int, msgspec.Meta(ge=1)] = 5
    share: Share = 0.5
    least: Annotated[int, msgspec.Meta(ge=1)] = 10
    window_s: Span = 30.0
    open_s: Span = 5.0
    longest_s: Span = 60.0
    quick_s: Seconds = 1.0
    jitter: Share = 0.5
    slow_start_s: Seconds = 30.0
    slow_start_share: Share = 0.1
    panic_share: Share = 0.5


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds. A refused key is tried again after `refused_s`, twice as long each time, up to `longest_refused_s`.

    `cool_s` is how long a limit on the rate is respected where the provider does not say, `longest_cool_s` the most
    where it does. Averages forget half of what they knew in `half_life_s`.
    """

    refused_s: Seconds = 60.0
    longest_refused_s: Seconds = 600.0
    cool_s: Seconds = 5.0
    longest_cool_s: Seconds = 3600.0
    half_life_s: Span = 60.0
