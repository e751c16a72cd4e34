"""Retries never multiply load, and nobody's mistakes but a provider's own count against it (T10 to T13, T15, F05)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from every_provider import DIALECTS, ask
from raw_http import ask as raw_ask
from reliability.scene import LENIENT, completion, records, routing
from served import openrouter, serving
from sizes import BAD_REQUESTS, FAILING_S
from trunkline.core.resilience import RetryLimits
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

RATE = 100
BUSY = script.openrouter_error(503, "busy")


async def test_when_everything_fails_upstreams_get_a_fifth_more_than_clients_ask(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """T10: and ten a second, the reserve that lets a quiet router retry at all."""
    clock = asyncio.get_running_loop().time
    always = "[breaker]\nconsecutive = 100000\nleast = 100000\n"  # a breaker would hide it
    async with (
        ScriptedUpstream(lambda _: BUSY) as p0,
        ScriptedUpstream(lambda _: BUSY) as p1,
        routing(tmp_path, p0, p1, retries=RetryLimits(attempts=3, backoff_s=0.01), toml=always) as router,
    ):
        begun = clock()
        async with asyncio.TaskGroup() as tasks:
            for number in range(RATE * FAILING_S):
                tasks.create_task(raw_ask(router, completion(stream=False), timeout_s=60))
                await asyncio.sleep(max(0.0, begun + number / RATE - clock()))
        lasted = clock() - begun
        asked = RATE * FAILING_S
        record_property(
            f"T10: upstream requests for a client's, over {FAILING_S} s", round((p0.received + p1.received) / asked, 3)
        )
        assert asked <= p0.received + p1.received <= 1.2 * asked + 10 * lasted + 3


@pytest.mark.parametrize("attempts", [0, 1, 3])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_upstream_is_asked_as_often_as_is_configured_exactly(
    tmp_path: Path, dialect: str, attempts: int
) -> None:
    """T11: no transport under the router retries by itself, and the client's SDK is told not to."""
    retries = RetryLimits(attempts=attempts, backoff_s=0.0)
    async with (
        ScriptedUpstream(lambda _: script.json_error(503, {"error": {"message": "busy"}})) as upstream,
        routing(tmp_path, upstream, retries=retries, dialect=dialect) as router,
    ):
        got = await ask(router, "openai_chat", "r", stream=False)
        assert upstream.received == 1 + attempts
    assert got.headers["x-trunkline-attempts"] == str(1 + attempts)
    assert got.headers.get("x-should-retry") == ("false" if attempts else None)


def limited(*headers: tuple[str, str]) -> Script:
    """A limit on the rate, with these headers."""
    return script.openrouter_error(429, "slow down", headers=headers)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("retry-after", "2"),), 2),
        ((("retry-after", "1.5"),), 1.5),
        ((("retry-after-ms", "1500"),), 1.5),
        ((("x-ratelimit-reset-requests", "2s"), ("x-ratelimit-remaining-requests", "0")), 2),
        ((("date", "Tue, 24 Nov 2026 10:00:00 GMT"), ("retry-after", "Tue, 24 Nov 2026 10:00:02 GMT")), 2),
    ],
)
async def test_a_limit_is_respected_for_as_long_as_it_says(
    tmp_path: Path, upstream: ScriptedUpstream, headers: tuple[tuple[str, str], ...], seconds: float
) -> None:
    """T12: in that time nothing reaches the upstream, and clients hear how long they wait; after it, it is asked."""
    clock = asyncio.get_running_loop().time
    upstream.play(limited(*headers), script.chat_stream(["again"]))
    async with routing(tmp_path, upstream) as router:
        assert (await ask(router, "openai_chat", "r")).status == 429
        limited_at = clock()
        got = await ask(router, "openai_chat", "r")
        assert (got.status, upstream.received) == (429, 1)
        assert 1 <= int(got.headers["retry-after"]) <= 2
        await asyncio.sleep(seconds - 0.5 - (clock() - limited_at))
        assert (await ask(router, "openai_chat", "r")).status == 429
        await asyncio.sleep(seconds + 0.2 - (clock() - limited_at))
        assert (await ask(router, "openai_chat", "r")).status == 200


@pytest.mark.parametrize("value", ["-5", "soon", "", "nan", "Tue, 24 Nov 1999 10:00:00 GMT"])
async def test_nonsense_and_the_past_bar_nobody(tmp_path: Path, upstream: ScriptedUpstream, value: str) -> None:
    headers = (("date", "Tue, 24 Nov 2026 10:00:00 GMT"), ("retry-after", value))
    upstream.play(limited(*headers), script.chat_stream(["again"]))
    async with routing(tmp_path, upstream) as router:
        assert (await ask(router, "openai_chat", "r")).status == 429
        assert (await ask(router, "openai_chat", "r")).status == 200


