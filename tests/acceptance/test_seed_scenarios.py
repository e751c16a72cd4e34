"""The seed's five testing scenarios, over real sockets, against the scripted upstream."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import httpx
import pytest

from served import KEY, openrouter, serving
from sizes import CONCURRENT_STREAMS
from sse_client import Answer, chat
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream


# 1. Basic streaming


async def test_a_prompt_streams_to_the_byte(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello", " world"]))
    answer = await chat(router)
    assert answer.status == 200
    assert answer.raw == b'data: {"content":"Hello"}\n\ndata: {"content":" world"}\n\ndata: [DONE]\n\n'
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"


async def test_text_appears_as_it_is_made(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["one", "two", "three"], role_chunk=False).but(delay_between_s=0.3))
    clock = asyncio.get_running_loop().time
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as client,
        client.stream("POST", f"{router.url}/api/chat", json={"message": "Hi"}) as response,
    ):
        seen = [(clock(), line) async for line in response.aiter_lines() if "content" in line]
    assert len(seen) == 3
    assert seen[2][0] - seen[0][0] > 0.3, "the pieces came together"


async def test_the_upstream_gets_the_seeds_defaults_and_attribution(router: Router, upstream: ScriptedUpstream) -> None:
    await chat(router, "What is it?")
    request = upstream.plays[-1].request
    body = request.json()
    assert body["messages"] == [{"role": "user", "content": "What is it?"}]
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.7, 10_000, True)
    assert body["model"] == "openrouter/auto"
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["http-referer"] == "http://localhost:5173"
    assert request.headers["x-title"] == "Trunkline"


async def test_what_the_client_asks_for_reaches_the_upstream(router: Router, upstream: ScriptedUpstream) -> None:
    await chat(router, "Hi", temperature=0, maxTokens=5, model="anthropic/claude-sonnet-4")
    body = upstream.plays[-1].request.json()
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 5, "anthropic/claude-sonnet-4")


# 2. Long responses


async def test_ten_thousand_tokens_arrive_without_a_byte_missing(router: Router, upstream: ScriptedUpstream) -> None:
    generator = random.Random(7)  # noqa: S311 - the same words in each run
    words = ["tok", "日本", "é", "🚂", '"quoted"', "\\n", "\n", "\u2028", "👩‍👩‍👧"]
    pieces = [f"{generator.choice(words)} {number} " for number in range(10_000)]
    upstream.play(script.chat_stream(pieces).but(slice_bytes=1000))
    answer = await chat(router, maxTokens=10_000)
    assert answer.text == "".join(pieces)
    assert answer.is_done
    answer.assert_one_terminal()


async def test_characters_are_whole_wherever_the_upstream_cuts(router: Router, upstream: ScriptedUpstream) -> None:
    text = "Grüße, 世界 🚂 👩‍👩‍👧"
    upstream.play(script.chat_stream([text]).but(slice_bytes=1))
    assert (await chat(router)).text == text


# 3. Error scenarios


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, 400, "invalid_request"),
        (401, 502, "server_error"),
        (402, 502, "server_error"),
        (403, 502, "server_error"),
        (404, 404, "invalid_request"),
        (408, 502, "server_error"),
        (413, 413, "invalid_request"),
        (429, 429, "rate_limit"),
        (500, 502, "server_error"),
        (502, 502, "server_error"),
        (503, 502, "server_error"),
        (524, 502, "server_error"),
        (529, 502, "server_error"),
    ],
)
async def test_an_upstream_status_has_its_type(
    router: Router, upstream: ScriptedUpstream, status: int, told: int, kind: str
) -> None:
    upstream.play(script.openrouter_error(status, "upstream says so", headers=(("retry-after", "7"),)))
    answer = await chat(router)
    assert answer.status == told
    assert answer.error is not None
    assert answer.error["type"] == kind
    assert set(answer.error) == {"error", "type"}
    answer.assert_one_terminal()
    assert KEY not in answer.raw.decode()
    assert answer.headers.get("retry-after") == "7"


async def test_an_error_is_plain_json_where_only_json_is_accepted(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_error(429, "slow down"))
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(
            f"{router.url}/api/chat", json={"message": "Hi"}, headers={"accept": "application/json"}
        )
    assert response.status_code == 429
    assert response.headers["content-type"] == "application/json"
    assert response.json()["type"] == "rate_limit"


async def test_a_key_that_is_refused_is_the_routers_problem_and_says_so(
    router: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.openrouter_error(401, f"Incorrect API key provided: {KEY}"))
    answer = await chat(router)
    assert answer.error is not None
    assert "key for OpenRouter was refused" in answer.error["error"]


async def test_nobody_listens_upstream(tmp_path: Path, unused_port: int) -> None:
    async with serving(openrouter(f"http://127.0.0.1:{unused_port}/v1", tmp_path)) as router:
        answer = await chat(router)
    assert answer.status == 502
    assert answer.error is not None
    assert answer.error["type"] == "network_error"


async def test_silence_before_the_first_token_is_a_timeout(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[timeouts]\nfirst_token_s = 0.3\n")
    upstream.play(script.chat_stream(["late"]).but(delay_first_s=20))
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await chat(router)
    assert answer.status == 504
    assert answer.error is not None
    assert answer.error["type"] == "network_error"


@pytest.mark.parametrize(
    "answer_of_the_upstream",
    [
        script.html(),
        script.empty(),
        script.null(),
        script.bad_gzip(),
        script.chat_whole("not a stream"),
        script.html(302),
    ],
)
async def test_a_200_that_is_no_stream_is_an_invalid_answer(
    router: Router, upstream: ScriptedUpstream, answer_of_the_upstream: script.Script
) -> None:
    upstream.play(answer_of_the_upstream)
    answer = await chat(router)
    assert answer.status == 502
    assert answer.error is not None
    assert answer.error["type"] == "server_error"
    assert "Bad gateway" not in answer.raw.decode()


async def test_an_error_inside_a_200_has_its_own_status(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.error_in_200(429, "rate_limit_exceeded"))
    assert (await chat(router)).status == 429


async def test_an_error_as_the_first_event_still_has_its_status(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.error_midstream([], 429))
    answer = await chat(router)
    assert answer.status == 429
    assert answer.error is not None
    assert answer.error["type"] == "rate_limit"


@pytest.mark.parametrize("code", [429, "server_error"])
async def test_an_error_after_content_ends_the_stream_without_done(
    router: Router, upstream: ScriptedUpstream, code: int | str
) -> None:
    upstream.play(script.error_midstream(["Once upon"], code, "rate_limit_exceeded" if code == 429 else "server"))
    answer = await chat(router)
    assert answer.status == 200
    assert answer.text == "Once upon"
    assert answer.error is not None
    answer.assert_one_terminal()
    assert not answer.is_done


async def test_a_content_filter_is_an_error_event(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Well,"], finish="content_filter"))
    answer = await chat(router)
    assert answer.error is not None
    assert answer.error["type"] == "invalid_request"
    answer.assert_one_terminal()


@pytest.mark.parametrize(
    "playing",
    [
        script.chat_stream(["Well, ", "no"], finish="content_filter"),
        script.error_midstream(["Well, ", "no"], 502, "provider_unavailable"),
    ],
)
async def test_what_came_in_one_piece_with_its_error_is_not_lost(
    router: Router, upstream: ScriptedUpstream, playing: script.Script
) -> None:
    upstream.play(playing.but(body=(b"".join(playing.body),)))
    answer = await chat(router)
    assert (answer.status, answer.text) == (200, "Well, no")
    assert answer.error is not None
    answer.assert_one_terminal()


async def test_length_is_a_clean_end(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["abc"], finish="length"))
    assert (await chat(router)).is_done


async def test_an_empty_answer_is_passed_on_as_it_is(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream([]))
    answer = await chat(router)
    assert (answer.status, answer.events) == (200, ["[DONE]"])


# 4. Connection stability


@pytest.mark.parametrize("end", [End.FIN, End.RST])
async def test_an_upstream_that_breaks_off_is_never_a_clean_end(
    router: Router, upstream: ScriptedUpstream, end: End
) -> None:
    upstream.play(script.chat_stream(["Hello", " wor"], finish=None, done=False).but(end=end))
    answer = await chat(router)
    assert answer.text == "Hello wor"
    assert answer.error is not None
    assert answer.error["type"] == "network_error"
    answer.assert_one_terminal()


async def test_done_without_a_finish_is_a_cut(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"], finish=None, done=True))
    answer = await chat(router)
    assert not answer.is_done
    assert answer.error is not None


async def test_a_finish_without_done_is_a_clean_end(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"], done=False))
    assert (await chat(router)).is_done


async def test_silence_in_the_middle_is_a_timeout(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[timeouts]\nidle_bytes_s = 0.3\n")
    upstream.play(script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL))
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await chat(router)
    assert answer.text == "Hello"
    assert answer.error is not None
    assert answer.error["type"] == "network_error"


async def test_silence_is_filled_with_comments_between_events(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nearly_headers_s = 0.1\nkeep_alive_s = 0.1\n")
    upstream.play(script.chat_stream(["Hello", " world"], role_chunk=False).but(delay_first_s=0.5, delay_between_s=0.4))
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await chat(router)
    assert answer.text == "Hello world"
    assert answer.is_done
    assert len(answer.comments) >= 3
    assert set(answer.comments) == {": keep-alive"}


async def test_an_error_after_early_headers_goes_in_band(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nearly_headers_s = 0.1\nkeep_alive_s = 0.1\n")
    upstream.play(script.openrouter_error(429, "slow down").but(delay_headers_s=0.4))
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await chat(router)
    assert answer.status == 200
    assert answer.error is not None
    assert answer.error["type"] == "rate_limit"
    answer.assert_one_terminal()


async def test_openrouters_processing_comments_are_not_content(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_stream(["Hello"], reasoning=["thinking hard"], comments=5))
    answer = await chat(router)
    assert answer.events == ['{"content":"Hello"}', "[DONE]"]
    assert answer.comments == []


async def test_a_connection_serves_again_after_a_clean_end(router: Router, upstream: ScriptedUpstream) -> None:
    for _ in range(5):
        assert (await chat(router)).is_done
    assert upstream.opened == 1


# 5. Concurrent requests


async def test_many_streams_at_once_are_each_byte_exact(router: Router, upstream: ScriptedUpstream) -> None:
    async def one(client: httpx.AsyncClient, number: int) -> None:
        prompt = f"stream {number} " * 20
        response = await client.post(f"{router.url}/api/chat", json={"message": prompt})
        answer = Answer(response.status_code, response.headers, response.content)
        assert answer.text == "You said: " + prompt
        assert answer.is_done
        answer.assert_one_terminal()

    limits = httpx.Limits(max_connections=CONCURRENT_STREAMS)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(one(client, number) for number in range(CONCURRENT_STREAMS)))
    assert upstream.received == CONCURRENT_STREAMS
