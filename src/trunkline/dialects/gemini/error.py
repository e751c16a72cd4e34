"""Google's errors, both ways: `{"error": {"code", "message", "status", "details"}}`.

Sources: https://ai.google.dev/gemini-api/docs/troubleshooting (read 2026-11-24), https://google.aip.dev/193.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind, Problem
from trunkline.dialects.upstream_error import (
    UpstreamError,
    classify,
    no_answer,
    parse_error_body,
    read_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Target

STATUS_WORD: Final[Mapping[Kind, str]] = {
    Kind.INVALID_REQUEST: "INVALID_ARGUMENT",
    Kind.UNAUTHENTICATED: "UNAUTHENTICATED",
    Kind.FORBIDDEN: "PERMISSION_DENIED",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
    Kind.CONFLICT: "ABORTED",
    Kind.TOO_LARGE: "INVALID_ARGUMENT",
    Kind.UNSUPPORTED_MEDIA_TYPE: "INVALID_ARGUMENT",
    Kind.MISDIRECTED: "INVALID_ARGUMENT",
    Kind.UNPROCESSABLE: "INVALID_ARGUMENT",
    Kind.CONTEXT_TOO_LONG: "INVALID_ARGUMENT",
    Kind.CONTENT_FILTERED: "INVALID_ARGUMENT",
    Kind.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    Kind.UNREACHABLE: "UNAVAILABLE",
    Kind.TRUNCATED: "UNAVAILABLE",
    Kind.TIMED_OUT: "DEADLINE_EXCEEDED",
    Kind.KEY_REFUSED: "FAILED_PRECONDITION",
    Kind.UPSTREAM_FAILED: "UNAVAILABLE",
    Kind.UPSTREAM_INVALID: "INTERNAL",
    Kind.OVERLOADED: "UNAVAILABLE",
    Kind.DRAINING: "UNAVAILABLE",
    Kind.UNAVAILABLE: "UNAVAILABLE",
    Kind.INTERNAL: "INTERNAL",
}
"""The one table from kind to Google's status words. The number beside the word is the HTTP status."""

_RPC: Final = "type.googleapis.com/google.rpc."

_DELAY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")

_CONTEXT = re.compile(r"token count \(?[0-9,]*\)? ?exceeds the maximum number of tokens")
"""Google has no code for a context that is too long, only this sentence."""


class _Detail(msgspec.Struct, rename={"kind": "@type", "retry_delay": "retryDelay"}):
    kind: Any = None
    reason: Any = None
    retry_delay: Any = None


class _ErrorInList(msgspec.Struct):
    error: Any = None


_IN_LIST = msgspec.json.Decoder(list[_ErrorInList])


def write_problem(problem: Problem) -> bytes:
    """The problem as Google's error object; how long to wait and the field that is wrong stand in its details."""
    details: list[dict[str, object]] = []
    if problem.retry_after_s is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{problem.retry_after_s:g}s"})
    if problem.param is not None:
        violation = {"field": problem.param, "description": problem.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    error: dict[str, object] = {
        "code": problem.status,
        "message": problem.message,
        "status": STATUS_WORD[problem.kind],
    }
    if details:
        error["details"] = details
    return msgspec.json.encode({"error": error})


def read_problem(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """What a status that is not 200, or a 200 that is no answer, means."""
    error = _error_in(body)
    if 200 <= status < 300 and error is None:
        return no_answer(target, status, headers, body)
    return classify(target, status, headers, _read(error))


def stream_problem(target: Target, data: bytes) -> Problem | None:
    """The problem that an event of a stream tells; None where it tells none."""
    error = _error_in(data)
    return None if error is None else classify(target, 200, {}, _read(error))


def _error_in(body: bytes) -> object:
    """The error, also as the first element of a list: that is how a stream that is no event stream tells it."""
    error = parse_error_body(body)
    if error is not None:
        return error
    try:
        listed = _IN_LIST.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return listed[0].error if listed else None


def _read(error: object) -> UpstreamError:
    """Google's words in the form that every dialect's errors are judged in."""
    said: dict[str, Any]
    try:
        said = msgspec.convert(error, dict[str, Any])
    except msgspec.ValidationError:
        return read_error(error)
    word = said.get("status")
    common: dict[str, Any] = {"message": said.get("message"), "code": said.get("code")}
    if isinstance(word, str):
        common["type"] = word.lower()
        if word == "FAILED_PRECONDITION":
            common["error_type"] = (
                "permission_denied"  # no billing, or no service in this country: the router's to mend
            )
    try:
        details = msgspec.convert(said.get("details") or [], list[_Detail])
    except msgspec.ValidationError:
        details = []
    for detail in details:
        if isinstance(detail.reason, str) and detail.reason.startswith("API_KEY_"):
            common["error_type"] = "invalid_api_key"  # with status 400, as if it were the caller's
        if isinstance(detail.retry_delay, str) and (delay := _DELAY.fullmatch(detail.retry_delay)):
            common["availability"] = {"retry_after": float(delay[1])}
    message = said.get("message")
    if isinstance(message, str) and _CONTEXT.search(message[:1000]):
        common["error_type"] = "context_length_exceeded"
    return read_error(common)
