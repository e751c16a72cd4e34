"""The arguments of a tool call as they come, piece by piece: whether they are whole already.

Providers may send several calls in turns, while the hub is told of one after the other: what comes of the next one
waits until the arguments of the first are whole.
"""

from __future__ import annotations

from typing import Final

import msgspec

KEPT_CHARS: Final = 64 * 1024
"""Of a call's arguments: what is longer counts as whole, as nobody knows."""

MAX_WAITING_BYTES: Final = 256 * 1024
"""Of calls that wait for the one before them, which ends when they are more."""


class ToolArguments:
    """The arguments of one call: a JSON object, once they are whole."""

    __slots__ = ("_pieces", "_room", "have_begun")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._room = KEPT_CHARS
        self.have_begun = False

    def hear(self, piece: str) -> None:
        """More of them."""
        self.have_begun = True
        self._room -= len(piece)
        if self._room < 0:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    @property
    def may_go_on(self) -> bool:
        """Whether more can come; not so for those that have grown too long to know."""
        return self._room >= 0 and not self.are_whole

    @property
    def are_whole(self) -> bool:
        """Whether they are a JSON object to its end, and known to be one."""
        if not self._pieces or not self._pieces[-1].rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode("".join(self._pieces), type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return False
        return True
