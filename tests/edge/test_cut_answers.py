"""A cut at any byte is never told as a success, but as one error of the client's dialect (T06, F06).

Every offset of every transcript is tried without sockets in tests/dialects/test_cuts.py; here, some of them with.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialects.every_dialect import DIALECTS, finished_at
from every_provider import CLIENTS, ask, event_stream, routed
from sizes import CUT_OFFSETS
from trunkline.upstream.script import End, Framing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

TRANSCRIPTS = Path(__file__).parent.parent / "dialects" / "transcripts"
STREAMS = {
    "openai_chat: text": ("openai_chat", "llamacpp-chat-usage.sse"),
    "openai_chat: tools": ("openai_chat", "aimock-chat-weather.sse"),
    "openai_responses: tools": ("openai_responses", "openai-reasoning-parallel-tools.sse"),
    "anthropic_messages: thinking": ("anthropic_messages", "thinking-redacted-tools.sse"),
    "gemini: text": ("gemini", "aimock-gemini-hello.sse"),
    "gemini: image and code": ("gemini", "google-code-execution.sse"),
}
NO_HANG_S = 1.0 * 4
"""Four times the promise."""


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with routed(upstream, tmp_path) as running:
        yield running


def offsets(whole: int) -> list[int]:
    """Some places before the finish, the first and the last among them."""
    count = max(2, CUT_OFFSETS // (len(STREAMS) * len(CLIENTS)))
    return sorted({place * (whole - 1) // (count - 1) for place in range(count)})


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("title", STREAMS)
async def test_a_cut_answer_ends_in_one_error(
    router: Router, upstream: ScriptedUpstream, title: str, client: str
) -> None:
    name, file = STREAMS[title]
    data = (TRANSCRIPTS / name / file).read_bytes()
    ways = itertools.cycle([(End.FIN, Framing.CHUNKED), (End.RST, Framing.CHUNKED), (End.FIN, Framing.EOF)])
    for place in offsets(finished_at(DIALECTS[name], data)):
        end, framing = next(ways)
        # An event stream whose length is not told ends with its connection: only its own last word tells a cut.
        upstream.play(event_stream(data).but(cut_at=place, end=end, framing=framing))
        async with asyncio.timeout(NO_HANG_S):
            got = await ask(router, client, f"{name}/m-{place}")
        assert got.ends_in_an_error, f"{end} after {place} bytes: {got.status} {got.content!r}"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("title", STREAMS)
async def test_an_answer_whose_connection_breaks_after_its_finish_is_whole(
    router: Router, upstream: ScriptedUpstream, title: str, client: str
) -> None:
    name, file = STREAMS[title]
    data = (TRANSCRIPTS / name / file).read_bytes()
    upstream.play(event_stream(data).but(cut_at=finished_at(DIALECTS[name], data), end=End.FIN))
    got = await ask(router, client, f"{name}/m")
    assert got.is_done
    assert got.errors == []


@pytest.mark.parametrize("place", [10, 1_000])
@pytest.mark.parametrize("name", ["openai_chat", "anthropic_messages"])
async def test_an_error_to_anthropics_clients_names_the_request(
    router: Router, upstream: ScriptedUpstream, name: str, place: int
) -> None:
    file = {"openai_chat": "llamacpp-chat-usage.sse", "anthropic_messages": "thinking-redacted-tools.sse"}[name]
    data = (TRANSCRIPTS / name / file).read_bytes()
    upstream.play(event_stream(data).but(cut_at=place, end=End.FIN))
    got = await ask(router, "anthropic_messages", f"{name}/m-{place}")
    (error,) = got.errors
    assert error["request_id"] == got.headers["request-id"]
    assert got.is_stream is (place == 1_000)
