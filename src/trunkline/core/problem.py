"""The one error. Who is at fault, and whether to try again, is decided where the fact is known."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """What went wrong. `STATUS` gives each its HTTP status; each ingress gives each its own error type."""

    # The caller's.
    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    MISDIRECTED = "misdirected"
    UNPROCESSABLE = "unprocessable"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    # Nobody's: too much at once.
    RATE_LIMITED = "rate_limited"
    # The network's.
    UNREACHABLE = "unreachable"
    TRUNCATED = "truncated"
    TIMED_OUT = "timed_out"
    # The provider's.
    KEY_REFUSED = "key_refused"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_INVALID = "upstream_invalid"
    # Ours.
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


STATUS: Final[Mapping[Kind, int]] = {
    Kind.INVALID_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA_TYPE: 415,
    Kind.MISDIRECTED: 421,
    Kind.UNPROCESSABLE: 422,
    Kind.CONTEXT_TOO_LONG: 400,
    Kind.CONTENT_FILTERED: 400,
    Kind.RATE_LIMITED: 429,
    Kind.UNREACHABLE: 502,
    Kind.TRUNCATED: 502,
    Kind.TIMED_OUT: 504,
    Kind.KEY_REFUSED: 502,
    Kind.UPSTREAM_FAILED: 502,
    Kind.UPSTREAM_INVALID: 502,
    Kind.OVERLOADED: 503,
    Kind.DRAINING: 503,
    Kind.UNAVAILABLE: 503,
    Kind.INTERNAL: 500,
}
"""The one table from kind to HTTP status."""


class Source(StrEnum):
    """Who is at fault."""

    CALLER = "caller"
    ROUTER = "router"
    NETWORK = "network"
    UPSTREAM = "upstream"


class Retry(StrEnum):
    """Where another attempt could help."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    NEVER = "never"


class Problem(Exception):
    """A failure that a person is told about.

    `message` says what failed and what to do; it is safe to show to the caller: no key, no upstream body.
    `detail` is for the log: our own words on what came (a status, a content type, a length), never content.
    `param` names the field of the request that is wrong. `retry_after_s` is how long to wait, where somebody knows.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        source: Source = Source.ROUTER,
        retry: Retry = Retry.NEVER,
        retry_after_s: float | None = None,
        param: str | None = None,
        upstream_status: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.source = source
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.param = param
        self.upstream_status = upstream_status
        self.detail = detail

    @property
    def status(self) -> int:
        """The HTTP status that tells this problem."""
        return STATUS[self.kind]

    def __repr__(self) -> str:
        return f"Problem({self.kind.value}, {self.message!r}, source={self.source.value}, retry={self.retry.value})"


def invalid(message: str, *, param: str | None = None, kind: Kind = Kind.INVALID_REQUEST) -> Problem:
    """A problem that is the caller's to mend; `param` names the field."""
    return Problem(kind, message, source=Source.CALLER, param=param)


def forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that has been told, and of what led to it, which it no longer names.

    Their frames hold what the error is about, and that holds the error: a circle, which would wait for the collector.
    """
    while error is not None:
        before = error.__cause__ or error.__context__
        error.__traceback__ = error.__cause__ = error.__context__ = None
        error = before
