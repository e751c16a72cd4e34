"""A day in short: streams and requests at a steady rate, some of whose clients leave and some of whose providers fail.

50 requests a second; 7 of 10 stream; 1 of 5 is left by its client midway; 1 of 20 meets a fault. The providers are
scripted ones (`trunkline.upstream.faults`), in this process, as the clients are. What counts is what does not come back
to where it was: memory, descriptors, tasks; and how long the event loop lets a callback wait. A figure of a short run
says that the run works; two hours say something (`--soak 120`).
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

import cost
import machine
from machine import Facts
from native import HERE, Broken, Cores
from page import Check, check_table, plain_table
from servers import KEY, Missing, Server, started, trunkline
from trunkline.upstream.faults import TEXT, FaultyProvider
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from servers import Place, Running

RATE_S: Final = 50
STREAMING: Final = 0.7
LEAVING: Final = 0.2
FAILING: Final = 0.05
FAULTS: Final = (
    "cut-mid-stream",
    "reset-mid-stream",
    "error-mid-stream",
    "broken-json",
    "stall",
    "overloaded",
    "error-in-200",
    "html",
    "empty",
    "bad-gzip",
)
"""Those that are over soon and end with an error, whichever attempt it is; none has the provider's key refused."""

WARM_UP_S: Final = 15 * 60
TELLING_S: Final = 30 * 60
"""A run has to be as long as this for the slope of its memory to say anything."""

SAMPLES: Final = 600
PATIENCE_S: Final = 30.0
RESTING_S: Final = 2.5
"""So that the worker has told how it is while nothing happens."""

MIDWAY_S: Final = (0.02, 0.5)
"""When a client leaves that leaves."""

ALARMS: Final = (b"Traceback", b"Task was destroyed", b"never retrieved", b"never awaited")


class End(StrEnum):
    """How a request ended, as its client sees it."""

    WHOLE = "whole answers"
    LEFT = "left by their clients"
    TOLD = "failed, and the client was told"
    WRONG = "wrong"


class Wish(NamedTuple):
    """What one client asks for. `leaves_s`: it does not wait any longer."""

    model: str
    streams: bool
    leaves_s: float | None

    @property
    def is_fine(self) -> bool:
        """Whether a whole answer is to come."""
        return self.model == "good/fine"


class Sample(msgspec.Struct, frozen=True):
    """The process tree at one moment. `bytes`: the memory that it has made itself."""

    at_s: float
    bytes: int
    descriptors: int
    threads: int


class Beat(msgspec.Struct, frozen=True):
    """A second of the worker's event loop, as bench/probe/pulse.py tells it."""

    tasks: int
    waited_ms: list[float]


class Soak(msgspec.Struct, frozen=True):
    """Everything that this part has found."""

    date: str
    machine: Facts
    for_s: float
    ends: dict[str, int]
    wrong: list[str]
    """What was wrong with the first of the wrong answers."""
    alarms: list[str]
    """Lines of the log that tell of an exception that nobody has handled."""
    samples: list[Sample]
    base: Sample
    """Before the load."""
    end: Sample
    """After it."""
    base_tasks: int
    most_tasks: int
    end_tasks: int
    waited_p50_ms: float
    waited_p99_ms: float
    waited_most_ms: float
    """How long a callback waited for its turn in the worker's loop."""


def wishes(dice: random.Random) -> Wish:
    """The next request."""
    model = f"faulty/{dice.choice(FAULTS)}" if dice.random() < FAILING else "good/fine"
    streams = dice.random() < STREAMING
    leaves_s = dice.uniform(*MIDWAY_S) if dice.random() < LEAVING else None
    return Wish(model, streams, leaves_s)


