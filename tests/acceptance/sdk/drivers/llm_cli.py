"""The `llm` command, as a process of its own, with a home of its own and no other server than the router."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

APIS: Final = ("chat", "responses")
"""What `llm` can speak to a server that it is told of."""


class Ran(msgspec.Struct, frozen=True):
    """How a run ended, and what it wrote."""

    code: int
    out: str
    err: str


class Llm:
    """One installation. `models` are names at the router; each is known as `chat:NAME` and `responses:NAME`."""

    def __init__(self, home: Path, url: str, models: Iterable[str]) -> None:
        self._home = home
        rows = [
            {
                "model_id": f"{api}:{model}",
                "model_name": model,
                "api_base": f"{url}/v1",
                "responses": api == "responses",
                "reasoning": True,
                "supports_schema": True,
                "supports_tools": True,
                "vision": True,
            }
            for api in APIS
            for model in models
        ]
        (home / "extra-openai-models.yaml").write_text(json.dumps(rows))  # JSON is YAML, too

    async def run(self, *arguments: str) -> Ran:
        """Run it to its end."""
        async with self.running(*arguments) as process:
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
        """Start it; on leaving it is interrupted, as by Ctrl-C, if it still runs."""
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("llm")),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "HOME": str(self._home), "LLM_USER_PATH": str(self._home), "LLM_LOAD_PLUGINS": ""},
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                await process.communicate()
