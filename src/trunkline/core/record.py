"""One finished request: `Record`, all that ledger, metrics, log and page ever see, and `Transcript`, for history."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from trunkline.core.reply import Usage


class Outcome(StrEnum):
    """How a request ended, as its client saw it."""

    COMPLETE = "complete"
    """Answered, to a finish."""
    CUT = "cut"
    """The answer broke after its first content; the client was told."""
    FAILED = "failed"
    """No content; the client was told why."""
    CANCELLED = "cancelled"
    """The client left."""


class Attempted(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One attempt of a request: a line of what it cost. Milliseconds since the request came; None means unknown.

    `charged`: the client was served by it. `problem` is the kind of what went wrong. `cost_nano` is the provider's own
    price where it says one, else computed from the model's; None where neither is known, never zero for that.
    `estimated`: the provider did not say what was used, as where the client left before the end: `usage`, and the cost
    with it, was counted here, from the length of the texts.
    """

    provider: str
    model: str
    begun_ms: float
    ended_ms: float
    charged: bool
    first_token_ms: float | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    estimated: bool = False
    problem: str | None = None
    detail: str | None = None


class Considered(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A target that the plan had an eye on. `why` goes on after its name.

    `passed_over`: the request could not go there. `foreign`: it is for other callers, and this one is not told of it.
    """

    target: str
    why: str
    passed_over: bool = False
    foreign: bool = False


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One finished request, flat and without content. It is encoded without names: both sides have this class.

    Times are milliseconds, as measured by a monotonic clock; `first_token_ms` is None where no content came.
    `problem` is the kind of what went wrong, `detail` our own words on it, without content. `cost_nano` is what the
    client was served for. `seams` are the numbers of characters after which the answer went on at another target.
    `asked` is the route of the catalogue, `policy` how it chose, `candidates` every target that the plan looked at:
    first those that may be asked, in order. `created` is the wall time, in whole seconds. `estimated`: a part of
    `usage`, and of the cost, was counted here. `dropped` names what the target was not told of the request, and the
    client not of the answer.
    """

    request_id: str
    route: str
    user: str
    outcome: Outcome
    status: int
    total_ms: float
    first_token_ms: float | None = None
    model: str | None = None
    provider: str | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    estimated: bool = False
    created: int = 0
    asked: str | None = None
    policy: tuple[str, ...] = ()
    candidates: tuple[Considered, ...] = ()
    attempts: tuple[Attempted, ...] = ()
    seams: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    problem: str | None = None
    detail: str | None = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What history stores of a finished turn; no other sink accepts it.

    `status` is the answer's: complete, cut, cancelled or error.
    """

    record_id: str
    session_id: str
    user: str
    text: str
    status: str
    model: str | None
    usage: Usage | None


class Sink(Protocol):
    """Takes every Record. It must not block and must not raise."""

    def accept(self, record: Record) -> None:
        """Take one finished request."""
        ...
