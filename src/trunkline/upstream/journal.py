"""What reached a scripted upstream, and how each play of it ended."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.upstream.script import Script


class ReceivedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whole. Header names are in lower case; repeated headers are joined by a comma.

    `id` counts from 1. `received_at` is the loop's clock, in seconds. Its `repr` shows neither headers nor body:
    keys and prompts are in there.
    """

    id: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    received_at: float

    def json(self) -> Any:
        """Its body, decoded. Raises msgspec.DecodeError where it is no JSON."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"ReceivedRequest({self.id}: {self.method} {self.path}, {len(self.body)} bytes)"


class Ending(StrEnum):
    """How a play ended."""

    FINISHED = "finished"
    """As its script says, resets included."""
    CANCELLED = "cancelled"
    """The peer left before the script's end."""
    STOPPED = "stopped"
    """The upstream was closed, or the play took longer than it allows."""


class Play:
    """One request and how its script goes. The journal writes it; everybody may read.

    `script` is None until it is chosen, `ending` until it ended. `bytes_sent` counts bytes of the body, without
    headers and framing. `left_at` is when the peer's leaving was seen (the loop's clock, seconds), None if it stayed.
    """

    def __init__(self, request: ReceivedRequest) -> None:
        self.request = request
        self.script: Script | None = None
        self.bytes_sent = 0
        self.ending: Ending | None = None
        self.left_at: float | None = None

    def __repr__(self) -> str:
        return f"Play({self.request!r}, {self.bytes_sent} bytes, {self.ending and self.ending.value})"


class Journal:
    """Everything that a scripted upstream remembers. It owns the counts and the plays.

    `opened` and `closed` count connections; `received`, `active`, `finished` and `cancelled` count requests;
    `bytes_sent` is of bodies. `plays` holds the newest ones, oldest first; `ids` gives requests their numbers.
    """

    def __init__(self, remember: int) -> None:
        self.opened = 0
        self.closed = 0
        self.received = 0
        self.active = 0
        self.finished = 0
        self.cancelled = 0
        self.bytes_sent = 0
        self.ids = itertools.count(1)
        self.plays: deque[Play] = deque(maxlen=remember)
        self._changed = asyncio.Event()

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests that came, oldest first; only the newest ones if there were very many."""
        return [play.request for play in self.plays]

    def connection_opened(self) -> None:
        """Note a new connection."""
        self.opened += 1
        self._changed.set()

    def connection_closed(self) -> None:
        """Note that a connection is gone."""
        self.closed += 1
        self._changed.set()

    def begin(self, request: ReceivedRequest) -> Play:
        """Note a request, whose play begins."""
        play = Play(request)
        self.plays.append(play)
        self.received += 1
        self.active += 1
        self._changed.set()
        return play

    def sent(self, play: Play, size: int) -> None:
        """Note bytes of the body that went out."""
        play.bytes_sent += size
        self.bytes_sent += size
        self._changed.set()

    def end(self, play: Play, ending: Ending, *, left_at: float | None = None) -> None:
        """Note how a play ended. Only the first time counts."""
        if play.ending is not None:
            return
        play.ending = ending
        play.left_at = left_at
        self.active -= 1
        self.finished += ending is Ending.FINISHED
        self.cancelled += ending is Ending.CANCELLED
        self._changed.set()

    async def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Return as soon as the predicate holds; it is asked again whenever this journal changes.

        Raises TimeoutError, with the counts, when that does not happen in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"waited {timeout_s} s in vain: {self!r}") from None

    def __repr__(self) -> str:
        counts = ("opened", "closed", "received", "active", "finished", "cancelled", "bytes_sent")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in counts)})"
