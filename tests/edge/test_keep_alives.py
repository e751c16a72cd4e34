"""The vendors' SDKs read our streams through long silences that are filled with keep-alives (T21, F12).

What the framer makes of comments, line ends and the other fields of an event stream is in tests/dialects/test_sse.py.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import anthropic
import httpx
import openai
import pytest

from dialects.answer_features import ANSWERS
from dialects.features import encoded
from every_provider import CLIENTS, DIALECTS, Got, asking, event_stream, routed, spoken
from trunkline.upstream.scripted import ScriptedUpstream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google import genai

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

NOISE = (
    b": OPENROUTER PROCESSING\n\n",
    b"data: : keepalive\n\n",
    b":\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"retry: 3000\n\n",
    b"id: 7\n\n",
    b"data:\n\n",
)
"""What upstreams put between their events. Only Anthropic's may send a ping: elsewhere it would be no chunk."""


def silent(gap_s: float) -> Callable[[ReceivedRequest], Script]:
    """Hi, in the dialect in which it was asked, with noise and a silence of this many seconds before each event."""

    def answer(request: ReceivedRequest) -> Script:
        name = spoken(request)
        noise = [piece for piece in NOISE if b"ping" not in piece or name == "anthropic_messages"]
        events = encoded(name, ANSWERS[0].stream[name]).removesuffix(b"\n\n").split(b"\n\n")
        pieces = [b"".join(noise) + event + b"\n\n" for event in events]
        return event_stream(b"").but(body=tuple(pieces), delay_headers_s=gap_s, delay_between_s=gap_s)

    return answer


async def say_hi(client: str, url: str, model: str) -> str:
    """What the vendor's own SDK reads of a stream."""
    match client:
        case "openai_chat":
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as sdk:
                chunks = await sdk.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "Hi"}], stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        case "openai_responses":
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as sdk:
                events = await sdk.responses.create(model=model, input="Hi", stream=True)
                texts = [event.delta async for event in events if event.type == "response.output_text.delta"]
                return "".join(texts)
        case "anthropic_messages":
            async with (
                anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as sdk,
                sdk.messages.stream(
                    model=model, max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
                ) as stream,
            ):
                return "".join([text async for text in stream.text_stream])
        case _:
            sdk = genai.Client(api_key="k", http_options={"base_url": url})
            stream = await sdk.aio.models.generate_content_stream(model=model, contents="Hi")
            text = "".join([chunk.text or "" async for chunk in stream])
            await sdk.aio.aclose()
            return text


@pytest.fixture
async def providers(request: pytest.FixtureRequest) -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(silent(request.param)) as upstream:
        yield upstream


@pytest.fixture
async def router(providers: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with routed(providers, tmp_path, server="early_headers_s = 0.03\nkeep_alive_s = 0.03") as running:
        yield running


@pytest.mark.parametrize("providers", [0.15], indirect=True)
@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_reads_through_keep_alives(router: Router, client: str, vendor: str) -> None:
    assert await say_hi(client, router.url, f"{vendor}/m") == "Hi."


@pytest.mark.parametrize("providers", [0.15], indirect=True)
@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_silences_are_filled_and_the_upstreams_noise_is_not_passed_on(
    router: Router, client: str, vendor: str
) -> None:
    path, body = asking(client, f"{vendor}/m")
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        got = Got(client, await http.post(router.url + path, json=body))
    filler = b"\n\n\n" if client == "gemini" else b": keep-alive\n"
    assert got.content.count(filler) >= 3
    assert got.is_done
    for piece in (b"PROCESSING", b"keepalive", b"retry:", b"id:", b"data: :", b"data:\n"):
        assert piece not in got.content


@pytest.mark.slow
@pytest.mark.parametrize("providers", [20.0], indirect=True)
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_sdk_reads_for_a_minute_with_a_keep_alive_every_five_seconds(
    providers: ScriptedUpstream, tmp_path: Path, client: str
) -> None:
    async with routed(providers, tmp_path, server="early_headers_s = 5.0\nkeep_alive_s = 5.0") as router:
        assert await say_hi(client, router.url, "openai_chat/m") == "Hi."
