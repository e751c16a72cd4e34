"""From the upstream to the client: what arrives is cut, read, counted and written in the callback that brings it.

No task, queue or future stands between the two sockets. The request's own task sleeps until the answer ends or breaks,
a timer runs out, or the client takes no more for now: then the upstream is not read either, and memory stays bounded.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task, get_running_loop
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.reply import Finish
from trunkline.gateway.attempt import out_of_time
from trunkline.gateway.inbound import FINISHED_GRACE_S

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Iterator

    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import EventWriter, Forwarder, WholeIngress
    from trunkline.gateway.attempt import Attempt
    from trunkline.gateway.exchange import Exchange
    from trunkline.gateway.inbound import Batch

END_OF_MESSAGE_S: Final = 0.25
"""How long the end of the upstream's message is waited for, so that its connection can serve again."""


class Outflow(Protocol):
    """Where a stream goes: the way to its client. What is written is taken at once."""

    @property
    def is_full(self) -> bool:
        """It holds as much as it should: nothing more is to be written before `room` has returned."""
        ...

    def write(self, data: bytes, /) -> None:
        """Take whole events."""
        ...

    async def room(self) -> None:
        """Return when it is no longer full."""
        ...


async def relay(exchange: Exchange, attempt: Attempt, out: Outflow) -> None:
    """Pass the answer on until it ends. Raises Problem where it breaks: nothing is lost silently."""
    await Relay(exchange, attempt, _outlet(exchange, attempt), out).run()


class Relay:
    """One attempt's stream on its way. Owns the timer of its silences, and the wait of the request's task."""

    __slots__ = (
        "_attempt",
        "_bytes_at",
        "_change",
        "_content_at",
        "_exchange",
        "_failure",
        "_inbound",
        "_is_late",
        "_is_over",
        "_loop",
        "_out",
        "_tally",
        "_timer",
        "_timer_at",
        "_timers",
        "_total",
        "_write",
    )

    def __init__(
        self, exchange: Exchange, attempt: Attempt, write: Callable[[Batch], Iterable[bytes]], out: Outflow
    ) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._inbound = attempt.inbound
        self._tally = attempt.one.tally
        self._timers = attempt.one.target.provider.timeouts
        self._write = write
        self._out = out
        self._loop = get_running_loop()
        self._change: Future[None] | None = None
        self._failure: BaseException | None = None
        self._is_late = False
        self._is_over = False
        self._total = exchange.deadline(self._timers.total_s)
        self._bytes_at = self._content_at = self._loop.time()
        self._set_timer()

    async def run(self) -> None:
        """Pass on what there is and what comes, until the end. Raises Problem where it breaks or a timer runs out."""
        stream = self._inbound.stream
        try:
            try:
                first = self._attempt.first
                while first:
                    await self._room()
                    self._pass(first.pop(0))
                stream.listen(self._arrived)
                self._arrived()
                while not self._is_over:
                    if self._failure is not None:
                        raise self._failure
                    if self._out.is_full:
                        await self._room()
                        self._arrived()
                    else:
                        self._change = self._loop.create_future()
                        await self._change
            finally:
                stream.listen(None)
                self._timer.cancel()
            await self._end_of_message()
        except CancelledError:
            if not self._is_over:
                raise
            # The client has been told the end: whoever cuts the answer now, or has left, comes too late.
            if (task := current_task()) is not None:
                task.uncancel()

    async def _room(self) -> None:
        """Wait while the client takes no more: the upstream is not at fault for what it does not send meanwhile."""
        if self._out.is_full:
            await self._out.room()
            self._bytes_at = self._content_at = self._loop.time()

    def _arrived(self) -> None:
        """Pass on what has arrived, as far as the client takes it. What goes wrong is for the task to raise."""
        inbound, out = self._inbound, self._out
        try:
            while not (self._is_over or out.is_full or self._failure is not None):
                batch = inbound.take()
                if batch is None:
                    if not self._is_late:
                        return
                    batch = self._given_up()
                now = self._bytes_at = self._loop.time()
                if self._tally.add(batch.events, now):
                    self._content_at = now
                elif inbound.is_finished and not batch.is_over:
                    self._timer.cancel()
                    self._set_timer()
                if batch.is_over:
                    self._wake()  # before it is written, so that the end that the task writes may leave with it
                self._pass(batch)
        except Exception as failure:  # noqa: BLE001 - nobody else hears of what a callback of the loop raises
            self._failure = failure
        self._wake()

    def _pass(self, batch: Batch) -> None:
        for data in self._write(batch):
            self._out.write(data)
        self._is_over = batch.is_over

    def _wake(self) -> None:
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)

    # The timer: one serves all silences, and is set anew only when it has rung.

    def _set_timer(self) -> None:
        timers = self._timers
        grace_s = FINISHED_GRACE_S if self._inbound.is_finished else timers.idle_bytes_s
        silence = self._bytes_at + min(grace_s, timers.idle_bytes_s)
        self._timer_at = min(silence, self._content_at + timers.idle_content_s, self._total)
        self._timer = self._loop.call_at(self._timer_at, self._look)

    def _look(self) -> None:
        """A time is up, unless something has come since the timer was set."""
        self._arrived()
        if self._is_over or self._failure is not None:
            return
        if self._out.is_full:
            self._bytes_at = self._content_at = self._loop.time()
        rung = self._timer_at
        self._set_timer()
        # Loops may fire a timer up to one tick of their clock early.
        if self._timer_at <= rung and self._timer_at - self._loop.time() < 0.001:
            self._is_late = True
            self._arrived()

    def _given_up(self) -> Batch:
        """The end of a finished answer whose upstream has gone silent; of another one, the Problem of the silence."""
        timers, content = self._timers, self._content_at + self._timers.idle_content_s
        if self._inbound.is_finished:
            return self._inbound.end()
        if self._total <= self._timer_at:
            raise out_of_time(self._exchange, timers.total_s)
        raise _silent(self._attempt, is_idle=content <= self._timer_at)

    async def _end_of_message(self) -> None:
        """Read what follows the upstream's last word: usually just the end of the HTTP message."""
        stream = self._inbound.stream
        deadline = self._loop.time() + END_OF_MESSAGE_S
        try:
            while await stream.read(deadline):
                pass
        except (Problem, TimeoutError):
            return  # the answer is whole; only the connection cannot serve again


