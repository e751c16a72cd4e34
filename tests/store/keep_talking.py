"""A process that has turns until it is killed. Prints each session once its answer is stored."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from uuid import UUID

from store.turns import USER, begin, finish
from trunkline.core.caller import Secret
from trunkline.store.db import Database
from trunkline.store.history import History


async def main(url: str) -> None:
    """Talk."""
    history = History(Database(Secret(url)))
    await history.start()
    session: str | None = None
    for number in count():
        turn = await begin(history, f"Question {number}", session=session)
        finish(history, turn, f"Answer {number}")
        await history.owned_by(USER).read(UUID(turn.session_id))  # waits until it is stored
        print(turn.session_id, flush=True)  # noqa: T201 - the parent reads it
        session = turn.session_id if number % 3 else None


asyncio.run(main(sys.argv[1]))
