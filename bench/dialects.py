"""What the dialects cost: CPU for a frame and a body that pass verbatim, and the longest stall of the event loop.

Times are the process's own CPU time, the least and the median of many runs; a target is held against the least, which a
busy machine disturbs little. The stall is wall time, which a busy machine lengthens; its target is held against the
median. `make bench-dialects` prints the table; with `--write` it goes to docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from base64 import b64encode
from datetime import UTC, datetime
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
import uvloop

import machine
from page import write_section
from trunkline.app import EGRESSES, SWITCH_S
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Model, Origin, Provider, Target
from trunkline.core.reply import BlockKind, Delta, Finish, FinishReason, Head, Start, Usage
from trunkline.dialects.anthropic_messages.sides import AnthropicMessagesIngress
from trunkline.dialects.dialect import Opening
from trunkline.dialects.gemini.sides import GeminiIngress
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.sse import Framer
from trunkline.gateway.admission import admit
from trunkline.gateway.exchange import Tally
from trunkline.gateway.off_loop import DEEP_BYTES, off_loop
from trunkline.routing.health import FRESH
from trunkline.routing.plan import Rules, Wanted, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.call import Envelope
    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import WholeIngress
    from trunkline.routing.health import Standing

INGRESSES: dict[str, WholeIngress] = {
    "openai_chat": OpenAIChatIngress(),
    "openai_responses": OpenAIResponses(),
    "anthropic_messages": AnthropicMessagesIngress(),
    "gemini": GeminiIngress("openai_chat/m", stream=True),
}
OPENING = Opening(id="bench", model="m", created=0, wants_usage=True)
TENANT = Caller(scopes=frozenset())
FRAME_US, BODY_US, STALL_MS = 5.0, 60.0, 5.0
FRAMES = 200
SHORT_TURNS = 9_990
"""A request has at most 10,000: so many make up a MiB."""
US, MS = "us of CPU", "ms of stall"

PROSE = "The quick brown fox jumps over the lazy dog. "
CODE = 'def f(x):\n\tif x == "a\\b":\n\t\treturn {"k": [1, 2]}\n'
HAN = "敏捷的棕色狐狸跳过了懒狗。"


class Spent(NamedTuple):
    """The least and the median of many runs."""

    least: float
    median: float

    def over(self, other: Spent) -> Spent:
        """What this took more than that."""
        return Spent(self.least - other.least, self.median - other.median)


class Row(NamedTuple):
    """One figure: what was measured, in which dialect, and the most that it should be; None where none is set."""

    what: str
    dialect: str
    spent: Spent
    unit: str
    target: float | None

    @property
    def verdict(self) -> str:
        """Whether the target is met."""
        if self.target is None:
            return ""
        held = self.spent.least if self.unit == US else self.spent.median
        return "met" if held <= self.target else "**not met**"


def cpu_us(work: Callable[[], object], runs: int, times: int = 20) -> Spent:
    """CPU microseconds of one call: over so many runs of `times` calls each."""
    spent: list[float] = []
    for _ in range(runs):
        begun = time.process_time_ns()
        for _ in range(times):
            work()
        spent.append((time.process_time_ns() - begun) / times / 1000)
    return Spent(min(spent), median(spent))


def target_of(dialect: str) -> Target:
    """A model of a provider that speaks this dialect."""
    provider = Provider(name=dialect, label=dialect, dialect=dialect, origin=Origin("https", "p.test", 443), path="/v1")
    return Target(provider, Model(id="m"))


CATALOG = Catalog(providers=tuple(target_of(dialect).provider for dialect in INGRESSES))


def _fresh(_: Target) -> Standing:
    return FRESH


RULES = Rules({name: egress.offers for name, egress in EGRESSES.items()}, _fresh, lambda: 0.5)


def body_of(dialect: str, size: int, kind: str) -> bytes:
    """A request of about so many bytes: prose, code, Chinese, many turns of a few words, or one picture."""
    if kind == "a picture":
        data = b64encode(bytes(size * 3 // 4)).decode()
        parts: dict[str, Any] = {
            "openai_chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            "openai_responses": {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
            "anthropic_messages": {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": data},
            },
            "gemini": {"inlineData": {"mimeType": "image/png", "data": data}},
        }
        content: Any = [parts[dialect]]
        turns = [content]
    elif kind == "short turns":
        turns = ["Yes, go on." * 6] * (size // 100 | 1)
    else:
        text = {"prose": PROSE, "code": CODE, "Chinese": HAN}[kind]
        each = text * (2000 // len(text.encode()))
        count = size // len(msgspec.json.encode(each))
        turns = [each] * (count + 1 - count % 2)
    roles = ("user", "model" if dialect == "gemini" else "assistant")
    if dialect == "gemini":
        contents = [
            {"role": roles[place % 2], "parts": turn if isinstance(turn, list) else [{"text": turn}]}
            for place, turn in enumerate(turns)
        ]
        return msgspec.json.encode({"contents": contents})
    messages = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]
    key = "input" if dialect == "openai_responses" else "messages"
    more = {"max_tokens": 100} if dialect == "anthropic_messages" else {}
    return msgspec.json.encode({"model": f"{dialect}/m", key: messages, "stream": True, **more})


def pass_body(dialect: str, body: bytes, caller: Caller) -> Envelope:
    """All that a body goes through where client and provider speak the same dialect."""
    ingress = INGRESSES[dialect]
    envelope = ingress.peek(body)
    admit(ingress, envelope, caller)
    plan(Wanted(envelope, dialect, caller, CATALOG, lambda: ingress.facts(envelope), size=len(body)), RULES)
    EGRESSES[dialect].splice(body, envelope, target_of(dialect))
    return envelope


def stream_of(dialect: str) -> list[bytes]:
    """A stream of text, frame by frame, as this dialect writes it."""
    writer = INGRESSES[dialect].writer(OPENING)
    begun: list[Event] = [Head(id="a", model="m"), Start(0, BlockKind.TEXT)]
    pieces = [writer.write(begun)]
    pieces += [writer.write([Delta(0, f" word{number}")]) for number in range(FRAMES)]
    pieces.append(writer.write([Usage(input_tokens=9, output_tokens=FRAMES), Finish(FinishReason.STOP)]))
    return [piece for piece in pieces if piece]


def frame_us(dialect: str, runs: int) -> Spent:
    """CPU of one frame that passes verbatim, less that of copying its bytes."""
    chunks = stream_of(dialect)
    target, egress, ingress = target_of(dialect), EGRESSES[dialect], INGRESSES[dialect]

    def verbatim() -> None:
        framer, reader, forwarder = Framer(), egress.reader(target), ingress.forwarder(OPENING)
        tally = Tally(keeps_text=False, commits_on_reasoning=True)
        for chunk in chunks:
            frames = framer.feed(chunk)
            events: list[Event] = []
            for frame in frames:
                events += reader.read(frame)
            tally.add(events, 0.0)
            b"".join([forwarder.forward(frame) for frame in frames])

    def blind() -> None:
        for chunk in chunks:
            b"".join([chunk])

    both = cpu_us(verbatim, runs, 5).over(cpu_us(blind, runs, 5))
    return Spent(both.least / len(chunks), both.median / len(chunks))


def body_us(dialect: str, kind: str, caller: Caller, runs: int) -> Spent:
    """CPU of a body of 100 KiB that passes verbatim, less that of copying it."""
    body = body_of(dialect, 100 * 1024, kind)
    return cpu_us(lambda: pass_body(dialect, body, caller), runs).over(cpu_us(lambda: body + b" ", runs))


async def stall_ms(work: Callable[[], object], *, is_large: bool, times: int) -> Spent:
    """How late the event loop is at most while this runs as the gateway runs it, in each of so many runs."""
    worst: list[float] = []
    for _ in range(times):
        late = 0.0
        is_over = False

        async def tick() -> None:
            nonlocal late
            while not is_over:  # noqa: B023 - one task for each run, ended before the next
                begun = time.perf_counter()
                await asyncio.sleep(0)
                late = max(late, time.perf_counter() - begun)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0.01)
        late = 0.0
        await off_loop(is_large, work)
        is_over = True
        await ticking
        worst.append(late * 1000)
    return Spent(min(worst), median(worst))


async def stalls(times: int, size: int = SHORT_TURNS * 100) -> list[Row]:
    """The stalls of bodies of about 1 MiB: verbatim, and from each dialect into each other."""
    sys.setswitchinterval(SWITCH_S)
    rows: list[Row] = []
    for kind, (dialect, ingress) in product(("prose", "short turns"), INGRESSES.items()):
        body = body_of(dialect, size, kind)
        passing = await stall_ms(lambda d=dialect, b=body: pass_body(d, b, TENANT), is_large=True, times=times)
        rows.append(Row(f"1 MiB of {kind}, verbatim", dialect, passing, MS, STALL_MS))
        for name, egress in EGRESSES.items():
            if name == dialect:
                continue

            def translate(i: Any = ingress, b: bytes = body, e: Any = egress, n: str = name) -> object:
                return e.write_call(i.read_call(b), target_of(n))

            late = await stall_ms(translate, is_large=size >= DEEP_BYTES, times=times)
            rows.append(Row(f"1 MiB of {kind}, translated for {name}", dialect, late, MS, STALL_MS))
    return rows


def measured(runs: int, times: int) -> list[Row]:
    """Every figure."""
    rows = [Row("a frame, verbatim", name, frame_us(name, runs), US, FRAME_US) for name in INGRESSES]
    for kind in ("prose", "code", "Chinese", "a picture"):
        what = f"100 KiB of {kind}, verbatim"
        rows += [Row(what, name, body_us(name, kind, Caller(), runs), US, BODY_US) for name in INGRESSES]
    what = "100 KiB of prose, verbatim, by a key without scopes"
    rows += [Row(what, name, body_us(name, "prose", TENANT, runs), US, None) for name in INGRESSES]
    gc.freeze()  # as a worker does
    return rows + uvloop.run(stalls(times))


def table(rows: list[Row], today: str) -> str:
    """The figures as a table."""
    lines = ["| what | dialect | least | median | | target | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        target = "" if row.target is None else f"{row.target:g}"
        figures = f"{row.spent.least:.1f} | {row.spent.median:.1f} | {row.unit}"
        lines.append(f"| {row.what} | `{row.dialect}` | {figures} | {target} | {row.verdict} |")
    facts = machine.facts()
    lines += ["", f"{today}: {facts.line()}; load average {facts.load_average}.", ""]
    return "\n".join(lines)


def main() -> int:
    """Print the table, or write the page."""
    parser = argparse.ArgumentParser(description=cast("str", __doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=60, help="runs of each figure")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    given = parser.parse_args()
    text = table(measured(given.runs, max(3, given.runs // 6)), f"{datetime.now(UTC):%Y-%m-%d}")
    print(text)
    if given.write:
        write_section("dialects", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