def _outlet(exchange: Exchange, attempt: Attempt) -> Callable[[Batch], Iterable[bytes]]:
    """How a batch becomes the client's bytes: its frames as they came, or its events in the client's dialect."""
    opening = exchange.opening(attempt.one.target)
    if attempt.is_verbatim:
        ingress = cast("WholeIngress", exchange.ingress)  # it has an egress of the same name
        exchange.outlet = forwarder = ingress.forwarder(opening)
        return partial(_forward, forwarder)
    exchange.outlet = writer = exchange.ingress.writer(opening)
    return partial(_written, writer)


def _forward(forwarder: Forwarder, batch: Batch) -> Iterable[bytes]:
    frames = batch.frames
    if len(frames) == 1 and not batch.is_over:
        batch.frames = batch.events = ()
        data = forwarder.forward(frames[0])
        return (data,) if data else ()
    told = list(map(forwarder.forward, frames))
    batch.frames = batch.events = ()  # before they are joined, once: one may be many megabytes
    if batch.is_over:
        told.append(forwarder.close())
    if len(told) > 1:
        told = [b"".join(told)]
    return filter(None, told)


def _written(writer: EventWriter, batch: Batch) -> Iterator[bytes]:
    events = list(batch.events)
    batch.frames = batch.events = ()
    return written(writer, events)


def written(writer: EventWriter, events: list[Event]) -> Iterator[bytes]:
    """The bytes that tell these events, which are gone then.

    The finish goes by itself: a client that is told of it as an error gets what came before all the same.
    """
    is_finished = bool(events) and isinstance(events[-1], Finish)
    finish = events.pop() if is_finished else None
    out = writer.write(events)
    events.clear()  # an event may be many megabytes, and the client takes its time
    if out:
        yield out
    if finish is not None and (out := writer.write((finish,))):
        yield out


def _silent(attempt: Attempt, *, is_idle: bool) -> Problem:
    """The Problem of a stream that says nothing at all any more, or nothing new."""
    provider = attempt.one.target.provider
    timers = provider.timeouts
    if is_idle:
        message = f"{provider.label} kept the connection open, but sent nothing new for {timers.idle_content_s:g} s."
    else:
        message = f"{provider.label} went silent in the middle of its answer for {timers.idle_bytes_s:g} s."
    return Problem(Kind.TIMED_OUT, message, source=Source.UPSTREAM, retry=Retry.NEVER)
