"""A problem as OpenAI tells it: a JSON body, an `error` event, the error of a failed response.

Source: https://platform.openai.com/docs/guides/error-codes and
https://platform.openai.com/docs/api-reference/responses-streaming/error (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Kind, Problem
from trunkline.dialects import sse

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST_SEQUENCE_NUMBER: Final = 2**31 - 1
"""The number of an `error` event whose writer does not know how many came before it: higher than any of theirs."""

ERROR_TYPE: Final[Mapping[Kind, tuple[str, str | None]]] = {
    Kind.INVALID_REQUEST: ("invalid_request_error", None),
    Kind.UNAUTHENTICATED: ("authentication_error", "invalid_api_key"),
    Kind.FORBIDDEN: ("permission_error", None),
    Kind.NOT_FOUND: ("invalid_request_error", "model_not_found"),
    Kind.METHOD_NOT_ALLOWED: ("invalid_request_error", "method_not_allowed"),
    Kind.CONFLICT: ("invalid_request_error", "conflict"),
    Kind.TOO_LARGE: ("invalid_request_error", "request_too_large"),
    Kind.UNSUPPORTED_MEDIA_TYPE: ("invalid_request_error", "unsupported_media_type"),
    Kind.MISDIRECTED: ("invalid_request_error", "misdirected_request"),
    Kind.UNPROCESSABLE: ("invalid_request_error", "unprocessable"),
    Kind.CONTEXT_TOO_LONG: ("invalid_request_error", "context_length_exceeded"),
    Kind.CONTENT_FILTERED: ("invalid_request_error", "content_policy_violation"),
    Kind.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    Kind.UNREACHABLE: ("server_error", "upstream_unreachable"),
    Kind.TRUNCATED: ("server_error", "upstream_truncated"),
    Kind.TIMED_OUT: ("server_error", "timeout"),
    Kind.KEY_REFUSED: ("server_error", "upstream_key_refused"),
    Kind.UPSTREAM_FAILED: ("server_error", "upstream_error"),
    Kind.UPSTREAM_INVALID: ("server_error", "upstream_invalid_answer"),
    Kind.OVERLOADED: ("server_error", "overloaded"),
    Kind.DRAINING: ("server_error", "draining"),
    Kind.UNAVAILABLE: ("server_error", "unavailable"),
    Kind.INTERNAL: ("server_error", "internal_error"),
}
"""The one table from kind to OpenAI's type and code."""


def error_object(problem: Problem) -> dict[str, object]:
    """What stands under `error` in a JSON body."""
    kind, code = ERROR_TYPE[problem.kind]
    return {"message": problem.message, "type": kind, "param": problem.param, "code": code}


def error_data(problem: Problem) -> dict[str, object]:
    """An `error` event's fields: flat, as documented, and as an object, which the SDKs raise."""
    error = error_object(problem)
    return {"code": error["code"], "message": problem.message, "param": problem.param, "error": error}


def response_error(problem: Problem) -> dict[str, object]:
    """The `error` of a failed response, whose code must be there."""
    kind, code = ERROR_TYPE[problem.kind]
    return {
        "code": code or ("server_error" if kind == "server_error" else "invalid_prompt"),
        "message": problem.message,
    }


def write_problem(problem: Problem, *, as_json: bool = False, sequence_number: int = LAST_SEQUENCE_NUMBER) -> bytes:
    """The problem as a JSON body, or as the event that ends a stream."""
    if as_json:
        return msgspec.json.encode({"error": error_object(problem)})
    event = {"type": "error", "sequence_number": sequence_number, **error_data(problem)}
    return sse.event(msgspec.json.encode(event), b"error")
