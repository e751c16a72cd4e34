"""Before the first content another target answers; after it, the client is told, and nothing is said twice (T07, F07).

Sampled over every dialect of client; what never ends is ended by the timers of silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from every_provider import CLIENTS, Got, ask
from reliability.scene import routing
from sizes import FALLBACKS
from trunkline.core.resilience import RetryLimits
from trunkline.upstream import script
from trunkline.upstream.script import End, Script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from pathlib import Path

QUICK = "[timeouts]\nfirst_token_s = 0.2\nidle_bytes_s = 0.2\n[breaker]\nconsecutive = 100000\nleast = 100000\n"
EAGER = RetryLimits(concurrent=100_000, reserve_per_s=1e6)

BEGUN = script.chat_stream(["Hel", "lo "], finish=None, done=False, usage=None)
SILENT = script.chat_stream([], finish=None, done=False, usage=None, comments=["ping"] * 3)

BEFORE: dict[str, Script] = {
    "an error": script.openrouter_error(503, "busy"),
    "an error in the stream": script.error_midstream([], 502, "provider_unavailable"),
    "a reset": SILENT.but(end=End.RST),
    "an end": SILENT.but(end=End.FIN),
    "a stall before the headers": SILENT.but(delay_headers_s=30),
    "a stall after a role and pings": SILENT.but(end=End.STALL),
}
AFTER: dict[str, Script] = {
    "an error": script.error_midstream(["Hel", "lo "], 502, "provider_unavailable"),
    "a reset": BEGUN.but(end=End.RST, delay_between_s=0.01),
    "an end": BEGUN.but(end=End.FIN),
    "a stall": BEGUN.but(end=End.STALL),
    "a line that is no JSON": BEGUN.but(body=(*BEGUN.body, b"data: {broken\n\n")),
}
ANSWER = script.chat_stream(["Hello ", "there"])


def said(got: Got) -> str:
    """All text of this stream, however its dialect spells it."""
    words: list[str] = []
    for event in got.events:
        match event:
            case {"content": str(text)} | {"type": "response.output_text.delta", "delta": str(text)}:
                words.append(text)
            case {"choices": [{"delta": {"content": str(text)}}]} | {
                "delta": {"type": "text_delta", "text": str(text)}
            }:
                words.append(text)
            case {"candidates": [{"content": {"parts": parts}}]}:
                words += [part["text"] for part in parts if "text" in part]
            case _:
                pass
    return "".join(words)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", BEFORE)
async def test_before_content_the_client_sees_one_clean_answer(
    tmp_path: Path, upstream: ScriptedUpstream, fault: str, client: str
) -> None:
    upstream.play(BEFORE[fault])
    async with (
        ScriptedUpstream(lambda _: ANSWER) as second,
        routing(tmp_path, upstream, second, retries=EAGER, toml=QUICK) as router,
    ):
        for _ in range(FALLBACKS):
            got = await ask(router, client, "r")
            assert (got.status, got.errors, got.is_done) == (200, [], True)
            assert said(got) == "Hello there"
            assert got.headers["x-trunkline-attempts"] == "2"
    assert upstream.received == second.received == FALLBACKS


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", AFTER)
async def test_after_content_nobody_else_is_asked_and_nothing_is_said_twice(
    tmp_path: Path, upstream: ScriptedUpstream, fault: str, client: str
) -> None:
    upstream.play(AFTER[fault])
    async with (
        ScriptedUpstream(lambda _: ANSWER) as second,
        routing(tmp_path, upstream, second, retries=EAGER, toml=QUICK) as router,
    ):
        for _ in range(FALLBACKS):
            got = await ask(router, client, "r")
            assert got.status == 200
            assert got.ends_in_an_error
            assert said(got) == "Hello "
        assert second.received == 0
    assert upstream.active == 0


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "seed"])
@pytest.mark.parametrize("fault", ["an error", "a reset", "an end", "a stall before the headers"])
async def test_a_whole_answer_that_fails_comes_from_another_target(
    tmp_path: Path, upstream: ScriptedUpstream, fault: str, client: str
) -> None:
    upstream.play(BEFORE[fault].but(headers=(("content-type", "application/json"),)))
    quick = QUICK.replace("first_token_s", "whole_s = 2\nfirst_token_s")
    is_stalled = fault.startswith("a stall")
    async with (
        ScriptedUpstream(lambda _: script.chat_whole("Hello there")) as second,
        routing(tmp_path, upstream, second, retries=EAGER, toml=quick) as router,
    ):
        got = await ask(router, client, "r", stream=False)
        # The whole answer has one timer, that of the request: when it has run out there is no time for another.
        assert got.status == (504 if is_stalled else 200)
        assert (b"Hello there" in got.content) is not is_stalled
        assert second.received == (not is_stalled)
