"""An answer that breaks in the middle of its text goes on at another target, and its client sees one clean stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.walks import Reading, Walks, exchange_of, target
from trunkline.core.catalog import Quirks, Resume
from trunkline.core.problem import Kind, Problem
from trunkline.core.record import Outcome
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.gateway.resumption import GO_ON, may_overlap, overlap
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from trunkline.upstream.client import Client
    from trunkline.upstream.scripted import ScriptedUpstream

ASKED: dict[str, Any] = {"model": "r", "messages": [{"role": "user", "content": "Tell me"}], "stream": True}


def resuming(client: Client, resume: Resume | None, *upstreams: ScriptedUpstream, prefill: bool) -> Walks:
    """A gateway over providers that go on from a text that has begun, or do not."""
    quirks = Quirks(prefill=prefill)
    targets = [target(f"p{number}", upstream, quirks=quirks) for number, upstream in enumerate(upstreams)]
    return Walks(client, *targets, resume=resume)


async def ask(walks: Walks, **more: Any) -> tuple[str, list[dict[str, Any]], Problem | None]:
    """The text, every chunk, and the problem that ended it."""
    exchange = exchange_of(OpenAIChatIngress(), msgspec.json.encode({**ASKED, **more}), route="/v1/chat/completions")
    client, ended = Reading(), None
    try:
        await walks.pour(exchange, client)
    except Problem as problem:
        ended = problem
    data = [line[6:] for line in client.read.decode().splitlines() if line.startswith("data: ")]
    told = [json.loads(one) for one in data if one != "[DONE]"]
    assert (data[-1] == "[DONE]") is (ended is None)
    text = "".join(one["choices"][0]["delta"].get("content") or "" for one in told if one["choices"])
    return text, told, ended


CUT = script.chat_stream(["The sky ", "is blue be"], finish=None, done=False)


@pytest.mark.parametrize("end", [End.CLEAN, End.FIN, End.RST])
async def test_the_text_goes_on_where_it_broke_and_the_seam_does_not_show(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream, end: End
) -> None:
    upstream.play(CUT.but(end=end))
    second.play(script.chat_stream(["blue because ", "of the air."], usage=(20, 6)))
    walks = resuming(client, Resume.PREFILL, upstream, second, prefill=True)
    text, told, problem = await ask(walks, max_tokens=100, stop=["END"])
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
    text, _, problem = await ask(resuming(client, Resume.INSTRUCT, upstream, second, prefill=False))
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
    text, _, problem = await ask(resuming(client, resume, upstream, second, prefill=prefill), **more)
    assert text == "The sky is blue be"
    assert problem is not None
    assert problem.kind is Kind.TRUNCATED
    assert second.requests == []


async def test_a_refusal_to_go_on_is_not_lost(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    refusal = b'data: {"choices":[{"index":0,"delta":{"refusal":" I will not go on."},"finish_reason":null}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    upstream.play(CUT)
    second.play(script.Script(body=(refusal, end)))
    text, _, problem = await ask(resuming(client, Resume.PREFILL, upstream, second, prefill=True))
    assert (text, problem) == ("The sky is blue be I will not go on.", None)


async def test_a_refusal_is_of_the_text_that_history_stores(client: Client, upstream: ScriptedUpstream) -> None:
    refusal = b'data: {"choices":[{"index":0,"delta":{"refusal":"I will not."},"finish_reason":null}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    upstream.play(script.Script(body=(refusal, end)))
    exchange = exchange_of(OpenAIChatIngress(), msgspec.json.encode(ASKED), route="/v1/chat/completions")
    await resuming(client, Resume.PREFILL, upstream, prefill=True).pour(exchange, Reading())
    assert exchange.text == "I will not."


async def test_a_thought_that_breaks_is_not_gone_on_with(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    thinking = b'data: {"choices":[{"index":0,"delta":{"reasoning":"Hm"},"finish_reason":null}]}\n\n'
    upstream.play(script.Script(body=(thinking,)))
    _, _, problem = await ask(resuming(client, Resume.PREFILL, upstream, second, prefill=True))
    assert problem is not None
    assert second.requests == []


async def test_where_nobody_can_go_on_the_first_break_is_what_the_client_hears(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(CUT, script.openrouter_error(503, "busy"))
    second.play(script.openrouter_error(429, "slow"))
    walks = resuming(client, Resume.PREFILL, upstream, second, prefill=True)
    text, _, problem = await ask(walks)
    assert (text, problem and problem.kind) == ("The sky is blue be", Kind.TRUNCATED)
    (record,) = walks.records
    assert (record.outcome, record.seams, len(record.attempts)) == (Outcome.CUT, (), 3)


async def test_a_text_may_break_more_than_once(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["One, "], finish=None, done=False), script.chat_stream(["two, three."]))
    second.play(script.chat_stream(["One, two"], finish=None, done=False))
    text, _, problem = await ask(resuming(client, Resume.PREFILL, upstream, second, prefill=True))
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
