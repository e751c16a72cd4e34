"""The end of a request: exactly one Record for every sink, and the turn's Transcript for history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.call import BYTES_PER_TOKEN, Operation
from trunkline.core.problem import forget_frames
from trunkline.core.record import Attempted, Outcome, Record, Transcript
from trunkline.core.reply import Usage
from trunkline.routing.explanation import considered, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.record import Sink
    from trunkline.gateway.exchange import Exchange, Try
    from trunkline.store.history import History

_STATUS_OF_TURN = {
    Outcome.COMPLETE: "complete",
    Outcome.CUT: "cut",
    Outcome.CANCELLED: "cancelled",
    Outcome.FAILED: "error",
}


def settle(
    exchange: Exchange,
    *,
    problem: Problem | None,
    is_cancelled: bool,
    now: float,
    sinks: Iterable[Sink],
    history: History | None,
) -> None:
    """Tell the sinks and history how this request ended. Synchronous, so that nothing can cancel it half-way."""
    outcome = _outcome(exchange, problem, is_cancelled=is_cancelled)
    if exchange.served is not None:
        _tell_health(exchange.served, problem, now, is_cancelled=is_cancelled)
    record = record_of(exchange, outcome, problem, now)
    if exchange.served is not None:
        exchange.hold.settle(record.cost_nano)
    else:
        exchange.hold.release()
    if exchange.turn is not None and history is not None:
        history.finish(
            Transcript(
                record_id=exchange.id,
                session_id=exchange.turn.session_id,
                user=exchange.caller.user,
                text=exchange.text,
                status=_STATUS_OF_TURN[outcome],
                model=record.model,
                usage=record.usage,
            )
        )
    for sink in sinks:
        sink.accept(record)
    for one in exchange.tries:
        forget_frames(one.problem)


def _outcome(exchange: Exchange, problem: Problem | None, *, is_cancelled: bool) -> Outcome:
    if is_cancelled:
        return Outcome.CANCELLED
    if problem is None:
        return Outcome.COMPLETE
    return Outcome.CUT if exchange.tally is not None and exchange.tally.has_content else Outcome.FAILED


def _tell_health(served: Try, problem: Problem | None, now: float, *, is_cancelled: bool) -> None:
    """How the attempt that served has ended, for its target's health. The others' ends were told as they came."""
    served.ended = now
    tally = served.tally
    if is_cancelled:
        served.watch.give_up()
    elif problem is not None:
        served.problem = problem
        served.watch.fail(problem, now)
    else:
        tokens = tally.usage.output_tokens if tally.usage is not None else None
        lasted = now - tally.first_content_at if tally.first_content_at is not None else 0.0
        served.watch.succeed(now, tokens=tokens, seconds=lasted)


def record_of(exchange: Exchange, outcome: Outcome, problem: Problem | None, now: float) -> Record:
    """What is to be told of this request, as far as it has come."""
    plan, told = exchange.plan, exchange.told
    attempts: list[Attempted] = []
    charged: list[Attempted] = []
    for one in exchange.tries:
        attempt = _attempted(exchange, one, now)
        attempts.append(attempt)
        if one.is_charged:
            charged.append(attempt)
    served = _as_one(charged)
    first_token_ms = served.first_token_ms if served is not None else None
    has_answer = outcome is Outcome.COMPLETE or outcome is Outcome.CUT or first_token_ms is not None
    # By position: for so many fields, msgspec takes eight times as long where they are named.
    return Record(
        exchange.id,
        exchange.route,
        exchange.caller.user,
        outcome,
        200 if has_answer else (problem.status if problem else 499),
        (now - exchange.started) * 1000,
        first_token_ms,
        told.target.model.id if told is not None else None,
        told.target.provider.name if told is not None else None,
        served.usage if served is not None else None,
        served.cost_nano if served is not None else None,
        served is not None and served.estimated,
        exchange.created,
        plan.route if plan is not None else None,
        names(plan.policy) if plan is not None else (),
        considered(plan) if plan is not None else (),
        tuple(attempts),
        tuple(exchange.seams),
        exchange.dropped,
        problem.kind.value if problem else None,
        problem.detail if problem else None,
    )


def _as_one(charged: Sequence[Attempted]) -> Attempted | None:
    """What wrote the answer, as if it had been one attempt: nearly always it was. None where nothing did."""
    if len(charged) <= 1:
        return charged[0] if charged else None
    came_ms = [one.first_token_ms for one in charged if one.first_token_ms is not None]
    return msgspec.structs.replace(
        charged[-1],
        first_token_ms=min(came_ms, default=None),
        usage=_used([one.usage for one in charged]),
        cost_nano=_sum([one.cost_nano for one in charged]),
        estimated=any(one.estimated for one in charged),
    )


def _used(usages: Sequence[Usage | None]) -> Usage:
    """What the answer used, through all targets that wrote it; what one of them does not tell is unknown."""
    known = [usage or Usage() for usage in usages]
    fields = (field.name for field in msgspec.structs.fields(Usage))
    return Usage(**{name: _sum([getattr(usage, name) for usage in known]) for name in fields})


def _counted(exchange: Exchange, one: Try) -> Usage | None:
    """What an attempt used that did not say so itself: its own words, and the request's, by their length.

    None where it wrote nothing and failed: then nobody pays for it. A client that leaves is no way around a bill.
    """
    has_failed = one.problem is not None and not one.tally.written_bytes
    if has_failed or exchange.envelope.operation is not Operation.GENERATE:
        return None
    return Usage(
        input_tokens=-(-exchange.facts().text_bytes // BYTES_PER_TOKEN),
        output_tokens=-(-one.tally.written_bytes // BYTES_PER_TOKEN),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    """All of them together; None where one is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _attempted(exchange: Exchange, one: Try, now: float) -> Attempted:
    tally, started = one.tally, exchange.started
    first_at = tally.first_content_at
    counted = _counted(exchange, one) if tally.usage is None else None
    usage = tally.usage or counted
    return Attempted(
        provider=one.target.provider.name,
        model=one.target.model.id,
        begun_ms=(one.begun - started) * 1000,
        ended_ms=((now if one.ended is None else one.ended) - started) * 1000,
        charged=one.is_charged,
        first_token_ms=(first_at - started) * 1000 if first_at is not None else None,
        usage=usage,
        cost_nano=_cost_nano(usage, one.target),
        estimated=counted is not None,
        problem=one.problem.kind.value if one.problem else None,
        detail=one.problem.detail if one.problem else None,
    )


def cost_of(one: Try) -> int | None:
    """What this attempt has cost by its provider's own count, in nano-dollars; None where nobody knows."""
    return _cost_nano(one.tally.usage, one.target)


def _cost_nano(usage: Usage | None, target: Target) -> int | None:
    if usage is None:
        return None
    if usage.cost_nano is not None:
        return usage.cost_nano
    return target.model.price.cost_nano(usage) if target.model.price is not None else None
