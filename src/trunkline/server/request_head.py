"""A request's line and headers: what is refused, and what the application sees as its scope."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from trunkline.server.channel import Channel

CHANNEL: Final = "trunkline.channel"

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Refused(Exception):
    """The request is answered with this status, and its connection is closed. None: it is closed without a word."""

    def __init__(self, status: HTTPStatus | None) -> None:
        super().__init__(status)
        self.status = status


def scope_of(
    method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]], channel: Channel
) -> dict[str, Any]:
    """The ASGI scope, less what the connection knows. Raises Refused.

    A target is a path: the absolute form, which only proxies are sent, would name a second host beside Host.
    """
    if version not in {"1.1", "1.0"}:
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if target[:1] != b"/" and (target != b"*" or method != "OPTIONS"):
        raise Refused(HTTPStatus.BAD_REQUEST)
    if b"#" in target:
        raise Refused(HTTPStatus.BAD_REQUEST)
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("latin-1")  # the parser lets nothing pass but ASCII
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "state": {},
        "extensions": {CHANNEL: channel},
    }


def check_coding(headers: list[tuple[bytes, bytes]], *, is_http11: bool) -> None:
    """Refuse a chunked body that is also coded, which nobody here would undo, or that HTTP/1.0 does not know."""
    for name, value in headers:
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise Refused(HTTPStatus.NOT_IMPLEMENTED)
    if not is_http11:
        raise Refused(HTTPStatus.BAD_REQUEST)


def without_upgrade(method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head as it would be without its wish for another protocol, h2c or WebSocket, which a server may ignore.

    Raises Refused for CONNECT, which is no wish. Java's own client sends such a wish with every request.
    """
    if method == "CONNECT":
        raise Refused(HTTPStatus.BAD_REQUEST)
    lines = [b"%b %b HTTP/%b" % (method.encode(), target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            if b"close" in value.lower():
                lines.append(b"connection: close")
        elif name != b"upgrade":
            lines.append(name + b": " + value)
    return b"\r\n".join((*lines, b"", b""))


def size_of(target: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """About how many bytes this head had on the wire."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
