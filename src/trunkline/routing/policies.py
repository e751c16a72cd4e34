"""How targets are put in order: each policy ranks one target by facts. Pure: chance comes in as a number.

A rank is a number; the lower comes first, and equal ranks leave the order to the next policy. So policies compose by
comparing one after the other, and what is written first in the configuration decides last of all.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from trunkline.core.catalog import Policy
from trunkline.routing.difficulty import Difficulty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.core.catalog import Leg
    from trunkline.routing.health import Standing


class Candidate(NamedTuple):
    """A leg with its facts for one request. `cost_nano` is what this request is likely to cost there; None unknown.

    `place` is where it stands in the configuration; `chance` is a number from 0 to 1, drawn for it and this request.
    """

    leg: Leg
    standing: Standing
    place: int
    cost_nano: int | None = None
    chance: float = 0.5


class Asked(NamedTuple):
    """What policies know of a request. `conversation` is the same for all turns of one; `difficulty` is for `auto`."""

    conversation: bytes = b""
    difficulty: Difficulty = Difficulty()


USUAL_TOKENS: Final = 200
"""The answer by whose time targets are compared."""

STEP: Final = 1.25
"""Times within a quarter of each other count as equal: the difference is noise, and the next policy decides."""


def _priority(candidate: Candidate, _: Asked) -> float:
    return candidate.place


def _weighted(candidate: Candidate, _: Asked) -> float:
    """An exponential draw: the smallest of them is each one's with a chance in proportion to its weight."""
    if candidate.leg.weight <= 0:
        return math.inf
    return -math.log(1 - candidate.chance) / candidate.leg.weight


def _fastest(candidate: Candidate, _: Asked) -> float:
    """Whoever has not been seen yet goes first: there is no other way to know."""
    standing = candidate.standing
    if standing.first_token_s is None:
        return -math.inf
    seconds = standing.first_token_s + (USUAL_TOKENS / standing.tokens_per_s if standing.tokens_per_s else 0.0)
    return math.floor(math.log(max(seconds, 1e-6)) / math.log(STEP))


def _cheapest(candidate: Candidate, _: Asked) -> float:
    """An unknown price may be any price: it goes last."""
    return math.inf if candidate.cost_nano is None else candidate.cost_nano


def _least_busy(candidate: Candidate, _: Asked) -> float:
    return candidate.standing.in_flight / max(candidate.leg.weight, 1e-9)


def _sticky(candidate: Candidate, asked: Asked) -> float:
    """Rendezvous hashing: when a target goes or comes, only its own conversations move.

    With weights, by https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf
    """
    drawn = fraction(candidate.leg.target.name.encode(), asked.conversation)
    return math.log(1 / drawn) / max(candidate.leg.weight, 1e-9)


def fraction(name: bytes, conversation: bytes) -> float:
    """A number between 0 and 1, the same for this name and this conversation, as good as drawn for any other."""
    digest = hashlib.blake2b(name + b"\0" + conversation, digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 1) / (2**64 + 2)


def _auto(candidate: Candidate, asked: Asked) -> float:
    """Good enough first, the cheapest of them first of all; then the others, the best first."""
    tier = candidate.leg.tier or 0
    return 0.0 if tier >= asked.difficulty.tier else 1.0 + asked.difficulty.tier - tier


RANKS: Final[Mapping[Policy, Callable[[Candidate, Asked], float]]] = {
    Policy.PRIORITY: _priority,
    Policy.WEIGHTED: _weighted,
    Policy.FASTEST: _fastest,
    Policy.CHEAPEST: _cheapest,
    Policy.LEAST_BUSY: _least_busy,
    Policy.STICKY: _sticky,
    Policy.AUTO: _auto,
}


def ordered(candidates: list[Candidate], policies: tuple[Policy, ...], asked: Asked) -> list[Candidate]:
    """The candidates, best first. `auto` goes on by price."""
    named = [
        step for policy in policies for step in ((policy, Policy.CHEAPEST) if policy is Policy.AUTO else (policy,))
    ]
    ranks = [RANKS[policy] for policy in named]
    best: float | None = None
    if named and named[0] is Policy.STICKY and candidates:
        best = min(_sticky(candidate, asked) for candidate in candidates)

    def key(candidate: Candidate) -> tuple[float, ...]:
        first = [rank(candidate, asked) for rank in ranks]
        if best is not None and len(ranks) > 1:
            # Sticky before another policy holds on to one target, and leaves the order of the rest to that.
            first[0] = 0.0 if first[0] <= best else 1.0
        return (*first, candidate.place)

    return sorted(candidates, key=key)
