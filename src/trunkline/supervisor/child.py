"""A worker process as its parent sees it: started, asked, told to leave, killed, reaped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from trunkline.supervisor.control import LinkClosed, Refused, open_link
from trunkline.supervisor.failure import CannotStart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trunkline.supervisor.control import Link

    ChildAnswer = Callable[["Child", str, Mapping[str, Any]], Awaitable[Any]]
    """What the parent answers to one child's question."""

ASK_S: Final = 2.0
"""What a worker gets to answer."""

REAP_S: Final = 1.0
"""What a worker gets to be gone after it closed its link; then it is killed."""

LEAVE_S: Final = 1.6
"""What a worker gets on top of its grace: to cut its streams, to stop, and to say good-bye."""

POLL_S: Final = 0.01


class Child:
    """One worker process. Owns the process, the parent's end of its link, and the task that waits for its end."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket, answer: ChildAnswer) -> None:
        self._process = process
        self._end = end
        self._answer = answer
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._following = asyncio.create_task(self._follow())
        self.started_at = asyncio.get_running_loop().time()
        self.is_ready = False
        self.last_snapshot: dict[str, Any] = {}

    @classmethod
    def spawn(cls, factory: str, sockets: Sequence[socket.socket], answer: ChildAnswer) -> Child:
        """Begin a worker process; it serves only after `start`."""
        end, theirs = socket.socketpair()
        with theirs:
            listeners = [str(one.fileno()) for one in sockets]
            command = [sys.executable, "-P", "-m", "trunkline.supervisor.worker", factory, str(theirs.fileno())]
            # The terminal's signals are for the parent. A child inherits what is blocked, until it ignores them itself.
            masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
            try:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [*command, str(os.getpid()), *listeners],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *(one.fileno() for one in sockets)],
                )
            except OSError as why:
                end.close()
                raise CannotStart(f"A worker process cannot be started: {why.strerror}.") from why
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        return cls(process, end, answer)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended and was reaped."""
        return self._following.done()

    @property
    def uptime_s(self) -> float:
        """Seconds since it was started."""
        return asyncio.get_running_loop().time() - self.started_at

    async def start(self, settings: bytes, *, grace_s: float, timeout_s: float) -> None:
        """Have it build its application and accept connections. Raises CannotStart; then it is gone."""
        args = {"settings": b64encode(settings).decode("ascii"), "grace_s": grace_s}
        try:
            await self._ask("start", args, timeout_s=timeout_s)
            self.is_ready = True
        except Refused as why:
            raise CannotStart(str(why)) from None
        except LinkClosed:
            status = await self.ended()
            raise CannotStart(f"A worker ended with status {status} while it started; see above.") from None
        except TimeoutError:
            raise CannotStart(f"A worker was not ready within {timeout_s:g} s.") from None
        finally:
            if not self.is_ready:
                self.kill()
                await self.ended()

    async def snapshot(self) -> dict[str, Any] | None:
        """Its metrics; None if it does not answer in time."""
        if not self.is_ready:
            return None
        try:
            self.last_snapshot = await self._ask("metrics", {}, timeout_s=ASK_S)
        except (LinkClosed, Refused, TimeoutError):
            return None
        return self.last_snapshot

    async def asked(self, op: str, args: Mapping[str, Any], *, timeout_s: float = ASK_S) -> Any:
        """Its answer; None if it is not ready, or does not answer in time. Raises Refused if it says no."""
        if not self.is_ready:
            return None
        try:
            return await self._ask(op, args, timeout_s=timeout_s)
        except (LinkClosed, TimeoutError):
            return None

    async def tell_to_leave(self, leaving: str, grace_s: float) -> None:
        """Have it drain. When this returns after `hand_over`, it accepts no more connections."""
        if not self.is_ready:
            self.kill()
            return
        try:
            await self._ask("drain", {"leaving": leaving, "grace_s": grace_s}, timeout_s=ASK_S)
        except (LinkClosed, Refused):
            self.kill()
        except TimeoutError:
            pass  # it is busy; it finds the message when it is not, and `left` has the last timer

    async def left(self, grace_s: float) -> None:
        """Wait until it is gone; it is killed when it takes longer than its grace allows."""
        try:
            async with asyncio.timeout(grace_s + LEAVE_S):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        return await asyncio.shield(self._following)

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()

    async def _ask(self, op: str, args: Mapping[str, Any], *, timeout_s: float) -> Any:
        await self._linked.wait()
        if self._link is None:
            raise LinkClosed
        return await self._link.ask(op, args, timeout_s=timeout_s)

    async def _follow(self) -> int:
        """Answer it until it closes its link, which is what its death does; then reap it."""
        try:
            self._link = await open_link(self._end, lambda op, args: self._answer(self, op, args))
            self._linked.set()
            await self._link.serve()
        finally:
            self._linked.set()
            status = await self._reap()
        return status

    async def _reap(self) -> int:
        patience_s = REAP_S
        while (status := self._process.poll()) is None:
            await asyncio.sleep(POLL_S)
            patience_s -= POLL_S
            if patience_s <= 0:
                self.kill()
        return status
