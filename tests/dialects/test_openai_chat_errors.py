"""What goes wrong inside an answer is told as a Problem that blames the right one, and never as anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.targets import frame, says, target
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.openai_chat.egress import OpenAIChat, Reader
from trunkline.dialects.sse import Frame

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_chat"


def failure(data: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        Reader(target()).read(Frame(data))
    return caught.value


AVAILABILITY = {
    "message": "All providers of this model are at capacity.",
    "http_status": 429,
    "error_type": "rate_limit_exceeded",
    "availability": {"code": "capacity_exhausted", "retryable": True, "retry_after": 40},
}
BUSY = (Kind.RATE_LIMITED, Source.UPSTREAM, Retry.ELSEWHERE)
BROKEN = (Kind.UPSTREAM_FAILED, Source.UPSTREAM, Retry.ELSEWHERE)
REFUSED = (Kind.KEY_REFUSED, Source.ROUTER, Retry.ELSEWHERE)
WRONG = (Kind.INVALID_REQUEST, Source.CALLER, Retry.NEVER)
FILTERED = (Kind.CONTENT_FILTERED, Source.CALLER, Retry.NEVER)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ({"code": 429, "message": "m", "metadata": {"error_type": "rate_limit_exceeded"}}, BUSY),
        ({"code": 429, "message": "m"}, BUSY),
        ({"code": "429", "message": "m"}, BUSY),
        ({"code": "rate_limit_exceeded", "message": "m"}, BUSY),
        (AVAILABILITY, BUSY),
        ({"code": "server_error", "message": "m"}, BROKEN),
        ({"code": 502, "message": "m", "metadata": {"error_type": "provider_unavailable"}}, BROKEN),
        ({"code": 503, "message": "m", "metadata": {"error_type": "provider_overloaded"}}, BROKEN),
        ({"message": "m", "type": "overloaded_error"}, BROKEN),
        ({"message": "m"}, BROKEN),
        ({}, BROKEN),
        ("a bare string", BROKEN),
        (["a", "list"], BROKEN),
        (500, BROKEN),
        (True, BROKEN),
        ({"code": 401, "message": "m"}, REFUSED),
        ({"code": 402, "message": "m"}, REFUSED),
        ({"code": "invalid_api_key", "message": "m"}, REFUSED),
        ({"code": 400, "message": "m"}, WRONG),
        ({"message": "m", "error_type": "invalid_image"}, WRONG),
        (
            {"code": 400, "metadata": {"error_type": "context_length_exceeded"}},
            (Kind.CONTEXT_TOO_LONG, Source.CALLER, Retry.ELSEWHERE),
        ),
        ({"code": 403, "metadata": {"error_type": "content_policy_violation"}}, FILTERED),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["chunk", "chunk with the finish", "choice"])
def test_an_error_in_the_stream_is_judged_as_its_status_would_be(place: str, error: object, verdict: Any) -> None:
    chunk = says({"content": ""}, "error" if place != "chunk" else None)
    if place == "choice":
        chunk["choices"][0]["error"] = error
    else:
        chunk["error"] = error
    problem = failure(msgspec.json.encode(chunk))
    assert (problem.kind, problem.source, problem.retry) == verdict


def test_a_finish_that_is_an_error_is_one_although_nothing_else_is_said() -> None:
    problem = failure(msgspec.json.encode(says({"content": ""}, "error")))
    assert problem.kind is Kind.UPSTREAM_FAILED


def test_an_error_alone_without_choices_is_one() -> None:
    assert failure(b'{"error":{"code":529,"message":"overloaded"}}').kind is Kind.UPSTREAM_FAILED


def test_an_error_that_is_null_is_none() -> None:
    chunk = says({"content": "Hi"}, error=None)
    chunk["choices"][0]["error"] = None
    assert len(Reader(target()).read(frame(chunk))) == 2


def test_how_long_to_wait_comes_from_the_availability_object() -> None:
    assert failure(msgspec.json.encode({"error": AVAILABILITY})).retry_after_s == 40


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{",
        b"hello",
        b"<html>",
        b"[DONE",
        b'{"choices":5}',
        b'{"choices":[5]}',
        b'{"choices":[{"delta":[]}]}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{"index":"0"}]}',
        b'{"id":[]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":[],"usage":{"cost":NaN}}',
        b'{"choices":[]} {"choices":[]}',
        b"[" * 100_000,
        b'{"choices":' * 100_000,
        b'{"error":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"usage":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"choices":[{"index":' + b"9" * 1_000_000 + b"}]}",
        b"\xff\xfe",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_chunk_is_an_invalid_answer(data: bytes) -> None:
    problem = failure(data)
    assert problem.kind is Kind.UPSTREAM_INVALID
    assert (problem.source, problem.retry) == (Source.UPSTREAM, Retry.ELSEWHERE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["error", "²²²"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ERROR = JSON | st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.sampled_from(["00000429", "9" * 5000, "²²²", "429", 429, 429.0, {"error_type": "timeout"}])
        for name in ("message", "code", "type", "error_type", "http_status", "metadata", "availability")
    },
)


def read_problem(status: int, body: bytes, **headers: str) -> Problem:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return OpenAIChat().read_problem(target(), status, named, body)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("openrouter-error-in-200.json", Kind.UPSTREAM_FAILED),
        ("openrouter-error-in-200-bare.json", Kind.UPSTREAM_FAILED),
    ],
)
def test_an_error_inside_a_200_is_the_error_that_it_says(file: str, kind: Kind) -> None:
    problem = read_problem(200, (TRANSCRIPTS / file).read_bytes(), content_type="application/json")
    assert problem.kind is kind
    assert problem.detail == "status 200, error 502, provider_unavailable"


def test_an_error_of_a_choice_inside_a_200_keeps_its_code() -> None:
    body = b'{"choices":[{"finish_reason":"error","error":{"code":429,"message":"slow down"}}]}'
    assert read_problem(200, body).kind is Kind.RATE_LIMITED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html><body>Sign in</body></html>",
        b"\x1f\x8b\x08",
        b'{"error":null}',
        b'{"choices":[]}',
        b'{"choices":[{"message":{"content":"Hi"}}]}',
        b'{"choices":[null]}',
        b"[" * 60_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_200_that_is_no_stream_is_an_invalid_answer_and_its_body_is_not_told(body: bytes) -> None:
    problem = read_problem(200, body, content_type="text/html; charset=utf-8")
    assert (problem.kind, problem.retry) == (Kind.UPSTREAM_INVALID, Retry.ELSEWHERE)
    assert problem.detail == f"status 200, text/html, {len(body)} bytes"
    assert "Sign in" not in problem.message


@given(status=st.integers(min_value=100, max_value=999), body=st.binary(max_size=60), error=ERROR)
@settings(deadline=None, max_examples=300)
def test_any_answer_that_is_no_stream_is_a_problem(status: int, body: bytes, error: object) -> None:
    for data in (body, msgspec.json.encode({"error": error})):
        problem = read_problem(status, data)
        assert problem.message
        assert problem.message.isprintable()
        assert len(problem.message) < 1000
