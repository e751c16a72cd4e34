"""Problem -> JSON, and what a web framework's own errors are as Problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from trunkline.core.problem import STATUS, Kind, Problem, invalid
from trunkline.dialects.simple import Simple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar import Request, Response

MESSAGES: Final[Mapping[Kind, str]] = {
    Kind.NOT_FOUND: "There is no such path here. /docs lists what there is.",
    Kind.METHOD_NOT_ALLOWED: "This path does not take that method. /docs lists what it takes.",
    Kind.TOO_LARGE: "The body is too large for this route.",
    Kind.UNSUPPORTED_MEDIA_TYPE: "Send the body as JSON: `content-type: application/json`.",
}


def problem_json(problem: Problem, /, *, as_json: bool = True, request_id: str | None = None) -> bytes:
    """`{"error": message, "type": one of the seed's four}`."""
    del as_json, request_id  # the shape of every writer of problems
    return Simple().write_problem(problem, as_json=True)


def problem_response(problem: Problem, more_headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The problem as Litestar answers it."""
    # Only the app that calls this has Litestar; the front that imports this module starts without it.
    from litestar import MediaType, Response  # noqa: PLC0415 - see above

    headers = {"cache-control": "no-store", **(more_headers or {})}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after_s)))
    return Response(problem_json(problem), status_code=problem.status, headers=headers, media_type=MediaType.JSON)


def _on_problem(_: Request[Any, Any, Any], error: Problem) -> Response[bytes]:
    return problem_response(error)


def _on_refusal(_: Request[Any, Any, Any], error: Any) -> Response[bytes]:
    """Litestar refused the request: no such route, or not of the shape that its structs ask for."""
    kind = _KINDS.get(error.status_code, Kind.INVALID_REQUEST)
    if kind is not Kind.INVALID_REQUEST:
        # Its headers are those that the status needs: the methods that the path does take.
        return problem_response(invalid(MESSAGES.get(kind, "The request was refused."), kind=kind), error.headers)
    for fault in error.extra or ():
        head, *rest = str(fault.get("key", "")).split("_")
        # A parameter's name is the framework's spelling of what the client wrote: `max_tokens` for `maxTokens`.
        key, message = head + "".join(map(str.capitalize, rest)), str(fault.get("message", ""))
        if key == "data":
            return problem_response(invalid(f"The body: {message}."))
        return problem_response(invalid(f"`{key}`: {message}.", param=key))
    return problem_response(invalid(f"The request cannot be read: {str(error.detail)[:300]}."))


def _on_depth(_: Request[Any, Any, Any], _error: RecursionError) -> Response[bytes]:
    return problem_response(invalid("The body is nested too deeply."))


def _on_bytes(_: Request[Any, Any, Any], _error: UnicodeDecodeError) -> Response[bytes]:
    return problem_response(invalid("The body is not valid UTF-8."))


def _on_fault(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    structlog.get_logger("trunkline.edge").error("unexpected fault", exc_info=error)
    return problem_response(Problem(Kind.INTERNAL, "The router failed. Its log tells why."))


_KINDS: Final[Mapping[int, Kind]] = {
    STATUS[kind]: kind
    for kind in (Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE)
}

EXCEPTION_HANDLERS: Final[Mapping[int | type[Exception], Callable[..., Any]]] = {
    Problem: _on_problem,
    RecursionError: _on_depth,
    UnicodeDecodeError: _on_bytes,
    400: _on_refusal,
    **dict.fromkeys(_KINDS, _on_refusal),
    500: _on_fault,
}
"""For a Litestar app: every error comes out as the seed's two fields."""
