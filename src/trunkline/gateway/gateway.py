"""The walk of one request: context, plan, hold, attempts, relay, settlement."""

from __future__ import annotations

from asyncio import CancelledError, current_task, to_thread
from typing import TYPE_CHECKING, Self

import msgspec

from trunkline.core.problem import Kind, Problem, invalid
from trunkline.dialects.asked_models import without_names
from trunkline.gateway.admission import admit
from trunkline.gateway.attempt import Attempt, Whole
from trunkline.gateway.off_loop import SHALLOW_BYTES
from trunkline.gateway.receipt import Receipted, receipted
from trunkline.gateway.relay import relay
from trunkline.gateway.resumption import Resumption
from trunkline.gateway.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from trunkline.access.quota import Quota
    from trunkline.core.record import Sink
    from trunkline.gateway.exchange import Exchange
    from trunkline.gateway.failover import Failover
    from trunkline.gateway.relay import Outflow
    from trunkline.routing.plan import Plan, Wanted
    from trunkline.store.history import History


class Gateway:
    """Takes an Exchange from authorised to settled. Everything that it needs comes in here."""

    def __init__(
        self,
        *,
        planner: Callable[[Wanted], Plan],
        quota: Quota,
        failover: Failover,
        history: History | None,
        sinks: tuple[Sink, ...],
    ) -> None:
        self.failover = failover
        self.resumption = Resumption(failover)
        self._planner = planner
        self._quota = quota
        self._history = history
        self._sinks = sinks

    def open(self, exchange: Exchange) -> Walk:
        """The answer, once there is content, as a context. Leaving it is settlement, exactly once.

        Raises Problem before there is an answer, or out of the block when it breaks. Cancellation closes the upstream
        at once.
        """
        return Walk(self, exchange)

    async def commit(self, exchange: Exchange) -> Attempt | Whole:
        """Everything up to the commit point. Raises Problem."""
        is_large = len(exchange.body) >= SHALLOW_BYTES
        if is_large:
            await to_thread(admit, exchange.ingress, exchange.envelope, exchange.caller)
        else:
            admit(exchange.ingress, exchange.envelope, exchange.caller)
        if exchange.envelope.is_kept:
            await self._join_session(exchange)
        plan = await to_thread(self._plan, exchange) if is_large else self._plan(exchange)
        exchange.hold = await self._quota.reserve(exchange.caller, exchange.worst_case_nano)
        return await self.failover.committed(exchange, plan)

    def settle(self, exchange: Exchange, problem: Problem | None, *, is_cancelled: bool) -> None:
        """The end, however it came."""
        now = exchange.clock()
        settle(exchange, problem=problem, is_cancelled=is_cancelled, now=now, sinks=self._sinks, history=self._history)

    async def _join_session(self, exchange: Exchange) -> None:
        """Read the session's context and commit the user's message; make a session where none is named."""
        if self._history is None:
            if exchange.envelope.session_id is not None:
                message = "`sessionId` needs chat history, which is off here: CHAT_DATABASE_URL is not set."
                raise invalid(message, param="sessionId")
            return
        call = exchange.ingress.read_call(exchange.body)
        exchange.turn = await self._history.begin(
            user=exchange.caller.user,
            session_id=exchange.envelope.session_id,
            message=call.messages[-1].text,
            request_id=exchange.id,
            model=exchange.envelope.model,
            temperature=call.temperature,
            max_tokens=call.max_tokens,
        )

    def _plan(self, exchange: Exchange) -> Plan:
        """The plan, written into the exchange; the providers that it was told of are no longer in the request."""
        envelope = exchange.envelope
        plan = exchange.plan = self._planner(exchange.wanted())
        if plan.consumed:
            told = msgspec.Raw(without_names(envelope.keys["provider"], plan.consumed))
            exchange.envelope = msgspec.structs.replace(envelope, keys={**envelope.keys, "provider": told})
        return plan


class Walk:
    """One request on its walk, as a context: inside the block there is an answer with content.

    `body` is a whole answer; None where it streams, and `pour` gives it to the client.
    """

    __slots__ = ("_committed", "_exchange", "_gateway", "body")

    def __init__(self, gateway: Gateway, exchange: Exchange) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._committed: Attempt | None = None
        self.body: bytes | None = None

    async def __aenter__(self) -> Self:
        exchange = self._exchange
        try:
            committed = await self._gateway.commit(exchange)
            if isinstance(committed, Attempt):
                self._committed = committed
            else:
                self.body = receipted(exchange, committed.body) if exchange.wants_receipt else committed.body
        except BaseException as error:  # it is settled, and goes on
            self._end(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._committed is not None:
            self._committed.inbound.stream.close()
        self._end(error)

    async def pour(self, out: Outflow) -> None:
        """Pass the stream on until it ends. Raises Problem where it breaks: nothing is lost silently."""
        exchange, committed = self._exchange, self._committed
        assert committed is not None  # noqa: S101 - it is not for whole answers
        if not exchange.wants_receipt:
            await self._relay(committed, out)
            return
        into = Receipted(exchange, committed, out)
        try:
            await self._relay(committed, into)
        except Problem:
            into.break_off()
            raise
        into.end()

    async def _relay(self, committed: Attempt, out: Outflow) -> None:
        if self._exchange.may_resume:
            await self._gateway.resumption.relay(self._exchange, committed, out)
        else:
            await relay(self._exchange, committed, out)

    def _end(self, error: BaseException | None) -> None:
        """Settle. Raises the Problem by which the request was interrupted, in place of the cancellation."""
        exchange = self._exchange
        if error is None or isinstance(error, Problem):
            self._gateway.settle(exchange, error, is_cancelled=False)
        elif not isinstance(error, CancelledError):
            self._gateway.settle(exchange, Problem(Kind.INTERNAL, "The router failed."), is_cancelled=False)
        elif exchange.interruption is None:
            self._gateway.settle(exchange, None, is_cancelled=True)
        else:
            self._gateway.settle(exchange, exchange.interruption, is_cancelled=False)
            if (task := current_task()) is not None:
                task.uncancel()
            raise exchange.interruption from None
