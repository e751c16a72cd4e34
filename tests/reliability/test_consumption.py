"""Nobody consumes without bound: neither by what is sent, nor by how long it takes, nor by how many come (S17)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from every_provider import ask
from raw_http import ask as raw_ask
from raw_http import request
from reliability.scene import LENIENT, in_flight, routing, until
from trunkline.upstream import script

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

ENDLESS = script.chat_stream(["x"], finish=None, done=False, role_chunk=False, usage=None).but(
    repeat=True, delay_between_s=0.01
)


async def test_an_answer_without_end_ends_at_its_limit(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    clock = asyncio.get_running_loop().time
    upstream.play(ENDLESS)
    async with routing(tmp_path, upstream, toml="[timeouts]\ntotal_s = 0.5") as router:
        begun = clock()
        got = await ask(router, "openai_chat", "r")
        assert clock() - begun <= 0.5 * LENIENT
        await upstream.wait_until(lambda: upstream.active == 0)
        await until(lambda: not in_flight(router))
    assert got.ends_in_an_error


async def test_a_whole_answer_without_end_is_not_collected_for_ever(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    upstream.play(script.null().but(body=(b" " * (1 << 20),), repeat=True, framing=script.Framing.CHUNKED))
    async with routing(tmp_path, upstream) as router:
        got = await ask(router, "openai_chat", "r", stream=False)
        await upstream.wait_until(lambda: upstream.active == 0)
    assert got.status == 502
    assert upstream.bytes_sent <= 64 << 20


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with routing(tmp_path, upstream, toml="[server]\nmax_body_bytes = 1000") as router:
        body = json.dumps({"model": "r", "messages": [{"role": "user", "content": "x" * 2000}]}).encode()
        whole = request("POST", "/v1/chat/completions", body)
        status, *_ = await raw_ask(router, whole[: -len(body)])
    assert (status, upstream.received) == (413, 0)
