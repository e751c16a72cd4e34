"""The parent process: owns sockets, signals, the control socket and what runs beside; keeps the workers running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
import structlog

from trunkline.supervisor.child import Child
from trunkline.supervisor.control import Refused, control_path, serve_control
from trunkline.supervisor.failure import CannotStart
from trunkline.supervisor.sockets import Listening, listen
from trunkline.supervisor.tally import added, counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping

FIRST_DELAY_S: Final = 0.1
"""How long a worker that died waits for its successor; each death soon after another doubles it."""

LAST_DELAY_S: Final = 10.0

STEADY_S: Final = 30.0
"""A worker that lived this long was no failure to start."""

END_S: Final = 1.9
"""Everything has ended this long after the grace, what runs beside included."""

HURRY_S: Final = 0.8
"""What the last clean-up gets after a second signal."""


def _say_nothing(_: Listening) -> None:
    """The default of `on_ready`."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What to supervise.

    `factory` is the application's factory by its dotted path, such as `trunkline.app:build`; each worker calls it with
    the bytes that `settings` gives. `settings` is called at the start and at each reload, after `beside` was entered;
    it raises CannotStart with a sentence. `beside` is what runs as long as the workers do, such as a local model; it
    must end within a second when it is cancelled. `watch`: files and folders whose change means reload. `on_ready` is
    called once, when every worker accepts connections. `drain_s` is the grace of running streams, `start_s` how long
    a worker may take to be ready; seconds.
    """

    factory: str
    settings: Callable[[], bytes]
    runtime_dir: Path
    host: str = "localhost"
    port: int = 3001
    workers: int = 1
    drain_s: float = 30.0
    start_s: float = 30.0
    watch: tuple[Path, ...] = ()
    beside: Callable[[], AbstractAsyncContextManager[object]] = contextlib.nullcontext
    on_ready: Callable[[Listening], None] = _say_nothing


class Reloaded(NamedTuple):
    """What became of a reload: why it was refused, or which settings wait for a restart."""

    failure: CannotStart | None = None
    restart: tuple[str, ...] = ()


class Slot:
    """The place of one worker. Its `child` is replaced when it dies or at a reload, under the supervisor's lock."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.restarts = 0
        self.delay_s = FIRST_DELAY_S


async def supervise(setup: Setup) -> int:
    """Run the router until it is told to end. Call it from the main thread, which signals and workers are bound to.

    The exit code: 0 after a drain, 1 where a second signal or the timer cut it short. Raises CannotStart, of which
    PortTaken is one, if it cannot be started.
    """
    if sys.platform == "win32":
        raise CannotStart("The router needs a Unix system. On Windows, run it in WSL or in a container.")
    listening = await listen(setup.host, setup.port)
    try:
        return await Supervisor(setup, listening).run()
    finally:
        listening.close()


