"""A 200 that is no answer is the provider's failure: another is asked, and nobody sees what it was (T09, F08)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from every_provider import ask
from reliability.scene import recorded, routing
from trunkline.core.resilience import RetryLimits
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.script import Script

MARK = "body-of-the-upstream"

INVALID: dict[str, Script] = {
    "html": script.html(),
    "empty": script.empty(),
    "null": script.null(),
    "a list": script.null().but(body=(b"[]",)),
    "a number": script.null().but(body=(b"17",)),
    "half an object": script.null().but(body=(b'{"choices":[',)),
    "no choices": script.json_answer({"object": "chat.completion", "choices": []}),
    "an error": script.error_in_200(502, "provider_unavailable", message="gone"),
    "truncated gzip": script.bad_gzip(),
    "too short": script.chat_whole(MARK).but(content_length=10_000, end=script.End.FIN),
    "too long": script.chat_whole(MARK).but(content_length=20),
    "text": script.json_answer({"words": MARK}).but(headers=(("content-type", "text/plain"),)),
}
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("invalid", INVALID)
async def test_another_target_answers(
    tmp_path: Path, upstream: ScriptedUpstream, invalid: str, *, stream: bool
) -> None:
    upstream.play(INVALID[invalid])
    good = script.chat_stream(["good"]) if stream else script.chat_whole("good")
    async with (
        ScriptedUpstream(lambda _: good) as second,
        routing(tmp_path, upstream, second, retries=RetryLimits()) as router,
    ):
        got = await ask(router, "openai_chat", "r", stream=stream)
        (record,) = await recorded(router, 1)
    assert (got.status, got.errors) == (200, [])
    assert b"good" in got.content
    assert MARK.encode() not in got.content
    assert [one.charged for one in record.attempts] == [False, True]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("invalid", INVALID)
async def test_where_there_is_no_other_it_is_a_bad_gateway_and_costs_nothing(
    tmp_path: Path, upstream: ScriptedUpstream, invalid: str, *, stream: bool
) -> None:
    upstream.play(INVALID[invalid])
    async with routing(tmp_path, upstream) as router:
        got = await ask(router, "openai_chat", "r", stream=stream)
        (record,) = await recorded(router, 1)
    assert (got.status, len(got.errors)) == (502, 1)
    assert MARK.encode() not in got.content
    assert (record.usage, record.cost_nano, record.attempts[0].charged) == (None, None, False)


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_is_not_followed(tmp_path: Path, upstream: ScriptedUpstream, status: int) -> None:
    async with ScriptedUpstream() as elsewhere:
        headers = (("location", f"{elsewhere.base_url}/chat/completions"),)
        upstream.play(script.json_error(status, {}, headers))
        async with routing(tmp_path, upstream) as router:
            got = await ask(router, "openai_chat", "r")
        assert elsewhere.opened == 0
    assert got.status == 502
    assert "location" not in got.headers
