"""An application as small as one can be that is started, drained and cut: what the supervisor's tests supervise."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from trunkline.core.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.supervisor.worker import Ask


def build(settings: bytes) -> StreamingApp:
    """The factory. `settings` is a JSON object: `tag` and `note` come back in answers, `fault` says how not to start.

    Of those who have `only_one`, a file that is not there, the first starts, and no other. Another `note` is taken as
    it runs; all else needs a new worker.
    """
    return StreamingApp(**json.loads(settings))


class StreamingApp:
    def __init__(self, tag: str = "", fault: str = "", note: str = "", only_one: str = "") -> None:
        self._tag = tag
        self._note = note
        self._fault = fault
        self._only_one = only_one
        self._ask: Ask | None = None
        self._requests = 0
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False
        self._cut = asyncio.Event()

    def attach(self, ask: Ask) -> None:
        self._ask = ask

    async def start(self) -> None:
        if self._only_one:
            Path(self._only_one).touch(exist_ok=False)
        match self._fault:
            case "problem":
                raise Problem(Kind.UNAVAILABLE, "The database is not migrated. Run: trunkline migrate")
            case "crash":
                raise ZeroDivisionError
            case "exit":
                os._exit(3)
            case "hang":
                await asyncio.sleep(3600)
            case _:
                pass

    def begin_drain(self) -> None:
        self._is_draining = True

    async def drained(self) -> None:
        await self._idle.wait()

    def cut(self) -> None:
        self._cut.set()

    async def stop(self) -> None:
        pass

    async def answer(self, op: str, args: Mapping[str, Any]) -> Any:
        if op != "reload":
            raise Problem(Kind.INTERNAL, f"no {op}")
        settings = json.loads(b64decode(args["settings"]))
        note = settings.get("note", "")
        if note == self._note:
            return {"new_worker": ["tag"], "restart": []}
        if note == "wrong":
            raise Problem(Kind.INVALID_REQUEST, "this note cannot be taken")
        self._note = note
        return {"new_worker": [], "restart": ["port"]}

    def snapshot(self) -> dict[str, Any]:
        return {"counters": {"requests": self._requests}, "gauges": {"pid": os.getpid()}}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._running += 1
        self._requests += 1
        self._idle.clear()
        try:
            await self._answer(scope, send)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _answer(self, scope: Any, send: Any) -> None:
        query = parse_qs(scope["query_string"].decode())
        match scope["path"]:
            case _ if self._is_draining:
                await respond(send, 503, {"error": "draining"}, [(b"connection", b"close")])
            case "/slow":
                await self._stream(send, int(query["count"][0]), float(query["every"][0]))
            case "/metrics" if self._ask is not None:
                await respond(send, 200, await self._ask("metrics", {}))
            case "/reload" if self._ask is not None:
                await respond(send, 200, await self._ask("reload", {}))
            case "/frozen":
                await respond(send, 200, gc.get_freeze_count())
            case "/die":
                os._exit(3)
            case _:
                await respond(send, 200, {"pid": os.getpid(), "tag": self._tag, "note": self._note})

    async def _stream(self, send: Any, count: int, every_s: float) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(count):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            try:
                async with asyncio.timeout(every_s):
                    await self._cut.wait()
            except TimeoutError:
                continue
            await send({"type": "http.response.body", "body": b"data: cut\n\n"})
            return
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def respond(send: Any, status: int, value: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps(value).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*(headers or []), length]})
    await send({"type": "http.response.body", "body": body})
