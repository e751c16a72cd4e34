"""What a client may know of its own request: the Record, less what is other callers' or the operator's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.price import dollars

if TYPE_CHECKING:
    from trunkline.core.record import Attempted, Considered, Record
    from trunkline.core.reply import Usage


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A target that was looked at. `why` goes on after its name."""

    target: str
    passed_over: bool
    why: str


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. Milliseconds since the request came, dollars; None means unknown."""

    provider: str
    model: str
    begun_ms: float
    ended_ms: float
    first_token_ms: float | None
    charged: bool
    cost: str | None
    problem: str | None
    detail: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Milliseconds, dollars as a string to the last digit.

    None means unknown, as does a kind of tokens that is not there.
    `hidden` counts the candidates that are for other callers; `dropped` names what the target was not told of the
    request, and the client not of the answer. `detail` is the operator's: None for everybody else.
    """

    id: str
    path: str
    created: int
    outcome: str
    status: int
    total_ms: float
    first_token_ms: float | None
    provider: str | None
    model: str | None
    usage: dict[str, int] | None
    cost: str | None
    route: str | None
    policy: tuple[str, ...]
    candidates: tuple[Choice, ...]
    hidden: int
    attempts: tuple[Tried, ...]
    seams: tuple[int, ...]
    dropped: tuple[str, ...]
    problem: str | None
    detail: str | None = None


def receipt(record: Record, *, for_admin: bool) -> Receipt:
    """What its owner, or the administrator, is told of this request."""
    told = [one for one in record.candidates if for_admin or not one.foreign]
    return Receipt(
        id=record.request_id,
        path=record.route,
        created=record.created,
        outcome=record.outcome.value,
        status=record.status,
        total_ms=_ms(record.total_ms),
        first_token_ms=_ms_or_none(record.first_token_ms),
        provider=record.provider,
        model=record.model,
        usage=_tokens(record.usage),
        cost=_dollars(record.cost_nano),
        route=record.asked,
        policy=record.policy,
        candidates=tuple(_choice(one) for one in told),
        hidden=len(record.candidates) - len(told),
        attempts=tuple(_tried(one, for_admin=for_admin) for one in record.attempts),
        seams=record.seams,
        dropped=record.dropped,
        problem=record.problem,
        detail=record.detail if for_admin else None,
    )


def _choice(one: Considered) -> Choice:
    return Choice(target=one.target, passed_over=one.passed_over, why=one.why)


def _tried(one: Attempted, *, for_admin: bool) -> Tried:
    return Tried(
        provider=one.provider,
        model=one.model,
        begun_ms=_ms(one.begun_ms),
        ended_ms=_ms(one.ended_ms),
        first_token_ms=_ms_or_none(one.first_token_ms),
        charged=one.charged,
        cost=_dollars(one.cost_nano),
        problem=one.problem,
        detail=one.detail if for_admin else None,
    )


def _tokens(usage: Usage | None) -> dict[str, int] | None:
    """The kinds of tokens that are known."""
    if usage is None:
        return None
    counts: dict[str, int | None] = {name: getattr(usage, name) for name in _TOKENS}
    return {name: count for name, count in counts.items() if count is not None}


_TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


def _ms(value: float) -> float:
    return round(value, 1)


def _ms_or_none(value: float | None) -> float | None:
    return None if value is None else _ms(value)


def _dollars(nano: int | None) -> str | None:
    return None if nano is None else dollars(nano)
