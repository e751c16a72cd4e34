"""A response's status line and headers, and how its body is framed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

CHUNKED: Final = -1
"""In the place of the number of bytes that a body still has."""

UNTIL_CLOSE: Final = -2
NO_BODY: Final = -3

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_OURS: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
_BODILESS: Final = frozenset({204, 304})
_CLOSE: Final = b"connection: close\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_REASONS: Final = {
    HTTPStatus.BAD_REQUEST: "This request is not valid HTTP.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not come in time.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The request's headers are too large.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The application failed.",
    HTTPStatus.NOT_IMPLEMENTED: "Send the body without any transfer encoding but chunked.",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "This server speaks HTTP/1.1.",
}


def render(
    status: int,
    headers: Collection[tuple[bytes, bytes]],
    date: bytes,
    *,
    is_head: bool,
    is_http11: bool,
    keeps_alive: bool,
    length: int | None,
) -> tuple[bytes, int, bool]:
    """The head, the bytes that its body has (or CHUNKED, UNTIL_CLOSE, NO_BODY), and whether the connection is kept.

    `date` is a line of its own; `length` is the whole body's, where it is known. Framing and the connection's fate are
    decided here, whatever the application wrote of them, save for its content-length and its wish to close. Raises
    RuntimeError where a header would become two.
    """
    block, declared, is_dated, closes = _block_of(headers)
    keeps_alive = keeps_alive and not closes
    has_body = status not in _BODILESS
    framing = b""
    if declared is not None:
        left = declared
    elif length is not None:
        left = length
        if has_body:
            framing = b"content-length: %d\r\n" % length
    elif is_http11:
        left = CHUNKED
        if has_body and not is_head:
            framing = _CHUNKED
    else:
        left, keeps_alive = UNTIL_CLOSE, False
    line = _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    head = b"".join((line, b"" if is_dated else date, block, framing, b"\r\n" if keeps_alive else _CLOSE + b"\r\n"))
    return head, left if has_body and not is_head else NO_BODY, keeps_alive


def _block_of(headers: Collection[tuple[bytes, bytes]]) -> tuple[bytes, int | None, bool, bool]:
    """The headers' lines, the content-length, whether a date is among them, and whether they wish to close."""
    lines: list[bytes] = []
    declared: int | None = None
    is_dated = closes = False
    for name, value in headers:
        if name in _OURS:
            if name == b"content-length":
                declared = int(value)
            elif name == b"date":
                is_dated = True
            else:
                closes = closes or (name == b"connection" and b"close" in value.lower())
                continue
        lines.append(b": ".join((name, value)))
    lines.append(b"")
    block = b"\r\n".join(lines)
    if len(block.translate(None, b"\r\n\0")) != len(block) - 2 * (len(lines) - 1):
        raise RuntimeError("A response header holds CR, LF or NUL.")
    return block, declared, is_dated, closes


def refusal(status: HTTPStatus, date: bytes) -> bytes:
    """A whole response of the server's own, after which the connection is closed."""
    body = _REASONS[status].encode() + b"\n"
    headers = ((b"content-type", b"text/plain; charset=utf-8"),)
    head, _, _ = render(status, headers, date, is_head=False, is_http11=True, keeps_alive=False, length=len(body))
    return head + body
