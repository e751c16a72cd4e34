"""The receipt in the answer itself, for a client that asked for one: a field more in the last JSON frame."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Problem
from trunkline.core.receipt import receipt
from trunkline.core.record import Outcome
from trunkline.dialects import sse
from trunkline.dialects.dialect import splice
from trunkline.gateway.attempt import Whole
from trunkline.gateway.settle import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.gateway.attempt import Attempt
    from trunkline.gateway.exchange import Exchange

FIELD: Final = "trunkline"
END_OF_EVENT: Final = b"\n\n"


async def receipted(
    exchange: Exchange, committed: Attempt | Whole, chunks: AsyncGenerator[bytes]
) -> AsyncGenerator[bytes]:
    """The same chunks, each of whole events or all of a JSON body; the last JSON of them has the receipt in it.

    Nothing is held back before the upstream has come to its finish; from then on, the last event until the next.
    """
    held = b""
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                if isinstance(committed, Whole):
                    yield _with_field(chunk, _receipt(exchange))
                    continue
                if not _is_finished(exchange, committed):
                    yield chunk
                    continue
                out, held = _before_last(held + chunk)
                if out:
                    yield out
        except Problem:
            if held:
                yield held  # it came before the break, and the break is told without a receipt
            raise
    if held:
        yield _with_receipt(held, _receipt(exchange))


def _is_finished(exchange: Exchange, committed: Attempt) -> bool:
    """Whether the upstream's last words are here, as its frames have them or, where another went on, its events."""
    return committed.inbound.is_finished or (exchange.tally is not None and exchange.tally.finish is not None)


def _receipt(exchange: Exchange) -> bytes:
    record = record_of(exchange, Outcome.COMPLETE, None, get_running_loop().time())
    return msgspec.json.encode(receipt(record, for_admin=exchange.caller.is_admin))


def _is_json(event: bytes) -> bool:
    return b"data: {" in event


def _before_last(events: bytes) -> tuple[bytes, bytes]:
    """These events, cut before the last one that holds a JSON object."""
    split = events.split(END_OF_EVENT)
    place = max((at for at, event in enumerate(split) if _is_json(event)), default=0)
    out = b"".join([event + END_OF_EVENT for event in split[:place]])
    return out, events[len(out) :]


def _with_receipt(events: bytes, told: bytes) -> bytes:
    """The first of these events with the receipt in it, and those after it as they are."""
    first, end, rest = events.partition(END_OF_EVENT)
    frames = sse.Framer().feed(first + end)
    if len(frames) != 1 or not frames[0].data.startswith(b"{"):
        return events
    frame = frames[0]
    return sse.forward(sse.Frame(_with_field(frame.data, told), frame.event)) + rest


def _with_field(data: bytes, told: bytes) -> bytes:
    try:
        return splice(data, {FIELD: told})
    except Problem:
        return data  # a key twice: it goes on as it came
