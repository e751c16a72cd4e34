"""Supervises `streaming_app` in a process of its own: `run_router.py SETUP`, a JSON object of Setup's plain fields.

Prints the port when it is ready. The workers' settings are read from a file, so that a test can change them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.supervisor.failure import CannotStart
from trunkline.supervisor.parent import Setup, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.supervisor.sockets import Listening


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(fields: dict[str, Any]) -> int:
    settings = Path(fields.pop("settings_file"))
    slow_start_s: float = fields.pop("beside_start_s", 0)
    if fields.pop("terminal", False):  # the terminal on stdin becomes the one that controls this process
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    @contextlib.asynccontextmanager
    async def beside() -> AsyncGenerator[None]:
        await asyncio.sleep(slow_start_s)
        try:
            yield
        finally:
            say("beside ended")

    def read_settings() -> bytes:
        text = settings.read_text()
        if text == "bad":
            raise CannotStart("PORT must be a number")
        return text.encode()

    def say_ready(listening: Listening) -> None:
        say(f"ready {listening.port} {' '.join(listening.addresses)}")

    setup = Setup(
        factory="streaming_app:build",
        settings=read_settings,
        runtime_dir=Path(fields.pop("runtime_dir")),
        watch=tuple(map(Path, fields.pop("watch", ()))),
        beside=beside,
        on_ready=say_ready,
        **fields,
    )
    try:
        return asyncio.run(supervise(setup))
    except CannotStart as why:
        sys.stderr.write(f"{why}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
