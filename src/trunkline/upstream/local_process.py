"""The local model's process: start it, hear that it is ready, keep its last words, end it."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence

_LOG_LINES: Final = 50
_LINE_BYTES: Final = 500
_SHOWN_LINES: Final = 3
_KILL_S: Final = 2.0
_PIPES_S: Final = 1.0


class LocalModelFailed(Exception):
    """The local model did not start, or is not there. The message says why, with the child's last words."""


class Ready(msgspec.Struct, frozen=True):
    """What the child says once it answers."""

    port: int
    context_tokens: int


class LastLines:
    """The last lines of an endless output: at most 50, each at most 500 bytes, however it arrives."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=_LOG_LINES)
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take some output."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(line[:_LINE_BYTES] for line in lines if line.strip())
        self._rest = rest[:_LINE_BYTES]

    def read(self) -> list[str]:
        """The lines so far, an unfinished one included."""
        lines = [*self._lines, self._rest] if self._rest.strip() else list(self._lines)
        return [line.decode(errors="replace").strip() for line in lines][-_LOG_LINES:]


class Child:
    """One process: its pipes are read from the first byte to the last, what it says is kept within bounds."""

    def __init__(self, process: Process) -> None:
        """Use `spawn`."""
        self._process = process  # holds the write end of stdin: the child ends when that closes
        self._last_lines = LastLines()
        self._heard = b""
        self._first_line: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._end = asyncio.create_task(self._follow(), name="local-model-child")

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> Self:
        """Start a process. Raises LocalModelFailed if the system does not let us."""
        try:
            process = await create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,  # Ctrl-C in the terminal is the router's: it drains before it ends the child
            )
        except OSError as failure:
            raise LocalModelFailed(f"The local model's process could not be started: {failure}.") from failure
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    @property
    def last_lines(self) -> list[str]:
        """The end of what it wrote."""
        return self._last_lines.read()

    async def ready(self, timeout_s: float) -> Ready:
        """Wait for the line that says it answers. Raises LocalModelFailed; ending the process is the caller's."""
        await asyncio.wait({self._first_line, self._end}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._first_line.done():
            try:
                return msgspec.json.decode(self._first_line.result(), type=Ready)
            except msgspec.MsgspecError as failure:
                raise LocalModelFailed(
                    "The local model's process says something unknown in place of ready."
                ) from failure
        words = "".join(f"\n  {line}" for line in self.last_lines[-_SHOWN_LINES:])
        if self._end.done():
            how = ending(self._end.result())
            raise LocalModelFailed(f"The local model's process ended before it was ready ({how}).{words}")
        raise LocalModelFailed(f"The local model was not ready within {timeout_s:g} s.{words}")

    async def gone(self) -> int:
        """Wait for its end. Returns the exit status, or the signal as a negative number."""
        return await asyncio.shield(self._end)

    async def stop(self, grace_s: float) -> None:
        """End it: ask, wait for `grace_s`, kill. Killed too if whoever waits here is cancelled."""
        if grace_s > 0:
            self._send(signal.SIGTERM)
        try:
            await asyncio.wait({self._end}, timeout=grace_s)
        finally:
            self._send(signal.SIGKILL)
        await asyncio.wait({self._end}, timeout=_KILL_S)

    def _send(self, number: signal.Signals) -> None:
        if self.is_alive:
            with suppress(ProcessLookupError):  # it ended, and the loop has not been told yet
                self._process.send_signal(number)

    async def _follow(self) -> int:
        """Read both pipes until the process has ended."""
        assert self._process.stdout is not None  # noqa: S101 - `spawn` asked for it
        assert self._process.stderr is not None  # noqa: S101 - the same
        readers = {
            asyncio.create_task(_drain(self._process.stdout, self._hear)),
            asyncio.create_task(_drain(self._process.stderr, self._last_lines.feed)),
        }
        try:
            code = await self._process.wait()
            await asyncio.wait(readers, timeout=_PIPES_S)  # its last words may still be in the pipe
        finally:
            for reader in readers:
                reader.cancel()
        return code

    def _hear(self, chunk: bytes) -> None:
        """Take some of stdout: the first line is the ready line, the rest is chatter."""
        if self._first_line.done():
            self._last_lines.feed(chunk)
            return
        self._heard = (self._heard + chunk)[:_LINE_BYTES]
        line, newline, _ = self._heard.partition(b"\n")
        if newline or len(self._heard) == _LINE_BYTES:
            self._first_line.set_result(line)


async def _drain(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    while chunk := await stream.read(8192):
        take(chunk)


def ending(code: int) -> str:
    """How a process ended, in words, from its exit status (negative: a signal)."""
    if code >= 0:
        return f"status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
