"""The walk of one request: context, plan, attempts, relay, settlement."""

from __future__ import annotations

from asyncio import CancelledError, current_task, get_running_loop
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.problem import Kind, Problem, invalid
from trunkline.dialects.asked_models import without_names
from trunkline.gateway.admission import admit
from trunkline.gateway.attempt import Attempt
from trunkline.gateway.off_loop import SHALLOW_BYTES, off_loop
from trunkline.gateway.receipt import receipted
from trunkline.gateway.relay import relay
from trunkline.gateway.resumption import Resumption
from trunkline.gateway.settle import settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from trunkline.core.record import Sink
    from trunkline.gateway.attempt import Whole
    from trunkline.gateway.exchange import Exchange
    from trunkline.gateway.failover import Failover
    from trunkline.routing.plan import Plan, Wanted
    from trunkline.store.history import History


class Gateway:
    """Takes an Exchange from authorised to settled. Everything that it needs comes in here."""

    def __init__(
        self,
        *,
        planner: Callable[[Wanted], Plan],
        failover: Failover,
        history: History | None,
        sinks: tuple[Sink, ...],
    ) -> None:
        self._planner = planner
        self._failover = failover
        self._resumption = Resumption(failover)
        self._history = history
        self._sinks = sinks

    @asynccontextmanager
    async def open(self, exchange: Exchange) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The answer's bytes, once there is content. Leaving this block is settlement, exactly once.

        Raises Problem before the first byte, or out of the iteration when the answer breaks. Cancellation closes
        the upstream at once.
        """
        # What it is until the walk says otherwise: a fault that nobody foresaw is settled, too.
        problem: Problem | None = Problem(Kind.INTERNAL, "The router failed.")
        is_cancelled = False
        try:
            is_large = len(exchange.body) >= SHALLOW_BYTES
            await off_loop(is_large, admit, exchange.ingress, exchange.envelope, exchange.caller)
            await self._join_session(exchange)
            plan = await off_loop(is_large, self._plan, exchange)
            with await self._failover.committed(exchange, plan) as committed:
                async with aclosing(self._relayed(exchange, committed)) as chunks:
                    yield chunks
            problem = None
        except Problem as error:
            problem = error
            raise
        except CancelledError:
            problem = exchange.interruption
            is_cancelled = problem is None
            if problem is None:
                raise
            if (task := current_task()) is not None:
                task.uncancel()
            raise problem from None
        finally:
            settle(
                exchange,
                problem=problem,
                is_cancelled=is_cancelled,
                now=get_running_loop().time(),
                sinks=self._sinks,
                history=self._history,
            )

    async def _join_session(self, exchange: Exchange) -> None:
        """Read the session's context and commit the user's message; make a session where none is named."""
        if not exchange.envelope.is_kept:
            return
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

    def _relayed(self, exchange: Exchange, committed: Attempt | Whole) -> AsyncGenerator[bytes]:
        if exchange.may_resume and isinstance(committed, Attempt):
            chunks = self._resumption.relay(exchange, committed)
        else:
            chunks = relay(exchange, committed)
        return receipted(exchange, committed, chunks) if exchange.wants_receipt else chunks

    def _plan(self, exchange: Exchange) -> Plan:
        """The plan, written into the exchange; the providers that it was told of are no longer in the request."""
        envelope = exchange.envelope
        plan = exchange.plan = self._planner(exchange.wanted())
        if plan.consumed:
            told = msgspec.Raw(without_names(envelope.keys["provider"], plan.consumed))
            exchange.envelope = msgspec.structs.replace(envelope, keys={**envelope.keys, "provider": told})
        return plan
