"""From the upstream to the client: pull frames, tally, yield bytes. Pull-based: a slow client slows the upstream."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.reply import Finish
from trunkline.gateway.attempt import Whole, out_of_time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import EventWriter, Forwarder, WholeIngress
    from trunkline.gateway.attempt import Attempt
    from trunkline.gateway.exchange import Exchange
    from trunkline.gateway.inbound import Batch

END_OF_MESSAGE_S: Final = 0.25
"""How long the end of the upstream's message is waited for, so that its connection can serve again."""


async def relay(exchange: Exchange, attempt: Attempt | Whole) -> AsyncGenerator[bytes]:
    """The client's bytes, as they come. Raises Problem when the answer breaks: nothing was lost silently."""
    if isinstance(attempt, Whole):
        yield attempt.body
        return
    write = _outlet(exchange, attempt)
    async with aclosing(batches(exchange, attempt)) as pulled:
        async for batch in pulled:
            for out in write(batch):
                yield out


async def batches(exchange: Exchange, attempt: Attempt) -> AsyncGenerator[Batch]:
    """What the upstream sends, as it comes, counted. Raises Problem when the answer breaks or a timer runs out."""
    tally = attempt.one.tally
    clock = get_running_loop().time
    timers = attempt.one.target.provider.timeouts
    total = exchange.deadline(timers.total_s)
    content = clock() + timers.idle_content_s
    for batch in attempt.first:
        yield batch
    is_over = attempt.first[-1].is_over
    while not is_over:
        silence = clock() + timers.idle_bytes_s
        try:
            batch = await attempt.inbound.pull(min(silence, content, total))
        except TimeoutError:
            if total <= min(silence, content):
                raise out_of_time(exchange, timers.total_s) from None
            raise _silent(attempt, is_idle=content <= silence) from None
        is_over = batch.is_over
        now = clock()
        if tally.add(batch.events, now):
            content = now + timers.idle_content_s
        yield batch
    await _end_of_message(attempt)


def _outlet(exchange: Exchange, attempt: Attempt) -> Callable[[Batch], Iterator[bytes]]:
    """How a batch becomes the client's bytes: its frames as they came, or its events in the client's dialect."""
    opening = exchange.opening(attempt.one.target)
    if attempt.is_verbatim:
        ingress = cast("WholeIngress", exchange.ingress)  # it has an egress of the same name
        exchange.outlet = forwarder = ingress.forwarder(opening)
        return partial(_forward, forwarder)
    exchange.outlet = writer = exchange.ingress.writer(opening)
    return partial(_write, writer)


def _forward(forwarder: Forwarder, batch: Batch) -> Iterator[bytes]:
    out = b"".join(_forwarded(forwarder, batch))
    if batch.is_over:
        out += forwarder.close()
    if out:
        yield out


def _forwarded(forwarder: Forwarder, batch: Batch) -> list[bytes]:
    events = [forwarder.forward(frame) for frame in batch.frames]
    batch.clear()
    return events


def _write(writer: EventWriter, batch: Batch) -> Iterator[bytes]:
    events = list(batch.events)
    batch.clear()
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


async def _end_of_message(attempt: Attempt) -> None:
    """Read what follows the upstream's last word: usually just the end of the HTTP message."""
    deadline = get_running_loop().time() + END_OF_MESSAGE_S
    try:
        while await attempt.inbound.stream.read(deadline):
            pass
    except (Problem, TimeoutError):
        return  # the answer is whole; only the connection cannot serve again