async def test_a_wait_of_years_is_an_hour_and_a_shorter_one_never_shortens_it(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """Two that were asked at once: the first to answer says 1e9 seconds, the second says 1."""
    upstream.play(
        limited(("retry-after", "1e9")).but(delay_headers_s=0.2), limited(("retry-after", "1")).but(delay_headers_s=0.4)
    )
    async with routing(tmp_path, upstream) as router:
        await asyncio.gather(*(ask(router, "openai_chat", "r") for _ in range(2)))
        got = await ask(router, "openai_chat", "r")
    assert (got.status, upstream.received) == (429, 2)
    assert 3500 <= int(got.headers["retry-after"]) <= 3600


async def test_many_bad_requests_do_not_touch_the_good_ones(tmp_path: Path) -> None:
    """T13."""
    bad = [
        script.openrouter_error(400, "temperature is too hot"),
        script.openrouter_error(413, "too large"),
        script.openrouter_error(422, "cannot be processed"),
        script.openrouter_error(403, "no", error_type="content_policy_violation"),
    ]

    def answer(request: ReceivedRequest) -> Script:
        content: str = request.json()["messages"][0]["content"]
        return script.chat_whole("good") if content == "good" else bad[int(content)]

    async with (
        ScriptedUpstream(answer) as upstream,
        ScriptedUpstream() as second,
        routing(tmp_path, upstream, second, retries=RetryLimits()) as router,
    ):
        for number in range(BAD_REQUESTS):
            is_good = number % 20 == 0
            status, *_ = await raw_ask(router, completion(stream=False, content="good" if is_good else str(number % 4)))
            assert (status == 200) is is_good
            assert is_good or 400 <= status < 500
        assert (upstream.received, second.received) == (BAD_REQUESTS, 0)
        assert all(len(record.attempts) == 1 for record in records(router))


async def test_a_refused_key_is_left_alone_and_the_providers_other_key_serves(tmp_path: Path) -> None:
    """T13."""
    used: list[str] = []

    def answer(request: ReceivedRequest) -> Script:
        key = request.headers["authorization"].removeprefix("Bearer ")
        used.append(key)
        return script.openrouter_error(401, "who?") if key == "bad" else script.chat_whole("good")

    async with ScriptedUpstream(answer) as upstream, two_keys(tmp_path, upstream) as router:
        for _ in range(20):
            assert (await ask(router, "openai_chat", "two/m", stream=False)).status == 200
    assert used.count("bad") == 1
    assert used.count("good") == 20


def two_keys(directory: Path, upstream: ScriptedUpstream) -> Any:
    """A router whose provider has two keys; it meets the bad one first or later, as chance has it."""
    (directory / "trunkline.toml").write_text(
        f'[providers.two]\ndialect = "openai_chat"\nbase_url = "{upstream.base_url}"\n'
        'credentials = ["env:BAD", "env:GOOD"]\nmodels = [{ id = "m" }]\n'
    )
    settings = openrouter(upstream, directory, {"BAD": "bad", "GOOD": "good"})
    return serving(settings, retries=RetryLimits(concurrent=100))


@pytest.mark.parametrize(("share", "reaches"), [(0.5, True), (0.0, False)])
async def test_when_all_targets_are_given_up_they_are_asked_all_the_same_or_refused_at_once(
    tmp_path: Path, share: float, *, reaches: bool
) -> None:
    """T15: as configured; never an empty 500."""
    clock = asyncio.get_running_loop().time
    async with (
        ScriptedUpstream(lambda _: BUSY) as p0,
        ScriptedUpstream(lambda _: BUSY) as p1,
        routing(tmp_path, p0, p1, retries=RetryLimits(), toml=f"[breaker]\npanic_share = {share}\n") as router,
    ):
        for _ in range(10):
            await ask(router, "openai_chat", "r", stream=False)
        before = p0.received + p1.received
        begun = clock()
        status, headers, body = await raw_ask(router, completion(stream=False))
        lasted = clock() - begun
        assert (p0.received + p1.received > before) is reaches
        assert status == (502 if reaches else 503)
        assert body
        if not reaches:
            assert lasted <= 0.05 * LENIENT
            assert 1 <= int(headers["retry-after"]) <= 60
