"""A process that is killed with -9 in the middle of its writes: what was stored is whole, and sessions go on."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

import sizes
from store.databases import Place, opened, running
from store.turns import USER, begin, finish
from trunkline.store.history import LEASE_S, History

KILLS = sizes.size(2, 25)
TESTS = Path(__file__).parents[1]


async def killed_midway(url: str, after_s: float) -> Counter[str]:
    """Let a process talk, kill it; how many turns of each session it saw stored."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(TESTS / "store" / "keep_talking.py"),
        url,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    await asyncio.sleep(after_s)
    process.kill()
    rest, _ = await process.communicate()
    # A line that was cut by the kill tells of nothing.
    return Counter((first + rest).decode().split("\n")[:-1])


async def test_after_a_kill_what_was_stored_is_whole_and_its_sessions_go_on(somewhere: Place) -> None:
    chance = random.Random(7)  # noqa: S311 - moments, not secrets
    for _ in range(KILLS):
        seen = await killed_midway(somewhere.url, chance.uniform(0.0, 0.2))
        async with (
            opened(somewhere.url) as database,
            running(History(database, clock=lambda: time.time() + LEASE_S + 1)) as history,
        ):
            mine = history.owned_by(USER)
            for session, turns in seen.items():
                found = (await mine.messages(UUID(session), limit=200)).messages
                assert (await mine.read(UUID(session))).message_count == len(found)
                answers = [message.content for message in found if message.role == "assistant"]
                assert len(answers) >= turns
                finish(history, await begin(history, "Go on", session=session))
        assert history.lost == 0
