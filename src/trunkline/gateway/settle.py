"""The end of a request: exactly one Record for every sink, and the turn's Transcript for history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.core.record import Outcome, Record, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.problem import Problem
    from trunkline.core.record import Sink
    from trunkline.gateway.exchange import Exchange
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
    record = _record(exchange, outcome, problem, now)
    if exchange.turn is not None and history is not None:
        tally = exchange.tally
        history.finish(
            Transcript(
                record_id=exchange.id,
                session_id=exchange.turn.session_id,
                user=exchange.caller.user,
                text=tally.text if tally else "",
                status=_STATUS_OF_TURN[outcome],
                model=record.model,
                usage=record.usage,
            )
        )
    for sink in sinks:
        sink.accept(record)


def _outcome(exchange: Exchange, problem: Problem | None, *, is_cancelled: bool) -> Outcome:
    if is_cancelled:
        return Outcome.CANCELLED
    if problem is None:
        return Outcome.COMPLETE
    return Outcome.CUT if exchange.tally is not None and exchange.tally.has_content else Outcome.FAILED


def _record(exchange: Exchange, outcome: Outcome, problem: Problem | None, now: float) -> Record:
    tally, target = exchange.tally, exchange.target
    first_at = tally.first_content_at if tally else None
    has_answer = outcome in {Outcome.COMPLETE, Outcome.CUT} or first_at is not None
    return Record(
        request_id=exchange.id,
        route=exchange.route,
        user=exchange.caller.user,
        outcome=outcome,
        status=200 if has_answer else (problem.status if problem else 499),
        total_ms=(now - exchange.started) * 1000,
        first_token_ms=(first_at - exchange.started) * 1000 if first_at is not None else None,
        model=target.model.id if target else None,
        provider=target.provider.name if target else None,
        usage=tally.usage if tally else None,
        attempts=exchange.attempts,
        problem=problem.kind.value if problem else None,
        detail=problem.detail if problem else None,
    )
