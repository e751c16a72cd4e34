"""OpenAI's older completions: what of a prompt is read, what is refused, and what is written as real servers do."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from dialects import hub_strategies as hub
from dialects.every_dialect import OPENING
from trunkline.core.call import Call, Message, Role, Text
from trunkline.core.problem import Kind, Problem, Source
from trunkline.core.reply import BlockKind, Delta, End, Finish, FinishReason, Head, Reply, Start, Usage, fold, unfold
from trunkline.dialects.openai_chat.completions import OpenAICompletionsIngress
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from trunkline.core.reply import Event

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_completions"
INGRESS = OpenAICompletionsIngress()
REPLIES = hub.replies(hub.blocks(kinds=[BlockKind.TEXT, BlockKind.REASONING]))


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "prompt": "Tell", **fields})


def read(asked: bytes) -> Call:
    INGRESS.peek(asked)
    return INGRESS.read_call(asked)


def problem_of(asked: bytes) -> Problem | None:
    try:
        read(asked)
    except Problem as problem:
        return problem
    return None


def chunks(events: list[Event], *, wants_usage: bool = True) -> list[Any]:
    """The JSON of every event, and the sentinel's text."""
    opening = msgspec.structs.replace(OPENING, wants_usage=wants_usage)
    frames = Framer().feed(INGRESS.writer(opening).write(events))
    return [json.loads(frame.data) if frame.data.startswith(b"{") else frame.data for frame in frames]


def test_a_prompt_is_one_message_of_the_users() -> None:
    call = read(body(stop=["."], seed=3, temperature=0.5, top_p=0.9, top_k=4, user="u", max_tokens=7))
    assert call.messages == (Message(Role.USER, (Text("Tell"),)),)
    assert (call.stop, call.seed, call.temperature, call.top_p, call.top_k) == ((".",), 3, 0.5, 0.9, 4)
    assert (call.user, call.max_tokens, call.defaulted) == ("u", 7, frozenset())


def test_the_limit_is_openais_where_none_is_given() -> None:
    assert (read(body()).max_tokens, read(body()).defaulted) == (16, {"max_tokens"})
    assert INGRESS.peek(body()).max_tokens == 16


@pytest.mark.parametrize("given", [b'"Tell"', b'["Tell"]', b'[ "Tell" ]', b'[\n"Tell"]'])
def test_a_list_of_one_text_is_that_text(given: bytes) -> None:
    assert read(b'{"model":"m","prompt":' + given + b"}").messages[0].text == "Tell"


@pytest.mark.parametrize(
    "asked", [{"stream_options": {"include_usage": True}}, {"usage": {"include": True}}], ids=["openai", "openrouter"]
)
def test_usage_is_asked_for_in_either_way(asked: dict[str, Any]) -> None:
    assert INGRESS.peek(body(**asked)).wants_usage is True
    assert read(body(**asked)).extras is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"n": -3}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": 5}, "stop"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_a_conversation_has_no_place_for_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    problem = problem_of(body(**fields))
    assert problem is not None
    assert (problem.kind, problem.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize("fields", [{"n": 1}, {"best_of": 1}, {"echo": False}, {"suffix": ""}, {"suffix": None}])
def test_what_asks_for_nothing_is_taken(fields: dict[str, Any]) -> None:
    assert read(body(**fields)) == read(body())


def test_what_is_not_known_is_left_to_be_named() -> None:
    extras = read(body(logit_bias={"1": 2})).extras
    assert extras is not None
    assert [name for name, _ in extras.fields] == ["logit_bias"]


def test_a_stream_has_the_form_of_a_real_servers() -> None:
    frames = Framer().feed((TRANSCRIPTS / "llamacpp.sse").read_bytes())
    real = [json.loads(frame.data) for frame in frames if frame.data.startswith(b"{")]
    events = unfold(fold(hub_answer("Once")))
    ours = [chunk for chunk in chunks(list(events), wants_usage=False) if isinstance(chunk, dict)]
    assert set(ours[0]) <= set(real[0])
    assert set(ours[0]["choices"][0]) == set(real[0]["choices"][0])
    assert ours[0]["object"] == real[0]["object"] == "text_completion"
    assert frames[-1].data == b"[DONE]"


def test_a_whole_answer_has_the_form_of_a_real_servers() -> None:
    real = json.loads((TRANSCRIPTS / "llamacpp.json").read_bytes())
    ours = json.loads(INGRESS.write_reply(fold(hub_answer("Once")), OPENING))
    assert set(ours) <= set(real)
    assert set(ours["choices"][0]) == set(real["choices"][0])
    assert set(ours["usage"]) <= set(real["usage"])


def hub_answer(text: str, reason: FinishReason = FinishReason.STOP) -> list[Event]:
    usage = Usage(input_tokens=4, output_tokens=2)
    return [Head(model="m"), Start(0, BlockKind.TEXT), Delta(0, text), End(0), usage, Finish(reason)]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason.STOP, "stop"),
        (FinishReason.LENGTH, "length"),
        (FinishReason.CONTENT_FILTER, "content_filter"),
        (FinishReason.TOOL_CALLS, "stop"),
    ],
)
def test_the_end_is_told_in_this_dialects_words(reason: FinishReason, word: str) -> None:
    *_, last, usage, done = chunks(hub_answer("a", reason))
    assert (last["choices"][0]["finish_reason"], usage["choices"], done) == (word, [], b"[DONE]")
    whole = json.loads(INGRESS.write_reply(fold(hub_answer("a", reason)), OPENING))
    assert whole["choices"][0]["finish_reason"] == word


def test_an_error_in_a_stream_is_its_last_event() -> None:
    problem = Problem(Kind.TRUNCATED, "It broke off.", source=Source.UPSTREAM)
    told = INGRESS.writer(OPENING).write_problem(problem)
    assert told.startswith(b'data: {"error":')
    assert b"[DONE]" not in told


@given(REPLIES)
def test_a_stream_tells_the_same_text_as_a_whole_answer(reply: Reply) -> None:
    told = [chunk for chunk in chunks(list(unfold(reply))) if isinstance(chunk, dict)]
    whole = json.loads(INGRESS.write_reply(reply, OPENING))
    text = "".join(choice["text"] for chunk in told for choice in chunk["choices"])
    assert text == whole["choices"][0]["text"] == reply.text
    reasons = [choice["finish_reason"] for chunk in told for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == reasons[-1:] == [whole["choices"][0]["finish_reason"]]
    Completion.model_validate(whole)


@given(hub.streams(REPLIES), st.integers(1, 5))
def test_it_does_not_matter_how_events_are_batched(events: list[Event], size: int) -> None:
    writer = INGRESS.writer(OPENING)
    edges = [*range(0, len(events), size), len(events)]
    assert b"".join(writer.write(events[a:b]) for a, b in pairwise(edges)) == INGRESS.writer(OPENING).write(events)


FIELDS = ["model", "prompt", "n", "stop", "suffix", "stream", "usage", "logprobs", "provider"]


@given(st.dictionaries(st.sampled_from(FIELDS), hub.JSON_VALUES | st.sampled_from([10**400, 1e308, ["a"], [1]])))
def test_garbage_is_a_problem_or_a_call(fields: dict[str, Any]) -> None:
    problem = problem_of(json.dumps({"model": "m", "prompt": "a", **fields}).encode())
    assert problem is None or problem.source is Source.CALLER
