"""The completion routes: raw ASGI, from the body's bytes to the stream's last event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.price import dollars
from trunkline.core.problem import Kind, Problem, Source, invalid
from trunkline.edge.event_stream import EventStream
from trunkline.edge.wishes import IDEMPOTENCY, read_wishes
from trunkline.gateway.exchange import Exchange
from trunkline.gateway.off_loop import SHALLOW_BYTES
from trunkline.gateway.settle import cost_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.call import Envelope
    from trunkline.core.caller import Caller
    from trunkline.core.catalog import Catalog
    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.body import Bodies
    from trunkline.edge.idempotency import Idempotency
    from trunkline.edge.places import Places
    from trunkline.edge.request import Answer, Channel, Receive, Request
    from trunkline.edge.wishes import Wishes
    from trunkline.gateway.gateway import Gateway


class StreamTimes(msgspec.Struct, frozen=True, kw_only=True):
    """When headers leave without content, and how long a silence may last before a keep-alive fills it."""

    early_headers_s: float = 10.0
    keep_alive_s: float = 15.0


class Running:
    """The requests that are under way. Owns nothing but the count and the way to interrupt them."""

    def __init__(self) -> None:
        self._exchanges: dict[Exchange, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._exchanges)

    def enter(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """This task answers this exchange from now on."""
        self._exchanges[exchange] = task

    def leave(self, exchange: Exchange) -> None:
        """It has been answered."""
        self._exchanges.pop(exchange, None)

    def interrupt(self, problem: Problem) -> None:
        """End every running request with this problem; each client is told in its own dialect."""
        for exchange, task in list(self._exchanges.items()):
            if exchange.interruption is None:
                exchange.interruption = problem
                task.cancel()


SHUTTING_DOWN = Problem(
    Kind.DRAINING, "The router is shutting down and could not finish this answer. Try again.", source=Source.ROUTER
)


class Inference:
    """Answers completion requests: one instance for all ingresses. `now` gives the wall time in seconds."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Callable[[], Catalog],
        bodies: Bodies,
        running: Running,
        times: StreamTimes,
        *,
        places: Places,
        idempotency: Idempotency | None,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._gateway = gateway
        self._catalog = catalog
        self._bodies = bodies
        self._running = running
        self._places = places
        self._idempotency = idempotency
        self._times = times

    async def answer(
        self, ingress: Ingress, request: Request, caller: Caller | None, receive: Receive, answer: Answer, /
    ) -> None:
        """Answer one request. Raises Problem where nothing has been sent yet."""
        assert caller is not None  # noqa: S101 - the route wants one
        wishes = read_wishes(request)
        if wishes.key is not None and self._idempotency is None:
            raise invalid("`Idempotency-Key` is off on this router: send the request without it.", param=IDEMPOTENCY)
        with self._places, self._bodies.hold() as held:
            body = await self._bodies.read(held, request, receive)
            if len(body) < SHALLOW_BYTES:
                envelope = envelope_of(ingress, request, wishes, body)
            else:
                envelope = await asyncio.to_thread(envelope_of, ingress, request, wishes, body)
            exchange = Exchange(
                id=request.id,
                route=request.path,
                ingress=ingress,
                body=body,
                envelope=envelope,
                caller=caller,
                catalog=self._catalog(),
                clock=request.loop.time,
                started=request.started,
                created=int(self._now()),
                policy=wishes.policy,
                limit_s=wishes.limit_s,
                wants_receipt=wishes.wants_receipt and ingress.takes_receipts,
            )
            if wishes.key is None or self._idempotency is None:
                await self._watched(exchange, request, receive, answer)
                return
            await self._idempotency.answer(
                wishes.key,
                request,
                exchange,
                answer,
                lambda: self._watched(exchange, request, receive, answer),
            )

    async def _watched(self, exchange: Exchange, request: Request, receive: Receive, answer: Answer) -> None:
        request.is_recorded = True
        task = asyncio.current_task(request.loop)
        assert task is not None  # noqa: S101 - an ASGI app runs in a task
        watch = _Watch(receive, request.channel, task)
        self._running.enter(exchange, task)
        try:
            if exchange.envelope.stream:
                await self._stream(exchange, answer)
            else:
                await self._whole(exchange, answer)
        except Problem:
            if len(exchange.tries) > 1:
                answer.headers.append((b"x-should-retry", b"false"))  # it has been retried here: SDKs need not
            answer.headers.append((b"x-trunkline-attempts", str(len(exchange.tries)).encode()))
            raise
        except asyncio.CancelledError:
            if not watch.client_left:
                raise
            task.uncancel()
        finally:
            self._running.leave(exchange)
            watch.close()

    async def _whole(self, exchange: Exchange, answer: Answer) -> None:
        async with self._gateway.open(exchange) as reply:
            body = reply.body
        assert body is not None  # noqa: S101 - nothing streams here
        headers = reply_headers(exchange)
        if exchange.served is not None and (cost := cost_of(exchange.served)) is not None:
            headers.append((b"x-trunkline-cost", dollars(cost).encode()))
        await answer.whole(200, body, b"application/json", *headers)

    async def _stream(self, exchange: Exchange, answer: Answer) -> None:
        stream = EventStream(
            answer,
            lambda: reply_headers(exchange),
            keep_alive=exchange.ingress.keep_alive,
            early_headers_s=self._times.early_headers_s,
            keep_alive_s=self._times.keep_alive_s,
        )
        try:
            async with self._gateway.open(exchange) as reply:
                await reply.pour(stream)
            await stream.end()
        except Problem as problem:
            if not stream.is_started:
                answer.headers += session_headers(exchange)
                raise
            await stream.end(exchange.tell(problem))
        finally:
            await stream.close()


