"""The seed's stream and its errors, to the byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.problem import STATUS, Kind, Problem, Retry, Source
from trunkline.core.reply import BlockKind, Delta, End, Event, Finish, FinishReason, Head, Start, Usage
from trunkline.dialects.simple import ERROR_TYPE, Simple
from trunkline.dialects.sse import Frame, Framer

if TYPE_CHECKING:
    from trunkline.dialects.dialect import EventWriter

STOP = Finish(FinishReason.STOP)


def writer() -> EventWriter:
    return Simple().writer()


def written(*events: Event) -> bytes:
    return writer().write(events)


def test_an_answer_to_the_byte() -> None:
    assert written(
        Head(id="gen-1", model="m"),
        Start(0, BlockKind.TEXT),
        Delta(0, "Hello"),
        Delta(0, ' 漢字 👋\n"quoted" \\ \u2028'),
        End(0),
        Usage(input_tokens=1, output_tokens=2, cost_nano=3),
        STOP,
    ) == (
        b'data: {"content":"Hello"}\n\n'
        + 'data: {"content":" 漢字 👋\\n\\"quoted\\" \\\\ \u2028"}\n\n'.encode()
        + b"data: [DONE]\n\n"
    )


def test_each_write_tells_only_what_is_new() -> None:
    told = writer()
    assert told.write([Head(id="x"), Start(0, BlockKind.TEXT)]) == b""
    assert told.write([Delta(0, "a")]) == b'data: {"content":"a"}\n\n'
    assert told.write([]) == b""
    assert told.write([Delta(0, "b"), End(0)]) == b'data: {"content":"b"}\n\n'
    assert told.write([Usage(output_tokens=2)]) == b""
    assert told.write([STOP]) == b"data: [DONE]\n\n"


def test_reasoning_is_not_shown_also_when_blocks_take_turns() -> None:
    told = writer()
    assert told.write([Start(0, BlockKind.REASONING), Delta(0, "secret thought")]) == b""
    assert told.write([End(0), Start(1, BlockKind.TEXT), Delta(1, "yes"), End(1)]) == b'data: {"content":"yes"}\n\n'
    assert told.write([Start(2, BlockKind.REASONING), Delta(2, "hm"), Delta(0, "hm")]) == b""


def test_a_tool_call_is_not_shown() -> None:
    assert written(Start(0, BlockKind.TOOL_CALL, "call_1", "look"), Delta(0, '{"at":"x"}'), End(0)) == b""


def test_a_refusal_is_what_the_reader_sees() -> None:
    assert written(Start(0, BlockKind.REFUSAL), Delta(0, "No.")) == b'data: {"content":"No."}\n\n'


def test_an_empty_delta_is_no_event() -> None:
    assert written(Start(0, BlockKind.TEXT), Delta(0, "")) == b""


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS])
def test_every_finish_but_the_filters_ends_in_done(reason: FinishReason) -> None:
    assert written(Finish(reason)) == b"data: [DONE]\n\n"


def test_a_filtered_answer_ends_in_an_error_and_not_in_done() -> None:
    with pytest.raises(Problem) as caught:
        written(Finish(FinishReason.CONTENT_FILTER))
    assert (caught.value.kind, caught.value.source, caught.value.retry) == (
        Kind.CONTENT_FILTERED,
        Source.CALLER,
        Retry.NEVER,
    )
    assert Simple().write_problem(caught.value) == (
        b'data: {"error":"The provider\'s content filter stopped this answer. Rephrase the message and try again.",'
        b'"type":"invalid_request"}\n\n'
    )


@given(pieces=st.lists(st.text(min_size=1, max_size=20), max_size=10))
@settings(deadline=None)
def test_no_character_is_lost_on_the_way_to_the_client(pieces: list[str]) -> None:
    events = [Start(0, BlockKind.TEXT), *(Delta(0, piece) for piece in pieces), End(0), STOP]
    *frames, last = Framer().feed(written(*events))
    assert [json.loads(frame.data) for frame in frames] == [{"content": piece} for piece in pieces]
    assert last == Frame(b"[DONE]")


def test_a_problem_is_the_last_event_or_plain_json() -> None:
    problem = Problem(Kind.RATE_LIMITED, "Wait a little: 漢字.", detail="not told", param="model", retry_after_s=3)
    data = '{"error":"Wait a little: 漢字.","type":"rate_limit"}'.encode()
    assert Simple().write_problem(problem) == b"data: " + data + b"\n\n"
    assert Simple().write_problem(problem, as_json=True) == data


def test_every_kind_of_problem_has_a_status_and_one_of_the_seeds_four_types() -> None:
    assert set(STATUS) == set(ERROR_TYPE) == set(Kind)
    assert set(ERROR_TYPE.values()) == {"network_error", "rate_limit", "invalid_request", "server_error"}


@pytest.mark.parametrize("kind", Kind)
def test_the_type_fits_the_status(kind: Kind) -> None:
    status, word = STATUS[kind], ERROR_TYPE[kind]
    match word:
        case "invalid_request":
            assert 400 <= status < 500
            assert status != 429
        case "rate_limit":
            assert status == 429
        case "network_error":
            assert status in {502, 504}
        case _:
            assert status in {500, 502, 503}


def test_only_text_commits_on_the_seeds_route() -> None:
    assert Simple().commits_on_reasoning is False
