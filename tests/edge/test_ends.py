"""How a stream's end leaves."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from raw_http import request
from reliability.scene import until
from trunkline.edge.event_stream import EventStream
from trunkline.edge.request import Answer
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

CHAT = {"model": "openrouter/some-model", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


class Reads(asyncio.Protocol):
    """A client that keeps what each read of its socket brought."""

    def __init__(self) -> None:
        self.each: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.each.append(data)


@pytest.mark.parametrize(("path", "body"), [("/api/chat", {"message": "Hi"}), ("/v1/chat/completions", CHAT)])
async def test_the_last_event_and_the_end_of_the_response_are_one_write(
    router: Router, upstream: ScriptedUpstream, path: str, body: dict[str, object]
) -> None:
    upstream.play(script.chat_stream(["Hello"]))
    transport, client = await asyncio.get_running_loop().create_connection(Reads, "127.0.0.1", router.port)
    try:
        transport.write(request("POST", path, json.dumps(body).encode()))
        await until(lambda: client.each[-1:] != [] and client.each[-1].endswith(b"\r\n0\r\n\r\n"), 5)
        assert b"data: [DONE]\n\n" in client.each[-1]
    finally:
        transport.abort()


async def test_what_a_slow_client_was_being_sent_is_not_said_again_at_the_end() -> None:
    said: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message.get("body", b""))
        if message.get("body") == b"two":
            await asyncio.Event().wait()

    async def pour() -> None:
        for event in (b"one", b"two"):
            stream.write(event)
            await stream.room()

    stream = EventStream(Answer(send), list, early_headers_s=5, keep_alive_s=5)
    pouring = asyncio.create_task(pour())
    await until(lambda: said[-1:] == [b"two"], 5)
    pouring.cancel()
    await asyncio.wait([pouring])
    await stream.end(b"cut")
    assert said == [b"", b"one", b"two", b"cut"]
