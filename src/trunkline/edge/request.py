"""One HTTP request as the edge sees it, and the answer to it: raw ASGI, with our headers added in one place."""

from __future__ import annotations

import re
from os import urandom
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs

from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    WriteProblem = Callable[..., bytes]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_ONCE: Final = frozenset({"host", "content-length", "content-type", "authorization", "origin", "idempotency-key"})


class _Ids:
    """Makes request ids. Owns random bytes that were fetched for many of them: each fetch is a system call."""

    def __init__(self) -> None:
        self._bytes = memoryview(b"")

    def new(self) -> str:
        if not self._bytes:
            self._bytes = memoryview(urandom(16 * 256))
        made, self._bytes = self._bytes[:16], self._bytes[16:]
        return made.hex()


_IDS: Final = _Ids()


class ClientLeft(Exception):
    """The client closed its connection before its request was whole."""


class Request:
    """Method, path and headers, decoded once. `headers` has lower-case names; a repeated one keeps its first value."""

    __slots__ = (
        "channel",
        "headers",
        "id",
        "is_read",
        "is_recorded",
        "loop",
        "method",
        "path",
        "repeated",
        "scope",
        "started",
        "write_problem",
    )

    def __init__(self, scope: Scope, loop: AbstractEventLoop) -> None:
        self.scope = scope
        self.channel = channel_of(scope)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.loop = loop
        self.started = loop.time()
        self.write_problem: WriteProblem | None = None
        """Set by a handler that knows the client's dialect better than the route does."""
        self.is_read = False
        """Whether the body was read to its end."""
        self.is_recorded = False
        """Whether the request became an Exchange: then its Record tells of it."""
        raw = scope["headers"]
        self.headers: dict[str, str] = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
        self.repeated: str | None = None
        """A header that may come only once, and came again. The front refuses it."""
        if len(self.headers) < len(raw):
            self._keep_first(raw)
        given = self.headers.get("x-request-id")
        self.id = given if given is not None and _ID.fullmatch(given) else _IDS.new()

    def _keep_first(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in raw:
            name = raw_name.decode("latin-1")
            if name not in headers:
                headers[name] = raw_value.decode("latin-1")
            elif name in _ONCE:
                self.repeated = name
        self.headers = headers

    @property
    def credential(self) -> str | None:
        """What the client presents as its key: Bearer, x-api-key or x-goog-api-key."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        return self.headers.get("x-api-key") or self.headers.get("x-goog-api-key")

    def cookie(self, name: str) -> str | None:
        """The value of one cookie."""
        if "cookie" not in self.headers:
            return None
        for pair in self.headers["cookie"].split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return None

    def query(self, name: str) -> str | None:
        """The value of one parameter of the address; the last one where it comes more than once."""
        given = parse_qs(self.scope.get("query_string", b"").decode("latin-1"))
        return given[name][-1] if name in given else None

    @property
    def wants_json(self) -> bool:
        """Whether an error should be plain JSON: asked for, and an event stream not."""
        accept = self.headers.get("accept", "").lower()
        return "application/json" in accept and "text/event-stream" not in accept

    def declared_length(self) -> int | None:
        """Content-Length, where there is one. Raises Problem INVALID_REQUEST for what is no number."""
        value = self.headers.get("content-length")
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise invalid("The header `content-length` is not a number.")
        return int(value)


class Channel(Protocol):
    """Our server's extension to ASGI (`trunkline.server`): what an answer needs, without waiting."""

    is_full: bool
    """Whether the client is behind."""

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], /) -> None:
        """Status and headers; they leave with what is written first."""
        ...

    def write(self, data: bytes, /) -> None:
        """A piece of the body."""
        ...

    def end(self, data: bytes = b"", /) -> None:
        """The last piece."""
        ...

    async def writable(self) -> None:
        """Wait until the client has caught up, or has left."""
        ...

    def take_body(self) -> bytes | None:
        """The whole body, if it is there; otherwise `receive` gives it."""
        ...

    def on_disconnect(self, callback: Callable[[], None], /) -> None:
        """Have this called when the client leaves before the answer has ended."""
        ...


def channel_of(scope: Scope) -> Channel | None:
    """The channel of this request, where our server serves it; any other server has none."""
    return scope.get("extensions", {}).get("trunkline.channel")


class Answer:
    """The way back. Adds `headers` to whatever is sent, and remembers the status."""

    __slots__ = ("channel", "headers", "raw", "status")

    def __init__(self, send: Send, channel: Channel | None = None) -> None:
        self.raw = send
        self.channel = channel
        self.headers: list[tuple[bytes, bytes]] = []
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """An ASGI send. The body goes through untouched: hot routes may use `raw` for it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
        await self.raw(message)

    def open(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers, through the channel that there must be."""
        assert self.channel is not None  # noqa: S101 - who has none awaits `start`
        self.status = status
        self.channel.start(status, (*headers, *self.headers))

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers."""
        if self.channel is None:
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
        else:
            self.open(status, headers)

    async def write(self, data: bytes) -> None:
        """A piece of the body. Waits while the client is behind."""
        if self.channel is None:
            await self.raw({"type": "http.response.body", "body": data, "more_body": True})
            return
        self.channel.write(data)
        if self.channel.is_full:
            await self.channel.writable()

    async def end(self, data: bytes = b"") -> None:
        """The last piece."""
        if self.channel is None:
            await self.raw({"type": "http.response.body", "body": data, "more_body": False})
        else:
            self.channel.end(data)

    async def whole(self, status: int, body: bytes, media_type: bytes, *headers: tuple[bytes, bytes]) -> None:
        """A whole response."""
        if body:
            headers = ((b"content-type", media_type), (b"content-length", b"%d" % len(body)), *headers)
        if self.channel is None:
            await self.start(status, headers)
            await self.end(body)
        else:
            self.open(status, headers)
            self.channel.end(body)
