"""The relay: what arrives is written in the callback that brings it; nothing is taken while the client is behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.walks import Walks, exchange_of, target
from trunkline.core.catalog import Timeouts
from trunkline.core.problem import Kind, Problem
from trunkline.core.resilience import RetryLimits
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client
    from trunkline.upstream.scripted import ScriptedUpstream

BODY = b'{"model":"r","messages":[{"role":"user","content":"Hi"}],"stream":true}'
PIECE = "x" * 10_000
PATIENCE_S = 10


class Behind:
    """A client that takes `at_once` bytes, and no more before it is told to."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.left = at_once
        self.read = 0
        self.catches_up = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self.left <= 0

    def write(self, data: bytes) -> None:
        assert not self.is_full
        self.read += len(data)
        self.left -= len(data)

    async def room(self) -> None:
        await self.catches_up.wait()
        self.catches_up.clear()
        self.left = self.at_once


def asking() -> Exchange:
    return exchange_of(OpenAIChatIngress(), BODY, route="/v1/chat/completions")


async def test_a_client_that_is_behind_slows_its_upstream_down(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream([PIECE], finish=None, done=False, role_chunk=False, usage=None).but(repeat=True))
    reader = Behind(50_000)
    running = asyncio.create_task(Walks(client, target("one", upstream)).pour(asking(), reader))
    await asyncio.wait_for(_settled(upstream), PATIENCE_S)
    before = reader.read
    assert before < 50_000 + 4 * len(PIECE)
    reader.catches_up.set()
    while reader.read == before:  # noqa: ASYNC110 - a client has no event for that
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


async def test_a_pause_of_the_client_is_no_silence_of_the_upstream(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream([PIECE] * 20, usage=None))
    reader = Behind(20_000)
    timeouts = Timeouts(idle_bytes_s=0.2, idle_content_s=0.2)
    running = asyncio.create_task(Walks(client, target("one", upstream, timeouts=timeouts)).pour(asking(), reader))
    await asyncio.sleep(0.6)
    while not running.done():
        reader.catches_up.set()
        await asyncio.sleep(0.01)
    running.result()
    assert reader.read > 200_000


async def test_a_break_is_told_only_after_what_came_before_it(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream([PIECE] * 5, finish=None, done=False, usage=None).but(end=End.FIN))
    reader = Behind(1)
    walks = Walks(client, target("one", upstream), limits=RetryLimits(attempts=0))
    running = asyncio.create_task(walks.pour(asking(), reader))
    while not running.done():
        reader.catches_up.set()
        await asyncio.sleep(0.01)
    with pytest.raises(Problem) as caught:
        running.result()
    assert caught.value.kind is Kind.TRUNCATED
    assert reader.read > 50_000


async def test_what_a_client_raises_ends_the_walk(client: Client, upstream: ScriptedUpstream) -> None:
    class Faulty(Behind):
        def write(self, data: bytes) -> None:
            super().write(data)
            raise ArithmeticError("a fault of ours")

    upstream.play(script.chat_stream(["Hello"]).but(delay_between_s=0.02))
    walks = Walks(client, target("one", upstream))
    with pytest.raises(ArithmeticError):
        await asyncio.wait_for(walks.pour(asking(), Faulty(100_000)), PATIENCE_S)
    assert walks.records[0].problem == "internal"


async def _settled(upstream: ScriptedUpstream) -> None:
    """Wait until the upstream can send no more."""
    last = -1
    while upstream.bytes_sent != last:
        last = upstream.bytes_sent
        await asyncio.sleep(0.3)
