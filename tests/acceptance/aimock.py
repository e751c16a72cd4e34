"""aimock, a mock upstream that others wrote (npm), as a child process on a free loopback port."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

NPM: Final = Path(__file__).parent / "npm"
OLDEST_NODE: Final = 20
START_S: Final = 30.0
END_S: Final = 10.0

BASE_PATHS: Final = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic_messages": "/v1", "gemini": "/v1beta"}
"""Where each dialect's paths begin."""


def is_npm_there() -> bool:
    """Whether Node is there, new enough, and what `make test` installs for it."""
    if shutil.which("node") is None or not (NPM / "node_modules" / ".package-lock.json").is_file():
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    major = version.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A request as aimock understood it: whatever dialect it came in, its body is a chat completion's here."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def request_id(self) -> str:
        """What aimock calls it."""
        return self.headers["x-request-id"]


class Aimock:
    """A running aimock. `unfinished` tells, by request, when an answer's connection ended before the answer did.

    The times are the event loop's own, in seconds.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.unfinished: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def journal(self) -> list[Received]:
        """Every request that reached it, oldest first."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - no TLS on loopback
            answer = await client.get(f"{self.url}/__aimock/journal")
        return msgspec.json.decode(answer.content, type=list[Received])

    async def wait_for_unfinished(self, count: int, timeout_s: float) -> None:
        """Return when so many answers did not go out whole. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while len(self.unfinished) < count:
                self._changed.clear()
                await self._changed.wait()

    def note(self, line: bytes) -> None:
        """Take one line of what it tells."""
        told = json.loads(line)
        self.unfinished[told["unfinished"]] = told["at"]
        self._changed.set()

    async def listen(self, lines: asyncio.StreamReader) -> None:
        """Take what it tells until it ends."""
        async for line in lines:
            self.note(line)


@asynccontextmanager
async def aimock() -> AsyncGenerator[Aimock]:
    """Start it, with the fixtures of the acceptance tests; it ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "aimock.mjs",
        "aimock_fixtures.json",
        cwd=NPM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            first = await process.stdout.readline()
        mock = Aimock(json.loads(first)["url"])
        listening = asyncio.create_task(mock.listen(process.stdout))
        yield mock
        process.stdin.close()
        async with asyncio.timeout(END_S):
            await listening
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
