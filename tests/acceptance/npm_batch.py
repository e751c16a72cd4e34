"""Every npm client through one router, against scripted vendors and against aimock: one batch for all the tests."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from acceptance.aimock import BASE_PATHS, NPM, aimock
from acceptance.sdk.stage import DIALECTS
from acceptance.sdk.talk import CALLS, CITY, HELLO, PIXEL, RESULTS, TOOLS, Picture, Spent
from acceptance.sdk.vendors.vendor import Answer, halves
from served import openrouter, serving
from trunkline.dialects import sse
from trunkline.upstream import script
from trunkline.upstream.script import End, Script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from acceptance.aimock import Received
    from acceptance.sdk.vendors.vendor import Told
    from trunkline.upstream.journal import Play, ReceivedRequest

CLIENTS: Final = ("openai_chat", "openai_responses", "anthropic_messages", "ai_openai_compatible", "ai_openrouter")
SCRIPTED: Final = tuple(f"scripted_{name}" for name in DIALECTS)
AIMOCK: Final = tuple(f"aimock_{name}" for name in BASE_PATHS)
SCENARIOS: Final = (
    "stream", "whole", "tools", "tools_whole", "answered", "structured", "image", "reasoning", "reasoning_whole",
    "unknown", "limited", "broken", "cut", "leave",
)  # fmt: skip
"""`broken` is nothing of aimock's: it breaks connections, not answers."""

SYSTEM: Final = "Be brief."
PICTURE: Final = Picture(data=PIXEL)
THOUGHTS: Final = "First, the light…"
BECAUSE: Final = "Because of Rayleigh."
SPENT: Final = Spent(21, 13, 5, 4)
COST: Final = 0.00042
RETRY_AFTER_S: Final = 3
BATCH_S: Final = 120.0
LEFT_S: Final = 10.0
"""A bound of the waiting, not of what is promised: that the tests look at."""

_ANSWERS: Final[Mapping[str, Answer]] = {
    "tools": Answer(calls=CALLS, finish="tools", spent=SPENT),
    "tools_whole": Answer(calls=CALLS, finish="tools", spent=SPENT),
    "structured": Answer(text=halves('{"city": "Paris", "unit": "c"}'), spent=SPENT),
    "reasoning": Answer(thoughts=halves(THOUGHTS), proof="c2lnbmVk", text=halves(BECAUSE), spent=SPENT),
    "reasoning_whole": Answer(thoughts=halves(THOUGHTS), proof="c2lnbmVk", text=halves(BECAUSE), spent=SPENT),
}
_HELLO: Final = Answer(text=halves(HELLO), spent=SPENT)
_BEGUN: Final = Answer(text=halves(HELLO)[:1], spent=SPENT, finish=None)

_BUSY: Final = "The model is overloaded"
_BREAKS: Final[Mapping[str, bytes]] = {
    "openai_chat": sse.event(b'{"error":{"code":502,"message":"%b"}}' % _BUSY.encode()),
    "openai_responses": (
        b'event: response.failed\ndata: {"type":"response.failed","sequence_number":99,"response":{"id":"resp_vendor",'
        b'"object":"response","status":"failed","output":[],"error":{"code":"server_error","message":"%b"}}}\n\n'
        % _BUSY.encode()
    ),
    "anthropic_messages": (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"%b"}}\n\n' % _BUSY.encode()
    ),
    "gemini": sse.event(b'{"error":{"code":503,"message":"%b","status":"UNAVAILABLE"}}' % _BUSY.encode()),
}
"""The event with which each vendor breaks a stream off."""

_SLOW_DOWN: Final = "Slow down, please"
_LIMITS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openai_chat": {"error": {"message": _SLOW_DOWN, "type": "requests", "code": "rate_limit_exceeded"}},
    "openai_responses": {"error": {"message": _SLOW_DOWN, "type": "requests", "code": "rate_limit_exceeded"}},
    "anthropic_messages": {"type": "error", "error": {"type": "rate_limit_error", "message": _SLOW_DOWN}},
    "gemini": {"error": {"code": 429, "message": _SLOW_DOWN, "status": "RESOURCE_EXHAUSTED"}},
}

_PROMPT = re.compile(r"scenario=(\w+); client=(\w+);")


class SeenCall(msgspec.Struct, frozen=True):
    """A tool call as a client saw it: its arguments as JSON, and in how many pieces they came."""

    name: str
    input: str
    pieces: int

    @property
    def what(self) -> tuple[str, dict[str, Any]]:
        """The call, decoded."""
        return self.name, msgspec.json.decode(self.input)


class SeenError(msgspec.Struct, frozen=True):
    """An error as a client raised it. `status` is None for one within a stream."""

    name: str
    message: str
    status: int | None
    request_id: str | None
    retry_after: str | None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one client saw in one scenario. `left_at` is when it left, by the event loop's clock."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[SeenCall, ...] = ()
    finish: str = ""
    usage: Spent | None = None
    cost: float | None = None
    provider: str | None = None
    value: Any = None
    error: SeenError | None = None
    left_at: float | None = None


