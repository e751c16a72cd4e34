"""An answer that breaks in the middle of its text goes on at another target, and its client sees one clean stream."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Model, Provider, Quirks, Resume, Target, split_base_url
from trunkline.core.problem import Kind, Problem
from trunkline.core.record import Outcome, Record
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.gateway.attempt import Attempter
from trunkline.gateway.exchange import Exchange
from trunkline.gateway.failover import Failover
from trunkline.gateway.gateway import Gateway
from trunkline.gateway.resumption import GO_ON, may_overlap, overlap
from trunkline.routing.health import FRESH, Health
from trunkline.routing.plan import Plan, Step
from trunkline.upstream import script
from trunkline.upstream.client import Client
from trunkline.upstream.script import End
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ASKED: dict[str, Any] = {"model": "r", "messages": [{"role": "user", "content": "Tell me"}], "stream": True}


class Walks:
    """A gateway over two providers that go on from a text that has begun."""

    def __init__(self, client: Client, resume: Resume | None, *upstreams: ScriptedUpstream, prefill: bool) -> None:
        self.records: list[Record] = []
        steps: list[Step] = []
        for number, upstream in enumerate(upstreams):
            origin, path = split_base_url(upstream.base_url)
            provider = Provider(
                name=f"p{number}",
                label=f"P{number}",
                dialect="openai_chat",
                origin=origin,
                path=path,
                allow_private=True,
                quirks=Quirks(prefill=prefill),
            )
            steps.append(Step(Target(provider, Model(id="m")), FRESH, None, ""))
        attempter = Attempter(client, {"openai_chat": OpenAIChat()}, max_event_bytes=1 << 20)
        health = Health(HealthLimits(), BreakerLimits(), chance=lambda: 0.0)
        self.gateway = Gateway(
            planner=lambda _: Plan(tuple(steps), resume=resume),
            failover=Failover(attempter, health, RetryLimits(), chance=lambda: 0.0),
            history=None,
            sinks=(self,),
        )

    def accept(self, record: Record) -> None:
        self.records.append(record)

    async def ask(self, **more: Any) -> tuple[str, list[dict[str, Any]], Problem | None]:
        """The text, every chunk, and the problem that ended it."""
        ingress = OpenAIChatIngress()
        body = msgspec.json.encode({**ASKED, **more})
        exchange = Exchange(
            id="r1",
            route="/v1/chat/completions",
            ingress=ingress,
            body=body,
            envelope=ingress.peek(body),
            caller=Caller(),
            catalog=Catalog(providers=()),
            started=asyncio.get_running_loop().time(),
        )
        raw, ended = b"", None
        try:
            async with self.gateway.open(exchange) as chunks:
                async for chunk in chunks:
                    raw += chunk
        except Problem as problem:
            ended = problem
        data = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
        told = [json.loads(one) for one in data if one != "[DONE]"]
        assert (data[-1] == "[DONE]") is (ended is None)
        text = "".join(one["choices"][0]["delta"].get("content") or "" for one in told if one["choices"])
        return text, told, ended


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    one = Client()
    yield one
    await one.aclose()


@pytest.fixture
async def second() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream() as scripted:
        yield scripted


CUT = script.chat_stream(["The sky ", "is blue be"], finish=None, done=False)


@pytest.mark.parametrize("end", [End.CLEAN, End.FIN, End.RST])
async def test_the_text_goes_on_where_it_broke_and_the_seam_does_not_show(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream, end: End
) -> None:
    upstream.play(CUT.but(end=end))
    second.play(script.chat_stream(["blue because ", "of the air."], usage=(20, 6)))
    walks = Walks(client, Resume.PREFILL, upstream, second, prefill=True)
    text, told, problem = await walks.ask(max_tokens=100, stop=["END"])
    assert (text, problem) == ("The sky is blue because of the air.", None)
    assert len({(one["id"], one["model"], one["created"]) for one in told}) == 1
    assert [one["choices"][0]["finish_reason"] for one in told if one["choices"]][-1] == "stop"
    (asked,) = (request.json() for request in second.requests)
    assert asked["messages"][-1] == {"role": "assistant", "content": "The sky is blue be"}
    assert (asked["max_tokens"], asked["stop"]) == (96, ["END"])
    (record,) = walks.records
    assert (record.outcome, record.seams, record.provider) == (Outcome.COMPLETE, (18,), "p1")
    assert [(one.charged, one.problem) for one in record.attempts][1] == (True, None)
    assert record.attempts[0].charged


async def test_targets_that_are_not_known_to_go_on_are_told_to_in_words_where_the_route_says_so(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(CUT)
    second.play(script.chat_stream(["cause."]))
    text, _, problem = await Walks(client, Resume.INSTRUCT, upstream, second, prefill=False).ask()
    assert (text, problem) == ("The sky is blue because.", None)
    assert second.requests[0].json()["messages"][-1] == {"role": "user", "content": GO_ON}


@pytest.mark.parametrize(
    ("resume", "prefill", "more"),
    [
        (None, True, {}),
        (Resume.PREFILL, False, {}),
        (Resume.PREFILL, True, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (Resume.PREFILL, True, {"response_format": {"type": "json_object"}}),
    ],
    ids=["not asked for", "no target goes on", "tools", "a form"],
)
async def test_elsewhere_the_break_is_told_and_nobody_else_is_asked(
    client: Client,
    upstream: ScriptedUpstream,
    second: ScriptedUpstream,
    *,
    resume: Resume | None,
    prefill: bool,
    more: dict[str, Any],
) -> None:
    upstream.play(CUT)
    text, _, problem = await Walks(client, resume, upstream, second, prefill=prefill).ask(**more)
    assert text == "The sky is blue be"
    assert problem is not None
    assert problem.kind is Kind.TRUNCATED
    assert second.requests == []


async def test_a_thought_that_breaks_is_not_gone_on_with(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    thinking = b'data: {"choices":[{"index":0,"delta":{"reasoning":"Hm"},"finish_reason":null}]}\n\n'
    upstream.play(script.Script(body=(thinking,)))
    _, _, problem = await Walks(client, Resume.PREFILL, upstream, second, prefill=True).ask()
    assert problem is not None
    assert second.requests == []


async def test_where_nobody_can_go_on_the_first_break_is_what_the_client_hears(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(CUT, script.openrouter_error(503, "busy"))
    second.play(script.openrouter_error(429, "slow"))
    walks = Walks(client, Resume.PREFILL, upstream, second, prefill=True)
    text, _, problem = await walks.ask()
    assert (text, problem and problem.kind) == ("The sky is blue be", Kind.TRUNCATED)
    (record,) = walks.records
    assert (record.outcome, record.seams, len(record.attempts)) == (Outcome.CUT, (), 3)


async def test_a_text_may_break_more_than_once(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["One, "], finish=None, done=False), script.chat_stream(["two, three."]))
    second.play(script.chat_stream(["One, two"], finish=None, done=False))
    text, _, problem = await Walks(client, Resume.PREFILL, upstream, second, prefill=True).ask()
    assert (text, problem) == ("One, two, three.", None)


WORDS = st.text("ab ", max_size=30)


@given(WORDS, WORDS, WORDS)
def test_what_is_repeated_is_left_out_and_nothing_else(before: str, repeated: str, after: str) -> None:
    seen = before + repeated
    length = overlap(seen, repeated + after)
    assert length >= len(repeated)
    assert seen.endswith((repeated + after)[:length])


@given(WORDS, WORDS)
def test_cutting_the_continuation_anywhere_leaves_out_the_same(before: str, after: str) -> None:
    """A seam is closed as soon as no longer overlap can come, and never before."""
    for cut in range(1, len(after) + 1):
        if not may_overlap(before, after[:cut]):
            assert overlap(before, after[:cut]) == overlap(before, after)
            break
