"""The program as a user starts it: `trunkline ...` in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from served import KEY

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream


class Finished:
    """A command that ended. `out` and `err` are what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def environment(directory: Path, more: Mapping[str, str]) -> dict[str, str]:
    """A newcomer's environment: nothing of ours but what is given."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "TRUNKLINE_DATA_DIR": str(directory / "data"), "NO_COLOR": "1", "COLUMNS": "200", **more}


async def run(*arguments: str, directory: Path, timeout_s: float = 30, **more: str) -> Finished:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", *arguments,
        cwd=directory,
        env=environment(directory, more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"still running: {out.decode()} {err.decode()}") from None
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


class Started:
    """A router in a process of its own, listening. `url` has no slash at the end; `log` is what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: bytearray, out: bytearray) -> None:
        self.process = process
        self.pid = process.pid
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._out = out

    @property
    def out(self) -> str:
        """Everything on its standard output so far."""
        return self._out.decode()

    @property
    def log(self) -> str:
        """Everything on its standard error so far."""
        return self._log.decode()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, timeout_s: float = 20) -> int:
        """Its exit code, once it has one."""
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()


@asynccontextmanager
async def started(upstream: ScriptedUpstream, directory: Path, *arguments: str, **more: str) -> AsyncGenerator[Started]:
    """`trunkline serve` on a free port, with a scripted provider; killed at the end if it still runs."""
    provider = {"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": upstream.base_url}
    async with launched("serve", *arguments, directory=directory, **{**provider, **more}) as router:
        yield router


@asynccontextmanager
async def launched(*arguments: str, directory: Path, **more: str) -> AsyncGenerator[Started]:
    """A command that serves, on a free port; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", *arguments,
        cwd=directory,
        env=environment(directory, {"PORT": "0", "LOG_FORMAT": "json", **more}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    log, out = bytearray(), bytearray()
    readers = [asyncio.create_task(_collect(process.stderr, log))]
    try:
        async with asyncio.timeout(30):
            while not (found := re.search(rb"http://\S+:(\d+)", line := await process.stdout.readline())):
                assert line, f"it ended: {log.decode()}"
                out += line
        out += line
        readers.append(asyncio.create_task(_collect(process.stdout, out)))
        yield Started(process, int(found.group(1)), log, out)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*readers)


async def _collect(stream: asyncio.StreamReader, into: bytearray) -> None:
    while data := await stream.read(65536):
        into += data
