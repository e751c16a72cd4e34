"""A scripted upstream: a provider on a real loopback socket that answers exactly as it is told.

Tests, the demo and the benchmark use it. What it plays is in `script`, what it remembers in `journal`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self, cast

import httptools

from trunkline.upstream.journal import Ending, Journal, Play, ReceivedRequest
from trunkline.upstream.script import End, Script, echo, key_info, model_list, openrouter_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from trunkline.core.caller import Secret

HOST: Final = "127.0.0.1"
CLOSING_TIME_S: Final = 5.0
BACKLOG: Final = 4096
"""A thousand clients may connect at once; one that finds the queue full tries again only after a second."""

_LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


class ScriptedUpstream(Journal):
    """A provider that plays scripts, and its own journal. Open and close it with `async with`.

    `play` queues scripts; a request that finds none is answered by `answer`, which says the last message back
    unless given. `GET .../models` lists `models`. `GET .../key` knows the key of any caller, or only `accepts_key`;
    once that is given, everything but the model list needs it. `keep_alive_s` is how long a connection may wait for
    its next request, `longest_play_s` how long a play may take, stalls and endless ones included; the journal keeps
    `remember` requests. An exception that `answer` raises breaks that connection, and comes again on leaving.
    """

    def __init__(
        self,
        answer: Callable[[ReceivedRequest], Script] = echo,
        *,
        port: int = 0,
        models: Sequence[str] = ("scripted-1",),
        accepts_key: Secret | None = None,
        keep_alive_s: float = 75.0,
        longest_play_s: float = 3600.0,
        max_request_bytes: int = 64 * 1024 * 1024,
        remember: int = 10_000,
    ) -> None:
        super().__init__(remember)
        self.port = port
        self.keep_alive_s = keep_alive_s
        self.longest_play_s = longest_play_s
        self.max_request_bytes = max_request_bytes
        self.connections: set[ScriptedConnection] = set()
        self.fault: BaseException | None = None
        self.is_open = False
        self._answer = answer
        self._models = tuple(models)
        self._accepts_key = accepts_key
        self._queue: deque[Script] = deque()

    @property
    def base_url(self) -> str:
        """What a provider's `base_url` would be."""
        return f"http://{HOST}:{self.port}/v1"

    def play(self, *scripts: Script) -> None:
        """From now on: these scripts, one a request, the last one again and again. None: `answer` decides."""
        self._queue = deque(scripts)

    def choose(self, request: ReceivedRequest) -> Script:
        """The script for this request."""
        resource = request.path.rpartition("/")[2] if request.method == "GET" else ""
        if resource == "models":
            return model_list(self._models)
        if self._accepts_key is not None or resource == "key":
            key = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not key:
                return openrouter_error(401, "No cookie auth credentials found")
            if self._accepts_key is not None and key != self._accepts_key.reveal():
                return openrouter_error(401, "User not found.")
        if resource == "key":
            return key_info()
        if not self._queue:
            return self._answer(request)
        return self._queue.popleft() if len(self._queue) > 1 else self._queue[0]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ScriptedConnection(self), HOST, self.port, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]
        self.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False
        self._server.close()
        tasks = [task for connection in tuple(self.connections) if (task := connection.stop())]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING_TIME_S)
        await self.wait_until(lambda: not self.connections, CLOSING_TIME_S)
        await self._server.wait_closed()
        if self.fault is not None and error is None:
            raise self.fault