Place = tuple[str, str, str]
"""Client, upstream, scenario."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What came of everything.

    `told` is what reached the scripted vendors, `understood` the same of aimock; `closed` is how long after its client
    an upstream's connection was gone, in seconds.
    """

    seen: Mapping[Place, Seen]
    told: Mapping[Place, Told]
    understood: Mapping[Place, Received]
    closed: Mapping[Place, float]


def _answer(dialect: str) -> Callable[[ReceivedRequest], Script]:
    """What this vendor plays for the scenario that the user's words name."""
    vendor = DIALECTS[dialect]

    def answer(request: ReceivedRequest) -> Script:
        scenario, _ = _asked(request.body.decode())
        match scenario:
            case "limited":
                headers = (("retry-after", str(RETRY_AFTER_S)),)
                return script.json_error(429, _LIMITS[vendor.name], headers)
            case "broken":
                begun = vendor.stream(_BEGUN)
                return begun.but(body=(*begun.body, _BREAKS[vendor.name]))
            case "cut":
                return vendor.stream(_BEGUN).but(end=End.RST)
            case "leave":
                return vendor.stream(_BEGUN).but(end=End.STALL)
            case "stream" if dialect == "openrouter":
                return script.openrouter_stream(halves(HELLO), usage=(SPENT.input, SPENT.output), cost=COST)
            case _:
                given = _ANSWERS.get(scenario, _HELLO)
                return vendor.stream(given) if vendor.streams(request) else vendor.whole(given)

    return answer


def _asked(words: str) -> tuple[str, str]:
    """Scenario and client, from whatever holds the user's words."""
    found = _PROMPT.search(words)
    assert found is not None, words[:500]
    return found[1], found[2]


def _row(name: str, dialect: str, base_url: str) -> str:
    return f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{base_url}"\napi_key = "env:KEY"\n'


async def _drive(client: str, url: str) -> dict[Place, Seen]:
    """One client through everything, in a process of its own."""
    asked = {
        "url": url,
        "upstreams": [*SCRIPTED, *AIMOCK],
        "scenarios": SCENARIOS,
        "system": SYSTEM,
        "tools": TOOLS,
        "calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments, "result": result}
            for call, result in zip(CALLS, RESULTS, strict=True)
        ],
        "picture": PICTURE.address,
        "schema": CITY,
    }
    process = await asyncio.create_subprocess_exec(
        "node", f"{client}.mjs", cwd=NPM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BATCH_S):
            told, _ = await process.communicate(msgspec.json.encode(asked))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{client}.mjs ended with {process.returncode}"
    seen = msgspec.json.decode(told, type=dict[str, dict[str, Seen]])
    return {(client, upstream, scenario): one for upstream, ones in seen.items() for scenario, one in ones.items()}


async def run(directory: Path) -> Batch:
    """Run every client through everything."""
    async with AsyncExitStack() as stack:
        vendors = {name: await stack.enter_async_context(ScriptedUpstream(_answer(name))) for name in DIALECTS}
        mock = await stack.enter_async_context(aimock())
        rows = [_row(f"scripted_{name}", DIALECTS[name].name, one.base_url) for name, one in vendors.items()]
        rows += [_row(f"aimock_{name}", name, mock.url + path) for name, path in BASE_PATHS.items()]
        (directory / "trunkline.toml").write_text("\n".join(rows))
        settings = openrouter(vendors["openrouter"], directory, {"KEY": "k"})
        router = await stack.enter_async_context(serving(settings))
        seen: dict[Place, Seen] = {}
        for one in await asyncio.gather(*(_drive(client, router.url) for client in CLIENTS)):
            seen.update(one)
        plays = {
            _place(f"scripted_{name}", play.request.body.decode()): play
            for name, vendor in vendors.items()
            for play in vendor.plays
        }
        leaves = [place for place in seen if place[2] == "leave"]
        await mock.wait_for_unfinished(len(CLIENTS) * len(AIMOCK) * 2, LEFT_S)
        understood = {_place_in_aimock(one): one for one in await mock.journal()}
        unfinished = {place: mock.unfinished.get(one.request_id) for place, one in understood.items()}
        return Batch(
            seen=seen,
            told={place: _told(place, play) for place, play in plays.items()},
            understood=understood,
            closed={
                place: _after(seen[place].left_at, plays[place].left_at if place in plays else unfinished[place])
                for place in leaves
            },
        )


def _place(upstream: str, words: str) -> Place:
    scenario, client = _asked(words)
    return client, upstream, scenario


def _place_in_aimock(received: Received) -> Place:
    """Two of the dialects have one path each; the others tell themselves apart by theirs, too."""
    dialect = next(
        name
        for name, part in {
            "openai_chat": "/chat/completions",
            "openai_responses": "/responses",
            "anthropic_messages": "/messages",
            "gemini": "GenerateContent",
        }.items()
        if part.lower() in received.path.lower()
    )
    return _place(f"aimock_{dialect}", msgspec.json.encode(received.body["messages"]).decode())


def _told(place: Place, play: Play) -> Told:
    return DIALECTS[place[1].removeprefix("scripted_")].told(play.request)


def _after(left_at: float | None, gone_at: float | None) -> float:
    """Infinite where somebody never left."""
    return float("inf") if left_at is None or gone_at is None else gone_at - left_at
