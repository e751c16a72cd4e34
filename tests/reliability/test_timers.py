"""Each wait has its own timer and its own words, and the upstream is closed when it runs out (T08, T17, F09)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from every_provider import ask
from reliability.scene import LENIENT, in_flight, routing
from trunkline.core.resilience import RetryLimits
from trunkline.upstream import script
from trunkline.upstream.script import End, Script
from trunkline.upstream.scripted import ScriptedUpstream, black_hole

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 0.4
LATE_S = 0.25 * LENIENT
BEGUN = script.chat_stream(["Hel"], finish=None, done=False, usage=None)
PINGING = BEGUN.but(body=(*BEGUN.body, *[b": ping\n\n"] * 600), delay_between_s=0.05)
TALKING = script.chat_stream(["x"], finish=None, done=False, role_chunk=False, usage=None).but(
    repeat=True, delay_between_s=0.05
)


class Hole(NamedTuple):
    """Where an upstream goes silent: which timer it meets, the status, and the words."""

    playing: Script
    timer: str
    status: int
    says: str
    stream: bool = True


HOLES = {
    "headers": Hole(BEGUN.but(delay_headers_s=30), "first_token_s", 504, "gave no first token"),
    "first token": Hole(BEGUN.but(delay_first_s=30), "first_token_s", 504, "gave no first token"),
    "after a role": Hole(
        script.chat_stream([], finish=None, done=False, usage=None).but(end=End.STALL),
        "first_token_s",
        504,
        "gave no first token",
    ),
    "a chunk": Hole(BEGUN.but(end=End.STALL), "idle_bytes_s", 200, "went silent"),
    "content among pings": Hole(PINGING, "idle_content_s", 200, "sent nothing new"),
    "the whole stream": Hole(TALKING, "total_s", 200, "longer than the limit"),
    "a whole answer": Hole(
        script.chat_whole("late").but(delay_first_s=30), "whole_s", 504, "longer than", stream=False
    ),
}


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
async def test_a_silence_meets_its_own_timer(tmp_path: Path, upstream: ScriptedUpstream, hole: Hole) -> None:
    upstream.play(hole.playing)
    clock = asyncio.get_running_loop().time
    async with routing(tmp_path, upstream, toml=f"[timeouts]\n{hole.timer} = {LIMIT_S}") as router:
        begun = clock()
        got = await ask(router, "openai_chat", "r", stream=hole.stream)
        assert LIMIT_S * 0.9 <= clock() - begun <= LIMIT_S * 1.1 + LATE_S
        await upstream.wait_until(lambda: upstream.active == 0, 0.5 * LENIENT)
        assert in_flight(router) == 0
    assert got.status == hole.status
    assert got.ends_in_an_error
    assert hole.says in str(got.errors[0])


async def test_a_connection_that_is_never_accepted_meets_the_timer_of_connecting(tmp_path: Path) -> None:
    clock = asyncio.get_running_loop().time
    with black_hole() as port:
        async with routing(tmp_path, port, toml=f"[timeouts]\nconnect_s = {LIMIT_S}") as router:
            begun = clock()
            got = await ask(router, "openai_chat", "r")
            assert LIMIT_S * 0.9 <= clock() - begun <= LIMIT_S * 1.1 + LATE_S
    assert got.status == 504
    assert f"Could not connect to 127.0.0.1:{port} within 0.4 s" in str(got.errors[0])


async def test_a_last_chunk_that_never_comes_does_not_hold_a_finished_answer(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["Hello"], done=False).but(end=End.STALL))
    async with routing(tmp_path, upstream) as router:
        got = await asyncio.wait_for(ask(router, "openai_chat", "r"), 2 * LENIENT)
        await upstream.wait_until(lambda: upstream.active == 0)
    assert got.is_done


async def test_three_fallbacks_share_the_time_that_the_client_gives(tmp_path: Path) -> None:
    """T17: each attempt has what the ones before it have left, and all of it is over in time."""
    clock = asyncio.get_running_loop().time
    slow = script.openrouter_error(503, "busy").but(delay_headers_s=0.3)
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        ScriptedUpstream(lambda _: slow) as p0,
        ScriptedUpstream(lambda _: slow) as p1,
        ScriptedUpstream(lambda _: slow) as p2,
        ScriptedUpstream(lambda _: BEGUN.but(delay_headers_s=30)) as p3,
        routing(tmp_path, p0, p1, p2, p3, retries=RetryLimits()) as router,
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        begun = clock()
        response = await http.post(f"{router.url}/v1/chat/completions", json=body, headers={"x-trunkline-timeout": "2"})
        lasted = clock() - begun
        await p3.wait_until(lambda: p3.active == 0)
        came = [one.requests[0].received_at for one in (p0, p1, p2, p3)]
    assert 1.9 <= lasted <= 2.0 + 0.2 * LENIENT
    assert response.status_code == 504
    assert "within the 2 s that the request allows" in response.text
    assert response.headers["x-trunkline-attempts"] == "4"
    assert came == sorted(came)
