"""Google's errors: what they mean, and how ours are told in their shape."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.gemini_streams import KEY, TRANSCRIPTS, target
from trunkline.core.problem import STATUS, Kind, Problem, Retry, Source
from trunkline.dialects.gemini.error import STATUS_WORD
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress


def read(status: int, body: bytes, **headers: str) -> Problem:
    return Gemini().read_problem(target(), status, {"content-type": "application/json", **headers}, body)


def transcript(name: str) -> bytes:
    return (TRANSCRIPTS / f"{name}.json").read_bytes()


def test_a_quota_says_how_long_to_wait_in_its_details() -> None:
    problem = read(429, transcript("google-quota-429"))
    assert (problem.kind, problem.retry, problem.retry_after_s) == (Kind.RATE_LIMITED, Retry.ELSEWHERE, 34.5)
    assert problem.detail == "status 429, resource_exhausted"


def test_the_header_goes_before_the_details() -> None:
    assert read(429, transcript("google-quota-429"), **{"retry-after": "3"}).retry_after_s == 3


def test_a_wrong_key_is_the_routers_although_google_says_400() -> None:
    problem = read(400, transcript("google-key-invalid-400"))
    assert (problem.kind, problem.source, problem.retry) == (Kind.KEY_REFUSED, Source.ROUTER, Retry.ELSEWHERE)


def test_missing_billing_is_the_routers_too() -> None:
    body = b'{"error":{"code":400,"message":"Please enable billing","status":"FAILED_PRECONDITION"}}'
    assert read(400, body).kind is Kind.KEY_REFUSED


@pytest.mark.parametrize(
    "message",
    [
        "The input token count (1205413) exceeds the maximum number of tokens allowed (1048576).",
        "The input token count exceeds the maximum number of tokens allowed 1048576.",
    ],
)
def test_a_context_that_is_too_long_is_known_by_its_sentence(message: str) -> None:
    body = {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
    assert read(400, msgspec.json.encode(body)).kind is Kind.CONTEXT_TOO_LONG
    assert read(400, transcript("google-context-too-long-400")).kind is Kind.CONTEXT_TOO_LONG


def test_an_error_in_a_list_is_read() -> None:
    problem = read(400, transcript("google-error-in-a-list-400"))
    assert problem.kind is Kind.INVALID_REQUEST
    assert "missing a thought_signature" in problem.message


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "INVALID_ARGUMENT", Kind.INVALID_REQUEST),
        (401, "UNAUTHENTICATED", Kind.KEY_REFUSED),
        (403, "PERMISSION_DENIED", Kind.KEY_REFUSED),
        (404, "NOT_FOUND", Kind.NOT_FOUND),
        (429, "RESOURCE_EXHAUSTED", Kind.RATE_LIMITED),
        (500, "INTERNAL", Kind.UPSTREAM_FAILED),
        (503, "UNAVAILABLE", Kind.UPSTREAM_FAILED),
        (504, "DEADLINE_EXCEEDED", Kind.UPSTREAM_FAILED),
    ],
)
def test_a_status_word_means_the_same_with_and_without_its_number(status: int, word: str, kind: Kind) -> None:
    error: dict[str, Any] = {"message": "m", "status": word}
    assert read(200, msgspec.json.encode({"error": error})).kind is kind
    assert read(status, msgspec.json.encode({"error": {**error, "code": status}})).kind is kind


def test_the_key_is_never_told() -> None:
    body = msgspec.json.encode({"error": {"code": 400, "message": f"bad key {KEY}", "status": "INVALID_ARGUMENT"}})
    assert KEY not in read(400, body).message


def test_a_200_that_is_no_answer_is_invalid() -> None:
    problem = read(200, b"<html>", **{"content-type": "text/html; charset=utf-8"})
    assert (problem.kind, problem.detail) == (Kind.UPSTREAM_INVALID, "status 200, text/html, 6 bytes")


def test_every_kind_has_its_word() -> None:
    assert set(STATUS_WORD) == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_problem_has_googles_shape_as_json_and_in_a_stream(kind: Kind) -> None:
    problem = Problem(kind, "It failed.")
    expected = {"error": {"code": STATUS[kind], "message": "It failed.", "status": STATUS_WORD[kind]}}
    whole = GeminiIngress().write_problem(problem, as_json=True)
    assert msgspec.json.decode(whole) == expected
    assert GeminiIngress().write_problem(problem) == b"data: " + whole + b"\n\n"


def test_the_field_and_the_wait_stand_in_the_details() -> None:
    problem = Problem(Kind.RATE_LIMITED, "Wait.", retry_after_s=1.5, param="contents")
    details = msgspec.json.decode(GeminiIngress().write_problem(problem, as_json=True))["error"]["details"]
    assert details == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "contents", "description": "Wait."}],
        },
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_our_own_error_is_understood_by_our_own_reader(kind: Kind) -> None:
    data = GeminiIngress().write_problem(Problem(kind, "It failed.", retry_after_s=2), as_json=True)
    problem = read(STATUS[kind], data)
    assert problem.retry_after_s == 2
    if kind in {Kind.NOT_FOUND, Kind.RATE_LIMITED, Kind.INVALID_REQUEST, Kind.TOO_LARGE}:
        assert problem.kind is kind