class ScriptedConnection(asyncio.Protocol):
    """One connection: requests in, one play after the other. It owns the task of the play that is under way.

    It never stops reading, so that it sees at once when the peer leaves, also while it is silent itself. A peer
    may send one request ahead.
    """

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[tuple[ReceivedRequest, bool]] = deque()
        self._play: Play | None = None
        self._task: asyncio.Task[None] | None = None
        self._begin_request()

    def _begin_request(self) -> None:
        self._size = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        # A write counts as done when the kernel has it: at most one piece waits here.
        self._transport.set_write_buffer_limits(high=0)
        self._upstream.connections.add(self)
        self._upstream.connection_opened()
        self._wait_for_request()
        if not self._upstream.is_open:
            self._transport.abort()  # it was accepted while the upstream was being closed

    def data_received(self, data: bytes) -> None:
        """Read on in the request."""
        self._size += len(data)
        if self._size > self._upstream.max_request_bytes:
            self._refuse(b"413 Content Too Large")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(b"400 Bad Request")
            return
        if self._play is None:
            self._play_next()
        if len(self._waiting) > 1:
            self._transport.abort()

    def eof_received(self) -> None:
        """The peer sent FIN: it has left."""
        self._peer_left()
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; why it went is all one
        """The connection is gone, whoever ended it."""
        self._peer_left()
        self._timer.cancel()
        self._upstream.connections.discard(self)
        self._upstream.connection_closed()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._writable.set()

    # What the parser reports.

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request."""
        path, _, query = self._target.decode("latin-1").partition("?")
        request = ReceivedRequest(
            id=next(self._upstream.ids),
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
            received_at=self._loop.time(),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._begin_request()

    # The play.

    def _wait_for_request(self) -> None:
        self._timer = self._loop.call_later(self._upstream.keep_alive_s, self._transport.close)

    def _play_next(self) -> None:
        if not self._waiting:
            return
        self._timer.cancel()
        request, keep_alive = self._waiting.popleft()
        self._play = self._upstream.begin(request)
        self._task = self._loop.create_task(self._perform(self._play, keep_alive=keep_alive))
        self._task.add_done_callback(self._performed)

    async def _perform(self, play: Play, *, keep_alive: bool) -> None:
        script = play.script = self._upstream.choose(play.request)
        keep_alive = keep_alive and script.keeps_alive
        try:
            async with asyncio.timeout(self._upstream.longest_play_s):
                await self._send_all(play, script, keep_alive=keep_alive)
        except TimeoutError:
            self._upstream.end(play, Ending.STOPPED)
            self._transport.abort()
            return
        self._upstream.end(play, Ending.FINISHED)
        if script.end is End.RST:
            self._reset()
        elif keep_alive:
            self._play = None
            self._wait_for_request()
            self._play_next()
        else:
            self._transport.close()

    async def _send_all(self, play: Play, script: Script, *, keep_alive: bool) -> None:
        if script.delay_headers_s:
            await asyncio.sleep(script.delay_headers_s)
        await self._send(script.head_bytes(keep_alive=keep_alive))
        delay_s = script.delay_first_s
        for piece in script.writes():
            # Also with no delay: this gives a peer in the same process the chance to read each piece by itself.
            await asyncio.sleep(delay_s)
            delay_s = script.delay_between_s
            await self._send(script.framed(piece))
            self._upstream.sent(play, len(piece))
        if script.end is End.STALL:
            await asyncio.sleep(self._upstream.longest_play_s * 2)
        elif script.end is End.CLEAN:
            await self._send(script.last_bytes)

    async def _send(self, data: bytes) -> None:
        self._transport.write(data)
        await self._writable.wait()

    def _performed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()):
            self._upstream.fault = fault
            self.stop()

    # The end.

    def _peer_left(self) -> None:
        if self._play is not None and self._play.ending is None:
            self._upstream.end(self._play, Ending.CANCELLED, left_at=self._loop.time())
            if self._task is not None:
                self._task.cancel()

    def _reset(self) -> None:
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._transport.abort()

    def _refuse(self, status: bytes) -> None:
        self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        self._transport.close()

    def stop(self) -> asyncio.Task[None] | None:
        """Break everything off; the task that is still to end, where there is one."""
        if self._play is not None:
            self._upstream.end(self._play, Ending.STOPPED)
        self._transport.abort()
        if self._task is None or self._task.done():
            return None
        self._task.cancel()
        return self._task


@contextmanager
def black_hole() -> Generator[int]:
    """A loopback port on which connecting hangs, on Linux: its backlog is full and nobody accepts."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