def envelope_of(ingress: Ingress, request: Request, wishes: Wishes, body: bytes) -> Envelope:
    """The request's shallow view, with those of its headers that its dialect carries on."""
    envelope = ingress.peek(body)
    if wishes.conversation is not None:
        envelope = msgspec.structs.replace(envelope, conversation=wishes.conversation)
    if ingress.carries.keys().isdisjoint(request.headers):
        return envelope
    headers = tuple((name, request.headers[name]) for name in ingress.carries if name in request.headers)
    return msgspec.structs.replace(envelope, headers=headers)


class _Watch:
    """Cancels the request when its client leaves. Owns the task that waits for it, where the server has no channel."""

    def __init__(self, receive: Receive, channel: Channel | None, request: asyncio.Task[None]) -> None:
        self._request = request
        self.client_left = False
        self._task: asyncio.Task[None] | None = None
        if channel is None:
            self._task = asyncio.get_running_loop().create_task(self._wait(receive))
        else:
            channel.on_disconnect(self._leave)

    async def _wait(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.client_left = True
        self._request.cancel()

    def close(self) -> None:
        """The request is over: stop waiting."""
        if self._task is not None:
            self._task.cancel()


def session_headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Which session this turn belongs to."""
    return [] if exchange.turn is None else [(b"x-session-id", exchange.turn.session_id.encode())]


def reply_headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What is known of the answer when its headers leave."""
    headers = [] if exchange.turn is None else session_headers(exchange)
    told = exchange.told
    if told is None:
        return headers
    headers += (
        (b"x-trunkline-provider", told.target.provider.name.encode("ascii", "replace")),
        (b"x-trunkline-model", told.target.model.id.encode("ascii", "replace")),
        (b"x-trunkline-attempts", b"%d" % len(exchange.tries)),
    )
    if told.is_estimated:
        headers.append((b"x-trunkline-estimated", b"1"))
    if dropped := exchange.dropped:
        headers.append((b"x-trunkline-dropped", ", ".join(dropped).encode("ascii", "replace")))
    return headers
