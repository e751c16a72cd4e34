"""How many requests are answered at once: past that a request is told to come again, before its body is read."""

from __future__ import annotations

from typing import Final

from trunkline.core.problem import Kind, Problem, Source

DESCRIPTORS_EACH: Final = 2
"""What a request holds: its client's socket and its upstream's."""

SHEDDING_SHARE: Final = 0.9
"""The share of the process's file descriptors that requests may hold. Past the last one nothing works any more: no
health check, no log, no way to say so."""

PLACES_PER_IDLE: Final = 8
MOST_IDLE: Final = 1024

COME_AGAIN_S: Final = 1.0


def places_for(descriptors: int) -> int:
    """How many requests a process with so many file descriptors answers at once; at least one."""
    return max(1, int(descriptors * SHEDDING_SHARE) // DESCRIPTORS_EACH)


def idle_for(places: int) -> int:
    """How many upstream connections such a process keeps for later, out of the descriptors that are left."""
    return min(MOST_IDLE, max(1, places // PLACES_PER_IDLE))


class Places:
    """Owns the count of requests that are being read or answered. There are `most` of them at once.

    As a context it is a place for one request, which leaving the block gives back. Raises Problem OVERLOADED where none
    is left.
    """

    __slots__ = ("most", "taken")

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self.most:
            message = f"The router answers as many requests as it can: {self.most}. Try again in a moment."
            raise Problem(Kind.OVERLOADED, message, source=Source.ROUTER, retry_after_s=COME_AGAIN_S)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1
