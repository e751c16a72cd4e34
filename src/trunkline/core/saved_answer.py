"""An answer that is kept, to be given again to a client that asks again with the same `Idempotency-Key`."""

from __future__ import annotations

import msgspec


class SavedAnswer(msgspec.Struct, frozen=True):
    """A response: its status, those of its headers that say what it is, and its body. What it holds is content."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"SavedAnswer({self.status}, {len(self.body)} bytes)"
