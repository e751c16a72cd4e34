"""What runs in a worker process: the application behind our HTTP server, ruled by the parent over a link.

Started as `python -m trunkline.supervisor.worker FACTORY LINK_FD PARENT_PID LISTENER_FD...`. Nothing secret stands in
the arguments or the environment: the settings come over the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import resource
import signal
import socket
import sys
from base64 import b64decode
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from trunkline.core.problem import Kind, Problem
from trunkline.server import Server
from trunkline.supervisor.control import LinkClosed, Refused, open_link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trunkline.supervisor.control import Link

    Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
    """Asks the router as a whole, by way of the parent: `metrics` and `record` give every worker's answer, `reload`
    what became of it. Raises Problem where the parent does not answer."""

LINGER_S: Final = 1.0
"""How long connections that wait for a request may still send one when a new worker takes over."""

CUT_S: Final = 0.5
"""What running streams get to send their error event once the grace is over."""

FLUSH_S: Final = 2.0
"""What clients get at most to take the last bytes."""

STOP_S: Final = 5.0
"""What the application gets at most to stop in, when there is time."""

LATE_S: Final = 0.4
"""What each of the last steps gets when the grace is over: together they end well within two seconds."""

ASK_S: Final = 3.0
"""The parent gives each worker 2 s, so it has answered by then."""

RELOAD_S: Final = 120.0
"""What a reload may take where new workers have to start."""

DESCRIPTORS: Final = 65_536

GC_THRESHOLD: Final = 20_000
"""So many more objects there may be before cycles are looked for among the youngest; Python's own 700 suits scripts."""

PR_SET_PDEATHSIG: Final = 1
"""Source: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html."""


class Application(Protocol):
    """The ASGI application of one worker, as the worker drives it: start, serve, drain, cut, stop."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: ASGI 3."""
        ...

    def attach(self, ask: Ask) -> None:
        """Called once, before `start`: how to ask the whole router."""
        ...

    async def answer(self, op: str, args: Mapping[str, Any]) -> Any:
        """What the parent asks of this worker alone, JSON-able. Raises Problem with a sentence.

        `reload` takes over new `settings` (base64) as far as a running process can, and gives two lists of names:
        `new_worker`, what only a new process can take (then nothing has changed), and `restart`, what not even that
        can. All other ops are the application's own.
        """
        ...

    async def start(self) -> None:
        """Open what serving needs. Raises Problem with a sentence when it cannot."""
        ...

    def begin_drain(self) -> None:
        """From now on: not ready, and new inference requests get 503 with `Connection: close`."""
        ...

    async def drained(self) -> None:
        """Return when no request is running."""
        ...

    def cut(self) -> None:
        """The grace is over: running streams get their error event, and end."""
        ...

    async def stop(self) -> None:
        """Close what `start` opened. It is cancelled when the time is over."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """This worker's metrics: JSON objects and arrays of numbers.

        What stands under `gauges` is of the moment. All else only grows and may be added up: the parent keeps the
        sum for the workers that are gone.
        """
        ...


class Leaving(StrEnum):
    """Why a worker drains."""

    CLOSE = "close"
    """The router ends: new requests are told so until the last stream has ended."""
    HAND_OVER = "hand_over"
    """A new worker is there already: new connections are its own, from now on."""


class Worker:
    """One worker: the application, its server, and the way out. Its parent's questions arrive at `answer`."""

    def __init__(self, factory: Callable[[bytes], Application], sockets: Sequence[socket.socket]) -> None:
        self._factory = factory
        self._sockets = list(sockets)
        self._link: Link | None = None
        self._app: Application | None = None
        self._server: Server | None = None
        self._grace_s = 0.0
        self._tasks = asyncio.TaskGroup()
        self._leaving = asyncio.get_running_loop().create_future()

    async def run(self, end: socket.socket) -> None:
        """Obey the parent until it says to drain; then drain, and return."""
        loop = asyncio.get_running_loop()
        self._link = await open_link(end, self.answer)
        loop.add_signal_handler(signal.SIGTERM, lambda: self._leave(Leaving.CLOSE, self._grace_s))
        async with self._tasks:
            obeying = self._tasks.create_task(self._obey(self._link))
            leaving, grace_s = await self._leaving
            await self._drain(leaving, grace_s)
            obeying.cancel()

    async def _obey(self, link: Link) -> None:
        await link.serve()
        # The parent is gone, by kill -9 at worst: a worker does not outlive it, whatever it is doing.
        os._exit(1)

    async def answer(self, op: str, args: Mapping[str, Any]) -> Any:
        """What the parent asks. Raises Refused with a sentence."""
        match op:
            case "start":
                await self._start(b64decode(args["settings"]), args["grace_s"])
                return {"pid": os.getpid()}
            case "metrics" if self._app is not None:
                return self._app.snapshot()
            case "drain":
                self._leave(Leaving(args["leaving"]), args["grace_s"])
                return {"draining": True}
            case _ if self._app is not None:
                try:
                    return await self._app.answer(op, args)
                except Problem as problem:
                    raise Refused(problem.message) from problem
            case _:
                raise Refused(f"A worker that has not started does not know {op}.")

    async def ask(self, op: str, args: Mapping[str, Any]) -> Any:
        """The router's answer, by way of the parent."""
        if self._link is None:
            raise Problem(Kind.INTERNAL, f"There is nobody to ask for {op}.")
        try:
            return await self._link.ask(op, args, timeout_s=RELOAD_S if op == "reload" else ASK_S)
        except Refused as why:
            raise Problem(Kind.UNAVAILABLE, str(why)) from why
        except (LinkClosed, TimeoutError) as why:
            raise Problem(Kind.UNAVAILABLE, "The other workers do not answer. Try again.") from why

    async def _start(self, settings: bytes, grace_s: float) -> None:
        self._grace_s = grace_s
        self._app = app = self._factory(settings)
        app.attach(self.ask)
        try:
            await app.start()
        except Problem as problem:
            raise Refused(problem.message) from problem
        _settle_memory()
        self._server = Server(app)
        await self._server.start(self._sockets)

    def _leave(self, leaving: Leaving, grace_s: float) -> None:
        """Begin to drain, once: being told again changes nothing. What a new client sees has changed on return."""
        if self._leaving.done():
            return
        self._leaving.set_result((leaving, grace_s))
        if self._app is None or self._server is None:
            return
        match leaving:
            case Leaving.CLOSE:
                self._app.begin_drain()
            case Leaving.HAND_OVER:
                self._server.stop_accepting()
                self._server.say_close()

    async def _drain(self, leaving: Leaving, grace_s: float) -> None:
        app, server = self._app, self._server
        if app is None or server is None:
            return
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace_s
        if leaving is Leaving.HAND_OVER:
            # Requests are on their way here: a connection closed under a request is a request refused.
            await asyncio.sleep(min(LINGER_S, grace_s))
            app.begin_drain()
            server.close_idle()
        try:
            async with asyncio.timeout_at(deadline):
                await app.drained()
        except TimeoutError:
            app.cut()
            await _within(CUT_S, app.drained(), "Streams did not end when they were cut")
        left_s = deadline - clock()
        await server.close(max(LATE_S, min(FLUSH_S, left_s)))
        await _within(max(LATE_S, min(STOP_S, left_s)), app.stop(), "The application did not stop in time")
        await self._say_bye(app.snapshot())

    async def _say_bye(self, snapshot: dict[str, Any]) -> None:
        if self._link is not None:
            with contextlib.suppress(LinkClosed, Refused, TimeoutError):
                await self._link.ask("bye", {"snapshot": snapshot}, timeout_s=LATE_S)


