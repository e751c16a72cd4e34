"""Tells how the event loop of a worker is, while it works: how long a callback waits for its turn, how many tasks are.

A thread asks twenty times a second, and writes a line of JSON once a second.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EVERY_S = 0.05
LINE_S = 1.0
PATIENCE_S = 60.0


class Pulse(threading.Thread):
    """Asks the loop that runs in this process. It owns its file."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._waited_ms: list[float] = []
        self._tasks = 0
        self._is_counting = False

    def run(self) -> None:
        """Ask, until the loop is closed or does not answer any more."""
        while (loop := _running_loop()) is None:
            time.sleep(EVERY_S)
        written = time.monotonic()
        with self._path.open("a", encoding="utf-8") as file:
            while self._ask(loop):
                time.sleep(EVERY_S)
                if time.monotonic() - written < LINE_S:
                    continue
                written = time.monotonic()
                file.write(json.dumps({"tasks": self._tasks, "waited_ms": self._waited_ms}) + "\n")
                file.flush()
                self._waited_ms = []
                self._is_counting = True

    def _ask(self, loop: asyncio.AbstractEventLoop) -> bool:
        answered, asked = threading.Event(), time.perf_counter()
        try:
            loop.call_soon_threadsafe(self._answer, loop, asked, answered)
        except RuntimeError:
            return False  # it is closed
        return answered.wait(PATIENCE_S)

    def _answer(self, loop: asyncio.AbstractEventLoop, asked: float, answered: threading.Event) -> None:
        self._waited_ms.append(round((time.perf_counter() - asked) * 1000, 3))
        if self._is_counting:
            self._tasks, self._is_counting = len(asyncio.all_tasks(loop)), False
        answered.set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    for one in gc.get_objects():
        if issubclass(type(one), asyncio.AbstractEventLoop) and one.is_running():
            return one
    return None
