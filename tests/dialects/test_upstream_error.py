"""Whose fault an upstream's error is follows from one table, and no secret in it gets out (F08, F23, F24, S06)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dialects.targets import KEY, target
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.openai_chat.egress import OpenAIChat

TOO_LONG = "request (6031 tokens) exceeds the available context size (2048 tokens), try increasing it"
TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_chat"

CALLERS = (Source.CALLER, Retry.NEVER)
CALLERS_HERE = (Source.CALLER, Retry.ELSEWHERE)
OURS = (Source.ROUTER, Retry.ELSEWHERE)
THEIRS = (Source.UPSTREAM, Retry.ELSEWHERE)


def problem_of(status: int, error: object = None, headers: dict[str, str] | None = None) -> Problem:
    body = msgspec.json.encode({"error": error})
    return OpenAIChat().read_problem(target(), status, headers or {}, body)


def typed(word: str) -> dict[str, Any]:
    return {"message": "m", "metadata": {"error_type": word}}


@pytest.mark.parametrize(
    ("status", "error", "kind", "blame"),
    [
        (400, {"message": "m"}, Kind.INVALID_REQUEST, CALLERS),
        (422, {"message": "m"}, Kind.INVALID_REQUEST, CALLERS),
        (405, None, Kind.INVALID_REQUEST, CALLERS),
        (418, None, Kind.INVALID_REQUEST, CALLERS),
        (413, {"message": "m"}, Kind.TOO_LARGE, CALLERS),
        (404, {"code": "model_not_found"}, Kind.NOT_FOUND, CALLERS_HERE),
        (401, {"code": 401, "message": "No auth credentials found"}, Kind.KEY_REFUSED, OURS),
        (402, {"code": 402, "message": "Insufficient credits"}, Kind.KEY_REFUSED, OURS),
        (403, {"code": 403, "message": "Key limit exceeded"}, Kind.KEY_REFUSED, OURS),
        (403, typed("content_policy_violation"), Kind.CONTENT_FILTERED, CALLERS),
        (400, {"code": "content_filter"}, Kind.CONTENT_FILTERED, CALLERS),
        (400, typed("refusal"), Kind.CONTENT_FILTERED, CALLERS),
        (400, {"code": "context_length_exceeded"}, Kind.CONTEXT_TOO_LONG, CALLERS_HERE),
        (400, {"type": "exceed_context_size_error", "code": 400}, Kind.CONTEXT_TOO_LONG, CALLERS_HERE),
        (500, typed("token_limit_exceeded"), Kind.CONTEXT_TOO_LONG, CALLERS_HERE),
        (429, {"message": "m"}, Kind.RATE_LIMITED, THEIRS),
        (408, {"message": "m"}, Kind.UPSTREAM_FAILED, THEIRS),
        (409, {"message": "m"}, Kind.UPSTREAM_FAILED, THEIRS),
        (500, {"message": "m"}, Kind.UPSTREAM_FAILED, THEIRS),
        (502, None, Kind.UPSTREAM_FAILED, THEIRS),
        (503, "overloaded", Kind.UPSTREAM_FAILED, THEIRS),
        (504, None, Kind.UPSTREAM_FAILED, THEIRS),
        (524, None, Kind.UPSTREAM_FAILED, THEIRS),
        (529, {"type": "overloaded_error"}, Kind.UPSTREAM_FAILED, THEIRS),
        (599, None, Kind.UPSTREAM_FAILED, THEIRS),
        (301, None, Kind.UPSTREAM_INVALID, THEIRS),
        (302, {"message": "m"}, Kind.UPSTREAM_INVALID, THEIRS),
        (307, None, Kind.UPSTREAM_INVALID, THEIRS),
    ],
)
def test_a_status_and_an_error_blame_the_right_one(
    status: int, error: object, kind: Kind, blame: tuple[Source, Retry]
) -> None:
    problem = problem_of(status, error)
    assert (problem.kind, problem.source, problem.retry) == (kind, *blame)
    assert (status if status < 400 else problem.upstream_status) == status


@pytest.mark.parametrize(
    "message",
    [
        "This endpoint's maximum context length is 65536 tokens. However, you requested about 100000 tokens",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ],
)
def test_a_context_that_is_too_long_is_known_by_its_words(message: str) -> None:
    """As OpenRouter, vLLM and DeepSeek, and Mistral write it: none has a code for it."""
    problem = problem_of(400, {"message": message, "type": "invalid_request_error", "code": 400})
    assert (problem.kind, problem.source, problem.retry) == (Kind.CONTEXT_TOO_LONG, *CALLERS_HERE)
    assert problem_of(500, {"message": message}).kind is Kind.UPSTREAM_FAILED


def test_an_error_may_stand_beside_its_name() -> None:
    """Mistral and vLLM have no `error` around it."""
    body = b'{"object":"error","message":"Give `messages`.","type":"invalid_request_error","param":null,"code":"3051"}'
    problem = OpenAIChat().read_problem(target(), 400, {}, body)
    assert problem.kind is Kind.INVALID_REQUEST
    assert "Give `messages`." in problem.message
    assert OpenAIChat().read_problem(target(), 200, {}, body).kind is Kind.INVALID_REQUEST


def test_an_error_in_a_list_is_read() -> None:
    """Google's endpoint for OpenAI's clients has it so."""
    body = b'[{"error":{"code":400,"message":"Multiple authentication credentials.","status":"INVALID_ARGUMENT"}}]'
    problem = OpenAIChat().read_problem(target(), 400, {}, body)
    assert problem.kind is Kind.INVALID_REQUEST
    assert "Multiple authentication credentials." in problem.message
    assert OpenAIChat().read_problem(target(), 400, {}, b"[]").kind is Kind.INVALID_REQUEST


def test_a_quota_that_is_used_up_is_told_as_such() -> None:
    """OpenAI says 429 as for a limit on the rate; to wait helps with one of them only."""
    problem = problem_of(429, {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"})
    assert problem.kind is Kind.RATE_LIMITED
    assert "has no credit left" in problem.message
    assert "Wait" not in problem.message


def test_what_a_moderation_flags_is_not_the_keys_fault() -> None:
    """OpenRouter: a 403 whose metadata say what was flagged."""
    metadata = {"reasons": ["violence"], "flagged_input": "canary", "provider_name": "OpenAI", "model_slug": "m"}
    problem = problem_of(403, {"code": 403, "message": "Your input was flagged", "metadata": metadata})
    assert (problem.kind, problem.source, problem.retry) == (Kind.CONTENT_FILTERED, *CALLERS)
    assert "canary" not in f"{problem!r} {problem.message} {problem.detail}"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("authentication", Kind.KEY_REFUSED),
        ("permission_denied", Kind.KEY_REFUSED),
        ("payment_required", Kind.KEY_REFUSED),
        ("rate_limit_exceeded", Kind.RATE_LIMITED),
        ("provider_overloaded", Kind.UPSTREAM_FAILED),
        ("provider_unavailable", Kind.UPSTREAM_FAILED),
        ("invalid_request", Kind.INVALID_REQUEST),
        ("invalid_prompt", Kind.INVALID_REQUEST),
        ("not_found", Kind.NOT_FOUND),
        ("precondition_failed", Kind.INVALID_REQUEST),
        ("payload_too_large", Kind.TOO_LARGE),
        ("unprocessable", Kind.INVALID_REQUEST),
        ("content_policy_violation", Kind.CONTENT_FILTERED),
        ("refusal", Kind.CONTENT_FILTERED),
        ("invalid_image", Kind.INVALID_REQUEST),
        ("image_too_large", Kind.INVALID_REQUEST),
        ("image_too_small", Kind.INVALID_REQUEST),
        ("unsupported_image_format", Kind.INVALID_REQUEST),
        ("image_not_found", Kind.INVALID_REQUEST),
        ("image_download_failed", Kind.INVALID_REQUEST),
        ("context_length_exceeded", Kind.CONTEXT_TOO_LONG),
        ("max_tokens_exceeded", Kind.CONTEXT_TOO_LONG),
        ("token_limit_exceeded", Kind.CONTEXT_TOO_LONG),
        ("string_too_long", Kind.CONTEXT_TOO_LONG),
        ("server", Kind.UPSTREAM_FAILED),
        ("timeout", Kind.UPSTREAM_FAILED),
        ("unmapped", Kind.UPSTREAM_FAILED),
        ("a word of tomorrow", Kind.UPSTREAM_FAILED),
    ],
)
@pytest.mark.parametrize("place", ["metadata.error_type", "error_type", "code", "type"])
def test_the_type_decides_where_the_status_is_a_200(place: str, word: str, kind: Kind) -> None:
    error = typed(word) if "." in place else {"message": "m", place: word}
    assert problem_of(200, error).kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "type": "server_error"}, Kind.RATE_LIMITED),
        ({"http_status": 429, "error_type": "server"}, Kind.RATE_LIMITED),
        ({"code": 12, "http_status": 404}, Kind.NOT_FOUND),
        ({"code": 200, "type": "rate_limit_error"}, Kind.RATE_LIMITED),
        ({"code": "404"}, Kind.NOT_FOUND),
        ({"code": "²²²"}, Kind.UPSTREAM_FAILED),
        ({"code": "000000404" + "9" * 5000}, Kind.UPSTREAM_FAILED),
        ({"code": 10**30}, Kind.UPSTREAM_FAILED),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_number_goes_before_a_word_where_it_is_a_status(error: object, kind: Kind) -> None:
    assert problem_of(200, error).kind is kind


def test_one_odd_field_does_not_hide_the_others() -> None:
    error = {"message": ["a", "list"], "code": 5.5, "metadata": "none", "type": "context_length_exceeded"}
    assert problem_of(400, error).kind is Kind.CONTEXT_TOO_LONG


@pytest.mark.parametrize(
    ("file", "status", "kind", "sentence"),
    [
        (
            "llamacpp-error.json",
            400,
            Kind.INVALID_REQUEST,
            "OpenRouter refused the request as invalid. It says: Expected 'messages' to be an array",
        ),
        (
            "llamacpp-context-too-long.json",
            400,
            Kind.CONTEXT_TOO_LONG,
            "The conversation is longer than openrouter/openai/gpt-4o can take. It says: " + TOO_LONG,
        ),
    ],
)
def test_a_recorded_error_is_told_with_its_own_sentence(file: str, status: int, kind: Kind, sentence: str) -> None:
    problem = OpenAIChat().read_problem(target(), status, {}, (TRANSCRIPTS / file).read_bytes())
    assert problem.kind is kind
    assert problem.message == sentence


@pytest.mark.parametrize(("file", "seconds"), [("aimock-chat-429.http", 1.0), ("openrouter-availability-429.http", 40)])
def test_a_recorded_429_says_how_long_to_wait(file: str, seconds: float) -> None:
    head, _, body = (TRANSCRIPTS / file).read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\n")[1:])
    problem = OpenAIChat().read_problem(target(), 429, headers, body)
    assert problem.kind is Kind.RATE_LIMITED
    assert problem.retry_after_s == seconds
    assert problem.message == "OpenRouter limits how often openai/gpt-4o may be asked. Wait a little and try again."


@pytest.mark.parametrize(("said", "seconds"), [(40, 40.0), (1.5, 1.5), (-1, 0.0), (10**12, 86400.0), ("soon", None)])
def test_the_availability_object_says_how_long_to_wait_where_no_header_does(
    said: object, seconds: float | None
) -> None:
    error = {"http_status": 429, "availability": {"retryable": True, "retry_after": said}}
    assert problem_of(429, error).retry_after_s == seconds
    assert problem_of(429, error, {"retry-after": "7"}).retry_after_s == 7


def test_a_refused_key_and_an_empty_account_are_told_apart() -> None:
    assert "was refused" in problem_of(401, {"message": "m"}).message
    assert "has no credit left" in problem_of(402, {"message": "m"}).message
    assert "trunkline doctor" in problem_of(403, {"message": "m"}).message


CANARIES = {
    "the provider's own key": KEY,
    "the key, half masked": "sk-or-v1-canary***cdef",
    "another key": "sk-proj-canaryCANARY0123456789",
    "a Google key": "AIzaSyCANARY0123456789canary",
    "a key in an address": "https://host/v1?alt=sse&key=canary0123CANARY",
    "a token": "Bearer canary.token/with+signs=",
    "a signed token": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.canary-signature",
    "a database": "postgresql://canary:canary-password@db.internal/chat",
    "a Redis": "redis://:canary-password@cache:6379/0",
    "something long and random": "canary0123456789abcdefCANARY0123456789",
}
PLACES: dict[str, Any] = {
    "message": lambda canary: {"message": f"Wrong: {canary} is not known"},
    "message, quoted": lambda canary: {"message": f"Wrong ('{canary}')."},
    "message, invisibly cut": lambda canary: {"message": f"Wrong: {canary[:9]}\u200b\x00{canary[9:]} ."},
    "message, far back": lambda canary: {"message": "word " * 50 + canary},
    "message, across the first cut": lambda canary: {"message": "x " * 2040 + canary * 3},
    "the error itself": lambda canary: f"Wrong: {canary} !",
    "code": lambda canary: {"message": "m", "code": canary},
    "code, small": lambda canary: {"message": "m", "code": canary.lower()},
    "type": lambda canary: {"message": "m", "type": canary},
    "error_type": lambda canary: {"message": "m", "metadata": {"error_type": canary}},
    "a field that nobody reads": lambda canary: {"message": "m", "metadata": {"raw": canary, "headers": [canary]}},
}


@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 529])
@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_a_secret_in_the_upstreams_words_never_gets_out(canary: str, status: int) -> None:
    for place, error in PLACES.items():
        problem = problem_of(status, error(canary))
        told = f"{problem.message} {problem.detail} {problem!r} {problem}".lower()
        assert "canary" not in told, place


def test_an_error_body_that_is_no_json_is_not_told() -> None:
    problem = OpenAIChat().read_problem(target(), 502, {}, f"<h1>{KEY} canary</h1>".encode())
    assert problem.kind is Kind.UPSTREAM_FAILED
    assert "canary" not in f"{problem.message} {problem.detail}"


def test_a_long_message_is_cut() -> None:
    problem = problem_of(400, {"message": "word " * 100_000})
    assert len(problem.message) < 400
    assert problem.message.endswith("...")


def test_control_characters_and_line_breaks_do_not_get_out() -> None:
    problem = problem_of(400, {"message": "one\r\ntwo\t\x1b[31mred\x00\u202e \u2028three"})
    assert problem.message == "OpenRouter refused the request as invalid. It says: one two [31mred three"


@pytest.mark.parametrize("message", ["", " \n ", "\x00"])
def test_a_message_without_words_adds_none(message: str) -> None:
    assert problem_of(400, {"message": message}).message == "OpenRouter refused the request as invalid."


def test_words_in_braces_are_only_words() -> None:
    assert problem_of(400, {"message": "{label} {0} %s"}).message.endswith("It says: {label} {0} %s")


@pytest.mark.parametrize(
    ("status", "error", "detail"),
    [
        (429, {"code": 429, "metadata": {"error_type": "rate_limit_exceeded"}}, "status 429, rate_limit_exceeded"),
        (200, {"code": 502}, "status 200, error 502"),
        (500, {"type": "Something with words"}, "status 500"),
        (500, {"type": "x" * 61}, "status 500"),
    ],
)
def test_the_log_learns_the_status_and_the_type_and_nothing_else(status: int, error: object, detail: str) -> None:
    assert problem_of(status, error).detail == detail
