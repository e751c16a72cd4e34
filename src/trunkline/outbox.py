"""What is written in one turn of the event loop leaves together, at the turn's end.

A turn that finds many connections ready reads from all of them first, and then writes to all of them: the kernel's way
out stays in the processor's caches, those at the other ends are woken together, and small writes to one socket are one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

HELD_BYTES: Final = 16 * 1024
"""The most that is held for one transport: what would make it more leaves at once."""

TOGETHER: Final = 128
"""How many transports may hold something: in a long turn, the first do not wait for the last."""


LONELY_TURNS: Final = 8
"""After so many turns in a row in which one transport alone held something, there is nothing to wait for."""

AT_ONCE: Final = 16
"""How many writes go through at once then, before a turn is looked at again."""


class Outbox:
    """Knows which transports of one event loop hold something. Owns the callback in which it leaves.

    `at_once` is how many writes need not be held now, as each turn has but one.
    """

    __slots__ = ("_holding", "_lonely", "_loop", "at_once")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holding: list[HeldTransport] = []
        self._lonely = 0
        self.at_once = 0

    def add(self, one: HeldTransport) -> None:
        """It holds something, from now on."""
        holding = self._holding
        if not holding:
            loop = self._loop = self._loop or asyncio.get_running_loop()
            loop.call_soon(self.flush)
        holding.append(one)
        if len(holding) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write out what all of them hold."""
        holding, self._holding = self._holding, []
        if len(holding) > 1:
            self._lonely = self.at_once = 0
        elif holding:
            self._lonely += 1
            if self._lonely >= LONELY_TURNS:
                self.at_once = AT_ONCE
        holding.reverse()
        try:
            while holding:
                holding.pop().flush()
        finally:
            for one in holding:  # one of them has failed: the others must not wait for the next who writes
                self.add(one)


class HeldTransport(asyncio.Transport):
    """A transport whose small writes leave at the end of the turn. Owns what it holds, at most `HELD_BYTES`.

    Whatever else is done to it finds it as if each write had been done at once: what is held leaves first. Only
    `abort` drops it, as it drops all that the socket has not taken.
    """

    __slots__ = ("_held", "_outbox", "_transport")

    def __init__(self, transport: asyncio.BaseTransport, outbox: Outbox) -> None:
        super().__init__()
        self._transport = cast("asyncio.Transport", transport)
        self._outbox = outbox
        self._held = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Have this leave after what was written before it."""
        held, outbox = self._held, self._outbox
        if len(held) + len(data) > HELD_BYTES:
            self._write_through(data)
        elif held:
            self._held = b"".join((held, data))
        elif data and outbox.at_once:
            outbox.at_once -= 1
            self._write_through(bytes(data))  # what a buffer holds now
        elif data:
            self._held = bytes(data)
            outbox.add(self)

    def _write_through(self, data: bytes | bytearray | memoryview) -> None:
        held, self._held = self._held, b""
        if self._transport.is_closing():
            return
        if held:
            self._transport.writelines((held, data))
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Write out what is held."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def write_eof(self) -> None:
        """End this side, after what was written."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Close it, once all that was written has left."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        self._held = b""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """What the socket has not taken."""
        self.flush()
        return self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport itself."""
        return self._transport.get_extra_info(name, default)
