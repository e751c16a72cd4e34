"""One JSON line asks, one JSON line answers: between parent and worker, and over the Unix control socket.

A request is `{"id": 1, "op": "metrics", "args": {}}` (`args` may be left out), its reply `{"id": 1, "result": ...}` or
`{"id": 1, "error": "..."}`. Both sides of a connection may ask. A line holds at most 4 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    Answer = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
    """Takes an op and its arguments and gives the result, JSON-able. Raises Refused with a sentence."""

LINE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one message, the line feed not counted."""

OPEN_LIMIT: Final = 64
"""Requests of one peer that are being answered at once."""

PEER_LIMIT: Final = 32
"""Connections to one control socket at once."""

SEND_S: Final = 2.0
"""A peer that does not take a message in this time is cut off."""

SUN_PATH_LIMIT: Final = 100
"""Bytes of a socket's path that every Unix takes (Linux 107, macOS 103)."""


class Refused(Exception):
    """The other side understood the request and says no; the message says why."""


class LinkClosed(Exception):
    """The other side is gone."""


class _Message(msgspec.Struct):
    id: int
    op: str | None = None
    args: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    result: Any = None
    error: str | None = None


class Link:
    """A connection over which both sides may ask. Owns its streams, its open questions and its open answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._answering: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def ask(self, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float) -> Any:
        """The other side's result. Raises Refused, LinkClosed, or TimeoutError after `timeout_s`."""
        if self._is_closed:
            raise LinkClosed
        self._last_id += 1
        identity = self._last_id
        line = msgspec.json.encode({"id": identity, "op": op, "args": dict(args or {})})
        if len(line) > LINE_LIMIT:
            raise Refused(f"This request is over {LINE_LIMIT} bytes.")
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[identity] = answered
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(line)
                return await answered
        finally:
            del self._asked[identity]

    async def serve(self) -> None:
        """Read until the other side closes, answering each request in a task of its own.

        What an answer raises, other than Refused, is a fault of ours: it is logged and told, and ends nothing else.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                async for message in self._messages():
                    if message.op is None:
                        self._take(message)
                    elif len(self._answering) >= OPEN_LIMIT:
                        await self._reply(message.id, {"error": "Too many requests at once."})
                    else:
                        task = tasks.create_task(self._respond(message.id, message.op, message.args))
                        self._answering.add(task)
                        task.add_done_callback(self._answering.discard)
                for task in self._answering:
                    task.cancel()
        finally:
            await self._close()

    async def _messages(self) -> AsyncIterator[_Message]:
        decode = msgspec.json.Decoder(_Message).decode
        while True:
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return
            except ValueError:
                await self._reply(None, {"error": f"A message holds at most {LINE_LIMIT} bytes."})
                return
            if not line.endswith(b"\n"):
                return
            try:
                message = decode(line)
            except msgspec.MsgspecError as problem:
                await self._reply(None, {"error": f"This is not a request: {problem}"})
                return
            yield message

    def _take(self, message: _Message) -> None:
        answered = self._asked.get(message.id)
        if answered is None or answered.done():
            return  # its timer was faster
        if message.error is None:
            answered.set_result(message.result)
        else:
            answered.set_exception(Refused(message.error))

    async def _respond(self, identity: int, op: str, args: dict[str, Any]) -> None:
        try:
            outcome = {"result": msgspec.Raw(msgspec.json.encode(await self._answer(op, args)))}
        except Refused as why:
            outcome = {"error": str(why)}
        except Exception as fault:  # the one blanket: it would end the link, and all that hangs by it
            logging.getLogger("trunkline.supervisor").exception("A process of the router failed at %s", op[:100])
            error = f"A process of the router failed at {op[:100]}: {type(fault).__name__}. The log tells why."
            outcome = {"error": error}
        await self._reply(identity, outcome)

    async def _reply(self, identity: int | None, outcome: dict[str, Any]) -> None:
        line = msgspec.json.encode({"id": identity, **outcome})
        if len(line) > LINE_LIMIT:
            line = msgspec.json.encode({"id": identity, "error": f"The answer is over {LINE_LIMIT} bytes."})
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(line)
        except LinkClosed:
            pass  # nobody is left to hear it
        except TimeoutError:
            self._writer.transport.abort()

    async def _send(self, line: bytes) -> None:
        try:
            self._writer.write(line + b"\n")
            await self._writer.drain()
        except ConnectionError as gone:
            raise LinkClosed from gone

    async def _close(self) -> None:
        self._is_closed = True
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(LinkClosed())
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(SEND_S):
                await self._writer.wait_closed()


async def open_link(end: socket.socket, answer: Answer) -> Link:
    """The link over one end of a socket pair, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_LIMIT)
    return Link(reader, writer, answer)


def control_path(runtime_dir: Path, port: int) -> Path:
    """Where the router on `port` listens for its operator: `runtime_dir/PORT.sock`.

    Where that is too long for a socket's address, the same place in a private directory of the system's temporary one.
    """
    path = runtime_dir / f"{port}.sock"
    if len(os.fsencode(path)) <= SUN_PATH_LIMIT:
        return path
    name = hashlib.sha256(os.fsencode(runtime_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"trunkline-{os.getuid()}-{name}" / f"{port}.sock"


@contextlib.asynccontextmanager
async def serve_control(path: Path, answer: Answer) -> AsyncGenerator[None]:
    """Answer on a Unix socket that only this user can open; a file that a dead router left is replaced.

    Raises Refused if another router answers there, or if the directory is not this user's.
    """
    _make_private(path.parent)
    if await _is_alive(path):
        raise Refused(f"another router answers on {path}")
    listener, inode = _bind(path)
    peers: set[asyncio.Task[Any]] = set()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(peers) >= PEER_LIMIT:
            writer.close()
            return
        peers.add(task)
        try:
            await Link(reader, writer, answer).serve()
        finally:
            peers.discard(task)

    server = await asyncio.start_unix_server(welcome, sock=listener, limit=LINE_LIMIT)
    try:
        yield
    finally:
        server.close()
        for peer in peers:
            peer.cancel()
        if peers:
            await asyncio.wait(peers, timeout=SEND_S)
        _remove(path, inode)


async def ask_router(path: Path, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float) -> Any:
    """Ask a running router over its control socket.

    Raises LinkClosed if none runs there, Refused if it says no, TimeoutError after `timeout_s`.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
    except OSError as gone:
        raise LinkClosed from gone
    link = Link(reader, writer, _refuse)
    serving = asyncio.create_task(link.serve())
    try:
        return await link.ask(op, args, timeout_s=timeout_s)
    finally:
        serving.cancel()
        await asyncio.wait({serving})


async def _refuse(op: str, _args: Mapping[str, Any]) -> Any:
    raise Refused(f"There is no {op} here.")


def _make_private(directory: Path) -> None:
    """Make the directory, for this user only. Raises Refused if somebody else could reach into it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise Refused(f"{directory} is not a directory of this user")
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _bind(path: Path) -> tuple[socket.socket, int]:
    """A socket for this user's eyes only, in place of what a dead router left, and the number of its file."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.fspath(path))
    path.chmod(0o600)
    return listener, path.stat().st_ino


def _remove(path: Path, inode: int) -> None:
    """Remove our file, unless another router has put its own there."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()


async def _is_alive(path: Path) -> bool:
    """Whether somebody listens on this socket file."""
    try:
        async with asyncio.timeout(SEND_S):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
