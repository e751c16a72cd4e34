"""A router in a process of its own, and the few HTTP requests that its tests make over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from trunkline.supervisor.control import LinkClosed, ask_router, control_path

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

HERE = Path(__file__).parent
PATIENCE_S = 20.0
"""For what takes milliseconds on an idle machine: nothing is measured by it."""


class RunningRouter:
    """Started by `start`; killed, if it still runs, by `clean_up`."""

    def __init__(self, folder: Path) -> None:
        self.settings_file = folder / "settings.json"
        self.settings_file.write_text('{"tag": "first"}')
        self._runtime_dir = folder / "run"
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0
        self.addresses: list[str] = []
        self._responses: list[Response] = []

    async def begin(self, stdin: int = asyncio.subprocess.DEVNULL, **fields: Any) -> None:
        """Start the process, and wait until it has taken its signals and its port."""
        setup = {"settings_file": str(self.settings_file), "runtime_dir": str(self._runtime_dir), "port": 0}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "run_router.py"),
            json.dumps({**setup, **fields}),
            env={**os.environ, "PYTHONPATH": str(HERE)},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        process = self._process
        await comes_true(lambda: any(self._runtime_dir.glob("*.sock")) or process.returncode is not None)

    async def start(self, **fields: Any) -> Self:
        """Start it, and wait until it says that it is ready."""
        await self.begin(**fields)
        line = await self.line_with("ready ")
        _, port, *self.addresses = line.split()
        self.port = int(port)
        return self

    async def line_with(self, words: str) -> str:
        """The next line of its output with these words."""
        stdout = self.process.stdout
        assert stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await stdout.readline()).decode():
                if words in line:
                    return line
        stderr = await self.errors()
        raise AssertionError(f"it ended without saying {words!r}: {stderr}")

    async def errors(self) -> str:
        """What it wrote to stderr, once it and its workers have ended."""
        stderr = self.process.stderr
        assert stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            return (await stderr.read()).decode()

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    @property
    def control(self) -> Path:
        return control_path(self._runtime_dir, self.port)

    async def ask(self, op: str) -> Any:
        return await ask_router(self.control, op, timeout_s=PATIENCE_S)

    async def worker_pids(self) -> list[int]:
        status = await self.ask("status")
        return [worker["pid"] for worker in status["workers"] if worker["ready"]]

    async def get(self, path: str, host: str = "127.0.0.1") -> Any:
        """The JSON answer of one request on a connection of its own."""
        stream = await self.open(path, host)
        status, body = await stream.rest()
        assert status == 200, (status, body)
        return json.loads(body)

    async def open(self, path: str, host: str = "127.0.0.1", *, keep: bool = False) -> Response:
        """Send a request on a connection of its own; `keep` leaves it open after the answer."""
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(host, self.port)
        response = Response(reader, writer)
        self._responses.append(response)
        response.ask(path, () if keep else ("connection: close",))
        return response

    async def clean_up(self) -> None:
        for response in self._responses:
            await response.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            async with asyncio.timeout(PATIENCE_S):
                await self._process.communicate()


class Response:
    """One connection: bytes as they come, and the whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def ask(self, path: str, headers: tuple[str, ...] = ()) -> None:
        lines = [f"GET {path} HTTP/1.1", "host: localhost", *headers, "", ""]
        self._writer.write("\r\n".join(lines).encode())

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def until(self, words: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(words)

    async def rest(self) -> tuple[int, str]:
        """Status and body, chunk sizes included, up to the connection's end."""
        async with asyncio.timeout(PATIENCE_S):
            answer = await self._reader.read()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head.startswith(b"HTTP/") else 0, (body or head).decode()

    async def one(self) -> tuple[str, Any]:
        """Head and JSON body of one answer on a connection that may live on."""
        head = (await self.until(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        async with asyncio.timeout(PATIENCE_S):
            return head, json.loads(await self._reader.readexactly(length))


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def comes_true(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> float:
    """Wait until the condition holds; how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "it did not come true"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def new_workers(router: RunningRouter, old: list[int], count: int) -> list[int]:
    """Wait until `count` workers are ready, none of them of the old ones."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(LinkClosed):
                pids = await router.worker_pids()
                if len(pids) == count and not set(pids) & set(old):
                    return pids
            await asyncio.sleep(0.02)
