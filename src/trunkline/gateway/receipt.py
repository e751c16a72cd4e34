"""The receipt in the answer itself, for a client that asked for one: a field more in the last JSON frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Problem
from trunkline.core.receipt import receipt
from trunkline.core.record import Outcome
from trunkline.dialects import sse
from trunkline.dialects.dialect import splice
from trunkline.gateway.settle import record_of

if TYPE_CHECKING:
    from trunkline.gateway.attempt import Attempt
    from trunkline.gateway.exchange import Exchange
    from trunkline.gateway.relay import Outflow

FIELD: Final = "trunkline"
END_OF_EVENT: Final = b"\n\n"


class Receipted:
    """A way to the client that puts the receipt into the last event which holds a JSON object.

    Nothing is held back before the upstream has come to its finish; from then on, the last event until the next.
    """

    def __init__(self, exchange: Exchange, committed: Attempt, out: Outflow) -> None:
        self._exchange = exchange
        self._committed = committed
        self._out = out
        self._held = b""

    @property
    def is_full(self) -> bool:
        """Whether the client takes no more for now."""
        return self._out.is_full

    async def room(self) -> None:
        """Return when it takes more."""
        await self._out.room()

    def write(self, data: bytes) -> None:
        """Take whole events."""
        if self._is_finished():
            data, self._held = _before_last(self._held + data)
        if data:
            self._out.write(data)

    def end(self) -> None:
        """The answer is whole: what was held back, with the receipt in it."""
        if self._held:
            self._out.write(_with_receipt(self._held, _receipt(self._exchange)))

    def break_off(self) -> None:
        """It came before the break, and the break is told without a receipt."""
        if self._held:
            self._out.write(self._held)

    def _is_finished(self) -> bool:
        """Whether the upstream's last words are here, as its frames have them or, where another went on, its events."""
        tally = self._exchange.tally
        return self._committed.inbound.is_finished or (tally is not None and tally.finish is not None)


def receipted(exchange: Exchange, body: bytes) -> bytes:
    """A whole answer with the receipt in it."""
    return _with_field(body, _receipt(exchange))


def _receipt(exchange: Exchange) -> bytes:
    record = record_of(exchange, Outcome.COMPLETE, None, exchange.clock())
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
    frames = sse.Framer(len(first) + len(end)).feed(first + end)
    if len(frames) != 1 or not frames[0].data.startswith(b"{"):
        return events
    frame = frames[0]
    return sse.forward(sse.Frame(_with_field(frame.data, told), frame.event)) + rest


def _with_field(data: bytes, told: bytes) -> bytes:
    try:
        return splice(data, {FIELD: told})
    except Problem:
        return data  # a key twice: it goes on as it came
