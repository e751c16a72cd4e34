"""What a request costs whose first target fails, beside one whose first target answers: CPU and time, as ratios.

The router is a process of its own; the client and the providers are this one. In each round every scene is measured,
one after the other, so that what else the machine does meets all of them; a ratio is always within one round. The wait
for a target that says nothing is not counted here: how long that is, is a timer's to say. `make bench-failover`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

import cost
from servers import KEPT, PATIENCE_S
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

SCENES: Final = {
    "plain": "the first target answers",
    "failed": "the first answers 500, the second answers",
    "refused": "nobody listens at the first, the second answers",
}
BASE: Final = "plain"
WORD: Final = b"word "
WORDS: Final = [WORD.decode()] * 20
WARM: Final = 50
"""Requests before the first round: what happens for the first time is not counted."""


class Load(NamedTuple):
    """What one scene has cost in one round: the router's CPU for a request, and how long requests took; seconds."""

    cpu_s: float
    median_s: float
    p99_s: float


async def measured(port: int, pid: int, scene: str, requests: int) -> Load:
    """Ask for so many streams of this scene, one after the other, on a connection that is kept."""
    clock = asyncio.get_running_loop().time
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = msgspec.json.encode({"model": scene, "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    asking = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    took: list[float] = []
    before = cost.cpu_s(pid)
    for _ in range(requests):
        begun = clock()
        writer.write(asking)
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.readuntil(b"0\r\n\r\n")
        took.append(clock() - begun)
        if not answer.startswith(b"HTTP/1.1 200 ") or b"data: [DONE]" not in answer or answer.count(WORD) != len(WORDS):
            raise RuntimeError(f"{scene}: {answer[:200]!r}")
    spent = cost.cpu_s(pid) - before
    writer.close()
    await writer.wait_closed()
    took.sort()
    return Load(spent / requests, took[requests // 2], took[int(0.99 * requests)])


@asynccontextmanager
async def routing(good: int, bad: int, dead: int, folder: Path) -> AsyncGenerator[tuple[int, int]]:
    """The router over these three providers: its port and its process. No breaker opens, no retry is refused."""
    ports = {"good": good, "bad": bad, "dead": dead}
    rows = [
        f'[providers.{name}]\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{port}/v1"\napi_key = "env:KEY"\n'
        'models = [{ id = "m" }]\n'
        for name, port in ports.items()
    ]
    routes = {"plain": ["good", "bad"], "failed": ["bad", "good"], "refused": ["dead", "good"]}
    rows += [f"[models.{scene}]\ntargets = {[f'{name}/m' for name in names]}\n" for scene, names in routes.items()]
    rows.append("[breaker]\nconsecutive = 1_000_000_000\nleast = 1_000_000_000\n")
    rows.append("[retries]\nconcurrent = 1_000_000_000\nreserve_per_s = 1_000_000_000\n")
    (folder / "trunkline.toml").write_text("\n".join(rows))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", "serve",
        cwd=folder,
        env=_environment(folder),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdout is None:
        raise RuntimeError("the router has no output")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.search(rb"http://[^:]+:(\d+)", line := await process.stdout.readline())):
                if not line:
                    raise RuntimeError("the router has ended")
        yield int(found.group(1)), process.pid
    finally:
        process.terminate()
        await process.wait()


def _environment(folder: Path) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PORT": "0", "KEY": "k", "LOG_LEVEL": "warning", "TRUNKLINE_DATA_DIR": str(folder)}


async def rounds(count: int, requests: int) -> list[dict[str, Load]]:
    """So many rounds of all scenes."""
    answer = script.chat_stream(WORDS)
    broken = script.openrouter_error(500, "broken")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        good = await stack.enter_async_context(ScriptedUpstream(lambda _: answer, remember=10))
        bad = await stack.enter_async_context(ScriptedUpstream(lambda _: broken, remember=10))
        async with ScriptedUpstream() as gone:
            dead = gone.port  # nobody listens there once it is closed
        port, pid = await stack.enter_async_context(routing(good.port, bad.port, dead, folder))
        for scene in SCENES:
            await measured(port, pid, scene, WARM)
        return [{scene: await measured(port, pid, scene, requests) for scene in SCENES} for _ in range(count)]


def table(measured_rounds: list[dict[str, Load]]) -> str:
    """The medians over all rounds; each ratio is the median of the ratios within a round."""
    lines = [
        "| | CPU, us a request | ratio | p50, ms | added, ms | p99, ms |",
        "|---|---|---|---|---|---|",
    ]
    for scene, title in SCENES.items():
        loads = [one[scene] for one in measured_rounds]
        ratio = statistics.median(one[scene].cpu_s / one[BASE].cpu_s for one in measured_rounds if one[BASE].cpu_s)
        added = statistics.median(one[scene].median_s - one[BASE].median_s for one in measured_rounds)
        cpu, p50, p99 = (statistics.median(getattr(one, name) for one in loads) for name in Load._fields)
        shown = (f"{cpu * 1e6:.0f}", f"{ratio:.2f}", f"{p50 * 1e3:.2f}", f"{added * 1e3:.2f}", f"{p99 * 1e3:.1f}")
        lines.append(f"| {title} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1_000, help="of each scene in each round")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the router is not left behind
    print(table(asyncio.run(rounds(given.rounds, given.requests))))


if __name__ == "__main__":
    main()