async def _within(seconds: float, step: Awaitable[None], otherwise: str) -> None:
    """Await a step, but no longer than this; say so in the log if it was not done."""
    try:
        async with asyncio.timeout(seconds):
            await step
    except TimeoutError:
        logging.getLogger("trunkline.supervisor").warning(otherwise)


def load_factory(path: str) -> Callable[[bytes], Application]:
    """The application's factory by its dotted path, such as `trunkline.app:build`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _bind_to_parent(parent_pid: int) -> None:
    """Die with the parent, even if it is killed with -9 while this process is busy. Elsewhere the link's end tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os._exit(1)  # it died before we could ask


def _take_signals() -> None:
    """Leave the terminal's signals to the parent, which had them blocked here since the fork."""
    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})


def _raise_descriptor_limit() -> None:
    """Allow this process as many connections as the system lets it have; the usual 1024 are few for streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _settle_memory() -> None:
    """What is there now stays; requests leave hardly any cycles behind, so they need not be looked for so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _work(factory: str, end: socket.socket, listeners: Sequence[socket.socket]) -> None:
    await Worker(load_factory(factory), listeners).run(end)


def main(arguments: Sequence[str]) -> None:
    """Be a worker until the parent says to drain, or is gone."""
    factory, link, parent_pid, *listeners = arguments
    _take_signals()
    _bind_to_parent(int(parent_pid))
    _raise_descriptor_limit()
    end = socket.socket(fileno=int(link))
    sockets = [socket.socket(fileno=int(one)) for one in listeners]
    for inherited in (end, *sockets):
        inherited.set_inheritable(False)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_work(factory, end, sockets))


if __name__ == "__main__":
    main(sys.argv[1:])