async def asked(port: int, wish: Wish) -> tuple[End, bytes]:
    """Ask for it, and see how it ends; with what came."""
    body = msgspec.json.encode(
        {"model": wish.model, "stream": wish.streams, "messages": [{"role": "user", "content": "Hi"}]}
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = bytearray()
    try:
        async with asyncio.timeout(wish.leaves_s or PATIENCE_S):
            writer.write(head.encode() + body)
            while piece := await reader.read(65536):
                said += piece
    except TimeoutError:
        return (End.WRONG if wish.leaves_s is None else End.LEFT), bytes(said)
    finally:
        writer.transport.abort()
    return judged(wish, bytes(said)), bytes(said)


def judged(wish: Wish, said: bytes) -> End:
    """Whether this is what the client was to get: the whole answer, or word of the failure and never a false end."""
    is_told = said.startswith(b"HTTP/1.1 ") and b'"error"' in said
    if not wish.is_fine:
        return End.TOLD if is_told and b"data: [DONE]" not in said else End.WRONG
    if wish.streams:
        is_whole = b"data: [DONE]" in said and text_of(said) == TEXT
    else:
        is_whole = b'"finish_reason":"stop"' in said and TEXT.encode() in said
    return End.WHOLE if said.startswith(b"HTTP/1.1 200 ") and is_whole and not is_told else End.WRONG


def text_of(said: bytes) -> str:
    """The words of a stream, put together; nothing where an event is broken. No event is spread over two chunks."""
    frames = [line.removeprefix(b"data: ") for line in said.splitlines() if line.startswith(b"data: {")]
    try:
        events = [msgspec.json.decode(frame, type=_Event) for frame in frames]
    except msgspec.DecodeError:
        return ""
    return "".join(choice.delta.content or "" for event in events for choice in event.choices)


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Event(msgspec.Struct):
    choices: list[_Choice] = []


class Load:
    """The clients. It owns the tasks of those that are under way, and what they have met."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._dice = random.Random(1)  # noqa: S311 - the same run each time, no secret
        self.ends: Counter[End] = Counter()
        self.wrong: list[str] = []

    async def run(self, for_s: float) -> None:
        """Ask at the rate, for so long, and wait for the last answers."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with asyncio.TaskGroup() as clients:
            for number in range(round(for_s * RATE_S)):
                await asyncio.sleep(begun + number / RATE_S - clock())
                clients.create_task(self._one(wishes(self._dice)))

    async def _one(self, wish: Wish) -> None:
        try:
            end, said = await asked(self._port, wish)
        except OSError as error:
            end, said = End.WRONG, repr(error).encode()
        self.ends[end] += 1
        if end is End.WRONG and len(self.wrong) < 10:
            self.wrong.append(f"{wish.model}, {'stream' if wish.streams else 'whole'}: {said[-300:]!r}")


class Watch:
    """Takes samples of the process tree while the load runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun = time.monotonic()
        self.samples: list[Sample] = []

    def look(self) -> Sample:
        """The tree now."""
        at_s = time.monotonic() - self._begun
        return Sample(at_s, cost.own_bytes(self._pid), cost.descriptors(self._pid), cost.threads(self._pid))

    async def run(self, every_s: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.samples.append(self.look())
            await asyncio.sleep(every_s)

    async def settled(self, base: Sample, at_most_s: float) -> Sample:
        """The tree once it is back at its base, or when that has taken too long."""
        deadline = time.monotonic() + at_most_s
        while (now := self.look()).descriptors > base.descriptors and time.monotonic() < deadline:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(1)
        return now


def configured(place: Place, pulse: Path) -> Server:
    """The server of the benchmark with two scripted providers, good and faulty, and a probe in its worker."""
    server = trunkline(place)
    rows = [
        f'[providers.{name}]\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{place.upstream}/v1"\n'
        'api_key = "env:PROVIDER_KEY"\ntimeouts = { first_token_s = 3, idle_bytes_s = 3, whole_s = 3 }\n'
        for name in ("good", "faulty")
    ]
    # No breaker opens: each request meets the fault that it asks for.
    rows.append("[breaker]\nconsecutive = 1_000_000_000\nleast = 1_000_000_000\n")
    (place.folder / "trunkline.toml").write_text('default_model = "good/fine"\n' + "\n".join(rows))
    path = os.pathsep.join(filter(None, [str(HERE / "probe"), os.environ.get("PYTHONPATH")]))
    more = {"PYTHONPATH": path, "BENCH_PULSE": str(pulse)}
    return server._replace(environment={**server.environment, **more}, model="good/", first="fine")


@asynccontextmanager
async def serving(folder: Path, pulse: Path) -> AsyncGenerator[Running]:
    """The router, and its providers. The router is started in a thread: its first answer comes from this process."""
    cores = Cores()
    async with ScriptedUpstream(FaultyProvider().answer, remember=10) as upstream:
        server = started(lambda place: configured(place, pulse), folder, upstream.port, cores)
        one = await asyncio.to_thread(server.__enter__)
        try:
            if isinstance(one, Missing):
                raise Broken(f"{one.name} is not there.")
            yield one
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def soaked(for_s: float, settling_s: float, folder: Path) -> Soak:
    """Load the router for so long, then wait at most so long until it is as before."""
    facts, pulse = machine.facts(), folder / "pulse"
    async with serving(folder / "server", pulse) as one:
        watch, load = Watch(one.pid), Load(one.port)
        await asyncio.sleep(RESTING_S)
        base, before = watch.look(), beats_of(pulse)
        watching = asyncio.create_task(watch.run(max(1.0, for_s / SAMPLES)))
        await load.run(for_s)
        during = beats_of(pulse)[len(before) :]
        watching.cancel()
        end = await watch.settled(base, settling_s)
        await asyncio.sleep(RESTING_S)
        after = beats_of(pulse)
    waited = sorted(ms for beat in during for ms in beat.waited_ms)
    if not (before and waited):
        raise Broken("The worker's event loop has told nothing.")
    return Soak(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=facts,
        for_s=for_s,
        ends={end.value: load.ends[end] for end in End},
        wrong=load.wrong,
        alarms=alarms_of(folder / "server" / "out"),
        samples=watch.samples,
        base=base,
        end=end,
        base_tasks=before[-1].tasks,
        most_tasks=max(beat.tasks for beat in during),
        end_tasks=after[-1].tasks,
        waited_p50_ms=waited[len(waited) // 2],
        waited_p99_ms=waited[len(waited) * 99 // 100],
        waited_most_ms=waited[-1],
    )


def beats_of(pulse: Path) -> list[Beat]:
    """What the worker has told so far."""
    if not pulse.exists():
        return []
    whole, _, _ = pulse.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=Beat) for line in whole.splitlines()]


def alarms_of(log: Path) -> list[str]:
    """The lines of the log that nobody wants to see."""
    with log.open("rb") as lines:
        return [line.decode(errors="replace").strip() for line in lines if any(one in line for one in ALARMS)]


def slope_mib_h(samples: Sequence[Sample]) -> tuple[float, float]:
    """By how much memory grows in an hour, and the bound of that at 95 %: least squares, samples as if independent."""
    warm_s = min(WARM_UP_S, samples[-1].at_s / 4)
    points = [(one.at_s / 3600, one.bytes / 2**20) for one in samples if one.at_s >= warm_s]
    if len(points) < 3:
        return math.nan, math.nan
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, slope + 1.96 * math.sqrt(rest / (len(points) - 2) / spread)


def run(for_s: float, settling_s: float) -> Soak:
    """Load the router for so long, with providers of its own, then wait at most so long until it is as before."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(soaked(for_s, settling_s, Path(folder)))


def checks(found: Soak) -> list[Check]:
    """What was found beside what it is to be."""
    slope, upper = slope_mib_h(found.samples)
    says_something = found.for_s >= TELLING_S
    base, end = found.base, found.end
    return [
        Check("memory grows by", slope if says_something else None, "MiB an hour", 1),
        Check("at most by, with 95 % confidence", upper if says_something else None, "MiB an hour", 3),
        Check("descriptors more than before", end.descriptors - base.descriptors, "", 5),
        Check("threads more than before", end.threads - base.threads, "", 5),
        Check("tasks more than before", found.end_tasks - found.base_tasks, "", 5),
        Check("the event loop lets a callback wait, p99", found.waited_p99_ms, "ms", 50),
        Check("exceptions that nobody handled, tasks that nobody awaited", len(found.alarms), "", 0),
        Check("answers that were not what they should be", found.ends[End.WRONG], "", 0),
    ]


def table(found: Soak) -> str:
    """All tables, and what they were made on."""
    minutes = found.for_s / 60
    ends = ", ".join(f"{count:,} {end}" for end, count in found.ends.items())
    load = f"{minutes:,.1f} minutes of {RATE_S} requests a second: {ends}."
    if found.for_s < TELLING_S:
        load += " **A short run: it says that this works, and nothing of what hours would show.**"
    memory = [one.bytes / 2**20 for one in (found.base, found.samples[-1], found.end)]
    rows = [
        ("memory", *(f"{mib:.1f} MiB" for mib in memory)),
        ("descriptors", *(f"{one.descriptors}" for one in (found.base, found.samples[-1], found.end))),
        ("threads", *(f"{one.threads}" for one in (found.base, found.samples[-1], found.end))),
        ("tasks", f"{found.base_tasks}", f"{found.most_tasks} at most", f"{found.end_tasks}"),
    ]
    parts = [
        load,
        plain_table(("", "before", "at the end of the load", "after"), *rows),
        check_table(checks(found)),
        f"{found.date}: {found.machine.line()}; load average {found.machine.load_average}.",
    ]
    return "\n\n".join(parts) + "\n"