class Supervisor:
    """Keeps the workers running. Owns the slots, every child that is not gone, and what the signals ask for."""

    def __init__(self, setup: Setup, listening: Listening) -> None:
        self._setup = setup
        self._listening = listening
        self._log = structlog.get_logger("trunkline.supervisor")
        self._settings = b""
        self._slots: list[Slot] = []
        self._children: set[Child] = set()
        self._gone: dict[str, Any] = {}
        self._changing = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()
        self._reload_asked = asyncio.Event()
        self._has_new_code = False
        self._reloaded: asyncio.Future[Reloaded] | None = None
        self._life: asyncio.Task[None] | None = None
        self._is_started = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        # Under nohup, which ignores SIGHUP, the terminal may go.
        self._needs_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()
        self._started_at = asyncio.get_running_loop().time()

    async def run(self) -> int:
        """Start, serve, drain, end: the exit code."""
        with self._signals():
            self._life = life = asyncio.create_task(self._live())
            hurry = asyncio.create_task(self._hurry.wait())
            try:
                await asyncio.wait({life, hurry}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                hurry.cancel()
                was_cut = not life.done()
                if was_cut:
                    await self._end_at_once(life)
        if was_cut:
            return 1
        if not life.cancelled():  # it is when it was told to end while it started
            life.result()
        return 0

    async def _end_at_once(self, life: asyncio.Task[None]) -> None:
        for child in self._children:
            child.kill()
        life.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(HURRY_S):
                await life

    async def _live(self) -> None:
        async with self._control(), self._setup.beside():
            try:
                self._settings = self._setup.settings()
                await self._fill_slots()
                self._is_started = True
                self._log.info("listening", addresses=self._listening.addresses, workers=len(self._slots))
                self._setup.on_ready(self._listening)
                await self._tend()
                await self._drain()
            finally:
                await self._kill_all()

    async def _fill_slots(self) -> None:
        """Start all workers; the first alone, so that a common mistake is told once."""
        first = await self._launch(self._settings)
        self._slots.append(Slot(first))
        failures: list[CannotStart] = []
        others: list[asyncio.Task[Child]] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                others += [tasks.create_task(self._launch(self._settings)) for _ in range(1, self._setup.workers)]
        except* CannotStart as group:
            failures += cast("tuple[CannotStart, ...]", group.exceptions)
        if failures:
            raise failures[0]
        self._slots += [Slot(other.result()) for other in others]

    async def _launch(self, settings: bytes) -> Child:
        """A worker that accepts connections. Raises CannotStart."""
        child = Child.spawn(self._setup.factory, self._listening.sockets, self._answer_child)
        self._children.add(child)
        try:
            await child.start(settings, grace_s=self._setup.drain_s, timeout_s=self._setup.start_s)
        finally:
            if child.is_gone:
                self._forget(child)
        return child

    async def _tend(self) -> None:
        """Keep every slot filled, and reload when asked, until told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for slot in self._slots:
                self._begin(tasks, self._mind(tasks, slot))
            self._begin(tasks, self._reload_when_asked(tasks))
            if self._setup.watch:
                self._begin(tasks, self._watch())
            await self._stop.wait()
            for chore in self._chores:
                chore.cancel()

    def _begin(self, tasks: asyncio.TaskGroup, chore: Coroutine[Any, Any, None]) -> None:
        task = tasks.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _mind(self, tasks: asyncio.TaskGroup, slot: Slot) -> None:
        """Replace the worker of this slot when it dies; whoever puts another there minds that one."""
        child = slot.child
        status = await child.ended()
        if slot.child is not child:
            return None
        if child.uptime_s > STEADY_S:
            slot.delay_s = FIRST_DELAY_S
        self._log.error("worker_died", pid=child.pid, status=status, restart_in_s=slot.delay_s)
        while True:
            await asyncio.sleep(slot.delay_s)
            slot.delay_s = min(2 * slot.delay_s, LAST_DELAY_S)
            async with self._changing:
                if slot.child is not child:
                    return None
                try:
                    slot.child = await self._launch(self._settings)
                except CannotStart as why:
                    self._log.error("worker_did_not_start", reason=str(why), again_in_s=slot.delay_s)
                    continue
            self._forget(child)
            slot.restarts += 1
            self._log.info("worker_restarted", pid=slot.child.pid, instead_of=child.pid)
            return self._begin(tasks, self._mind(tasks, slot))

    async def _reload_when_asked(self, tasks: asyncio.TaskGroup) -> None:
        reloaded: asyncio.Future[Reloaded] | None = None
        try:
            while True:
                await self._reload_asked.wait()
                self._reload_asked.clear()
                reloaded, self._reloaded = self._reloaded, None
                try:
                    outcome = await self._renew(tasks)
                    workers = [slot.child.pid for slot in self._slots]
                    self._log.info("reloaded", workers=workers, needs_restart=list(outcome.restart))
                except CannotStart as why:
                    outcome = Reloaded(why)
                    self._log.error("reload_refused", reason=str(why))
                if reloaded is not None and not reloaded.done():
                    reloaded.set_result(outcome)
        finally:
            for asked in (reloaded, self._reloaded):  # who asked by way of a worker would hold up its drain
                if asked is not None and not asked.done():
                    asked.set_result(Reloaded(CannotStart("The router is draining.")))

    async def _renew(self, tasks: asyncio.TaskGroup) -> Reloaded:
        """Give the workers the settings of now; where they cannot take them as they run, give their places to others.

        Raises CannotStart where the settings cannot be used: then nothing has changed.
        """
        has_new_code, self._has_new_code = self._has_new_code, False
        settings = self._read_again()
        restart: list[str] = []
        if not has_new_code:
            is_taken, restart = await self._hand_out(settings)
            if is_taken:
                return Reloaded(restart=tuple(restart))
        await self._roll(tasks, settings)
        return Reloaded(restart=tuple(restart))

    def _read_again(self) -> bytes:
        """The settings of now. Raises CannotStart, whatever is wrong with them: workers run."""
        try:
            return self._setup.settings()
        except CannotStart:
            raise
        except Exception as fault:
            self._log.exception("settings_unreadable")
            raise CannotStart(f"The settings cannot be read: {type(fault).__name__}. The log tells why.") from fault

    async def _hand_out(self, settings: bytes) -> tuple[bool, list[str]]:
        """Whether every worker has taken these settings as it runs, and what of them waits for a restart."""
        args = {"settings": b64encode(settings).decode("ascii")}
        async with self._changing:
            asked = (slot.child.asked("reload", args) for slot in self._slots)
            try:
                answers: list[dict[str, list[str]] | None] = await asyncio.gather(*asked)
            except Refused as why:
                raise CannotStart(str(why)) from None
            is_taken = not any(answer is None or answer["new_worker"] for answer in answers)
            if is_taken:
                self._settings = settings
        return is_taken, next((answer["restart"] for answer in answers if answer is not None), list[str]())

    async def _roll(self, tasks: asyncio.TaskGroup, settings: bytes) -> None:
        """Replace the workers one after another, or none: raises CannotStart where one cannot start."""
        before = self._settings
        replaced: list[Slot] = []
        try:
            for slot in self._slots:
                await self._replace(tasks, slot, settings)
                replaced.append(slot)
        except CannotStart:
            self._settings = before
            for slot in reversed(replaced):
                try:
                    await self._replace(tasks, slot, before)
                except CannotStart as why:
                    self._log.error("worker_keeps_new_settings", pid=slot.child.pid, reason=str(why))
            raise

    async def _replace(self, tasks: asyncio.TaskGroup, slot: Slot, settings: bytes) -> None:
        """Put a new worker here. The old one leaves after the new one accepts connections. Raises CannotStart."""
        async with self._changing:
            old, slot.child = slot.child, await self._launch(settings)
            self._settings = settings  # also for a new one that dies before the last has come
        self._begin(tasks, self._mind(tasks, slot))
        await old.tell_to_leave("hand_over", self._setup.drain_s)
        self._begin(tasks, self._retire(old))

    async def _retire(self, old: Child) -> None:
        await old.left(self._setup.drain_s)
        self._forget(old)

    async def _watch(self) -> None:
        from trunkline.supervisor.watching import watch  # noqa: PLC0415 - only `--reload` needs it

        async def changed(path: Path) -> None:
            self._log.info("file_changed", file=str(path))
            self._has_new_code = True
            with contextlib.suppress(Refused):  # it ends: there is nobody to reload
                await self._reload()

        await watch(self._setup.watch, changed)

    async def _drain(self) -> None:
        grace_s = self._setup.drain_s
        leaving = tuple(self._children)
        await asyncio.gather(*(child.tell_to_leave("close", grace_s) for child in leaving))
        self._log.info("draining", grace_s=grace_s)
        await asyncio.gather(*(child.left(grace_s) for child in leaving))

    async def _kill_all(self) -> None:
        for child in self._children:
            child.kill()
        await asyncio.gather(*(child.ended() for child in self._children))

    def _forget(self, child: Child) -> None:
        """It is gone: what it counted stays counted."""
        if child in self._children:
            self._children.discard(child)
            self._gone = added(self._gone, counted(child.last_snapshot))

    # What others ask: the operator over the control socket, and the workers.

    @contextlib.asynccontextmanager
    async def _control(self) -> AsyncGenerator[None]:
        """Serve the control socket; where that cannot be, say so and go on without."""
        path = control_path(self._setup.runtime_dir, self._listening.port)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(serve_control(path, self._answer_operator))
            except (OSError, Refused) as why:
                self._log.warning("no_control_socket", path=str(path), reason=str(why))
            yield

    async def _answer_operator(self, op: str, args: Mapping[str, Any]) -> Any:
        match op:
            case "drain":
                if not self._stop.is_set():
                    self._ask_to_end("drain")
                return {"draining": True}
            case "reload":
                outcome = await self._reload()
                if outcome.failure is not None:
                    raise Refused(str(outcome.failure))
                return {"workers": [slot.child.pid for slot in self._slots], "needs_restart": outcome.restart}
            case _:
                return await self._answer(op, args)

    async def _answer_child(self, child: Child, op: str, args: Mapping[str, Any]) -> Any:
        if op == "bye":
            child.last_snapshot = args["snapshot"]
            return None
        if op == "reload":
            outcome = await self._reload()
            return {"mistakes": str(outcome.failure or "").splitlines(), "needs_restart": outcome.restart}
        return await self._answer(op, args)

    async def _answer(self, op: str, args: Mapping[str, Any]) -> Any:
        match op:
            case "metrics":
                return await self._metrics()
            case "status":
                return self._status()
            case "record":
                return await asyncio.gather(*(child.asked(op, args) for child in self._children))
            case "explain":
                answer = await self._slots[0].child.asked(op, args) if self._slots else None
                if answer is None:
                    raise Refused("The router is starting, or its worker does not answer.")
                return answer
            case _:
                raise Refused(f"There is no {op} here.")

    async def _metrics(self) -> list[dict[str, Any]]:
        """The snapshot of each worker; then, as one more, what those that are gone or do not answer had counted."""
        asked = list(self._children)
        answers = await asyncio.gather(*(child.snapshot() for child in asked))
        living: list[dict[str, Any]] = []
        gone = self._gone
        for child, answer in zip(asked, answers, strict=True):
            if child not in self._children:
                continue  # it went meanwhile, and is counted
            if answer is None:
                gone = added(gone, counted(child.last_snapshot))
            else:
                living.append(answer)
        return [*living, gone] if gone else living

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "addresses": self._listening.addresses,
            "uptime_s": round(asyncio.get_running_loop().time() - self._started_at, 3),
            "draining": self._stop.is_set(),
            "workers": [
                {
                    "pid": slot.child.pid,
                    "ready": slot.child.is_ready and not slot.child.is_gone,
                    "restarts": slot.restarts,
                    "uptime_s": round(slot.child.uptime_s, 3),
                }
                for slot in self._slots
            ],
        }

    async def _reload(self) -> Reloaded:
        """Ask for a reload and wait for it; whoever asks before it has begun shares it. Raises Refused."""
        if not self._is_started or self._stop.is_set():
            raise Refused("The router is starting or draining.")
        if self._reloaded is None:
            self._reloaded = asyncio.get_running_loop().create_future()
        self._reload_asked.set()
        return await asyncio.shield(self._reloaded)

    # Signals.

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._ask_to_end, one.name)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            yield
        finally:
            for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(one)

    def _ask_to_end(self, why: str) -> None:
        """The first time: drain. The second: end at once."""
        if self._stop.is_set():
            self._log.warning("ending_at_once", reason=why)
            self._hurry.set()
            return
        self._log.info("ending", reason=why)
        self._stop.set()
        asyncio.get_running_loop().call_later(self._setup.drain_s + END_S, self._hurry.set)
        if not self._is_started and self._life is not None:
            self._life.cancel()

    def _hang_up(self) -> None:
        """SIGHUP means reload, unless it says that the terminal is gone: then nobody could end the router."""
        if self._needs_terminal and not _has_terminal():
            self._ask_to_end("the terminal is gone")
        else:
            self._reload_asked.set()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
