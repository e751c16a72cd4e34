"""T51: past its bound the router refuses at once and says when to come again, and what it has taken it answers."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING

import pytest

from raw_http import ask, connected, request
from reliability.scene import LENIENT, completion, in_flight, recorded, routing, until
from sizes import OVERLOAD_S
from trunkline.core.problem import Kind, Problem
from trunkline.edge.places import Places, places_for
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from served import Router

AT_ONCE = 8
ANSWER_S = 0.2
REFUSED_WITHIN_S = 0.05
BOUNDED = f"[server]\nmax_in_flight = {AT_ONCE}"
HELD = script.chat_stream(["held"], finish=None, done=False, usage=None).but(end=script.End.STALL)


def test_a_process_sheds_when_requests_hold_nine_tenths_of_its_descriptors() -> None:
    assert places_for(20_000) == 9_000
    assert places_for(1024) == 460
    assert places_for(1) == 1


def test_a_place_that_was_left_is_free_again() -> None:
    places = Places(1)
    with places, pytest.raises(Problem) as caught, places:
        pass
    assert (caught.value.kind, caught.value.retry_after_s) == (Kind.OVERLOADED, 1)
    with places:
        assert places.taken == 1
    assert places.taken == 0


async def test_the_operators_bound_never_exceeds_what_the_descriptors_carry(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with routing(tmp_path, upstream, toml="[server]\nmax_in_flight = 100000000") as router:
        assert router.app._inference._places.most == places_for(soft)


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/chat", b'{"message":"Hi","model":"r"}', b'"type":"server_error"'),
        ("/v1/chat/completions", b'{"model":"r","messages":[]}', b'"code":"overloaded"'),
        ("/v1/messages", b'{"model":"r","max_tokens":1,"messages":[]}', b'"type":"overloaded_error"'),
        ("/v1/responses", b'{"model":"r","input":"Hi"}', b'"code":"overloaded"'),
        ("/v1beta/models/r:generateContent", b'{"contents":[]}', b'"status":"UNAVAILABLE"'),
    ],
)
async def test_the_first_request_too_many_is_refused_in_its_own_dialect_before_its_body_is_read(
    tmp_path: Path, upstream: ScriptedUpstream, path: str, body: bytes, says: bytes
) -> None:
    upstream.play(HELD)
    async with routing(tmp_path, upstream, toml="[server]\nmax_in_flight = 1") as router, connected(router) as first:
        await first.send(completion())
        await first.read_until(b"held")
        whole = request("POST", path, body, "Accept: application/json")
        status, headers, answer = await ask(router, whole[: -len(body)])  # and not a byte of the body
        assert (status, headers["retry-after"]) == (503, "1")
        assert says in answer.replace(b": ", b":")
        first.reset()
        await until(lambda: not in_flight(router))
        upstream.play(script.chat_stream(["there is room again"]))
        async with connected(router) as third:
            await third.send(completion())
            await third.read_until(b"room again")


async def test_operators_are_answered_however_many_requests_there_are(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    upstream.play(HELD)
    async with routing(tmp_path, upstream, toml="[server]\nmax_in_flight = 1") as router, connected(router) as first:
        await first.send(completion())
        await first.read_until(b"held")
        assert (await ask(router, request("GET", "/health")))[0] == 200
        assert (await ask(router, request("GET", "/readyz")))[0] == 200


async def test_three_times_too_many_requests_cost_little_of_what_is_answered(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Goodput stays at nine tenths of what it is without them; the rest hears within 50 ms that it is refused."""

    def answer(_: object) -> script.Script:
        return script.chat_whole("ok").but(delay_headers_s=ANSWER_S)

    async with ScriptedUpstream(answer) as upstream, routing(tmp_path, upstream, toml=BOUNDED) as router:
        peak = await _answered_per_s(router, AT_ONCE)
        clock = asyncio.get_running_loop().time
        refusals: list[float] = []
        answered = 0

        async def one() -> None:
            nonlocal answered
            begun = clock()
            status, headers, _ = await ask(router, completion(stream=False), timeout_s=30)
            if status == 200:
                answered += 1
                return
            refusals.append(clock() - begun)
            assert (status, headers["retry-after"]) == (503, "1")

        begun = clock()
        every_s = 1 / (3 * AT_ONCE / ANSWER_S)
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(OVERLOAD_S / every_s)):
                tasks.create_task(one())
                await asyncio.sleep(max(0.0, begun + number * every_s - clock()))
        lasted = clock() - begun
        refusals.sort()
        record_property(
            f"T51: % of the peak that {OVERLOAD_S} s of three times too much leave",
            round(100 * answered / lasted / peak),
        )
        for share in (0.5, 0.99):
            record_property(
                f"T51: ms of a refusal, p{share * 100:g}", round(1000 * refusals[int(share * len(refusals))], 1)
            )
        assert answered / lasted >= 0.9 * peak / LENIENT
        assert refusals[len(refusals) // 2] <= REFUSED_WITHIN_S * LENIENT
        assert await until(lambda: not in_flight(router)) < 5
        assert len(await recorded(router, answered)) == upstream.received


async def _answered_per_s(router: Router, at_once: int) -> float:
    """How many answers a second so many patient clients get."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    answered = 0

    async def patient() -> None:
        nonlocal answered
        while clock() < begun + 1.0:
            assert (await ask(router, completion(stream=False)))[0] == 200
            answered += 1

    await asyncio.gather(*(patient() for _ in range(at_once)))
    return answered / (clock() - begun)
