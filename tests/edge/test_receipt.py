"""`x-trunkline-receipt: 1`: the receipt in the answer itself, in the last JSON frame, and only for who asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from served import openrouter, serving
from trunkline.core.catalog import Model, Provider, split_base_url
from trunkline.core.price import Price
from trunkline.core.resilience import RetryLimits
from trunkline.dialects import sse
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from trunkline.dialects.sse import Frame
    from trunkline.settings.values import Settings
    from trunkline.upstream.scripted import ScriptedUpstream

WIRE = Path(__file__).parent.parent / "dialects" / "transcripts"
ASKED = {"x-trunkline-receipt": "1"}
PRICE = Price(input_nano=1_000_000_000, output_nano=2_000_000_000)
"""1 and 2 dollars for a million tokens."""

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}
HELLO = {
    "openai_chat": "openai_chat/aimock-chat-hello.sse",
    "openai_responses": "openai_responses/aimock-responses-hello.sse",
    "anthropic_messages": "anthropic_messages/aimock-hello.sse",
    "gemini": "gemini/aimock-gemini-hello.sse",
}


def body(dialect: str, model: str, *, stream: bool = True) -> dict[str, Any]:
    said = [{"role": "user", "content": "Hi"}]
    match dialect:
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
        case "openai_responses":
            return {"model": model, "input": "Hi", "stream": stream}
        case _:
            return {"model": model, "max_tokens": 50, "messages": said, "stream": stream}


def providers(upstream: ScriptedUpstream, directory: Path) -> Settings:
    """A provider of each dialect, by its name, all of them this upstream."""
    origin, path = split_base_url(upstream.base_url)
    rows = (
        Provider(
            name=dialect,
            label=dialect.title(),
            dialect=dialect,
            origin=origin,
            path=path,
            models=(Model(id="m", price=PRICE), Model(id="free")),
            allow_private=True,
        )
        for dialect in PATHS
    )
    return msgspec.structs.replace(openrouter(upstream, directory), providers=tuple(rows))


@pytest.fixture
async def client(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a router with a provider of each dialect."""
    async with (
        serving(providers(upstream, tmp_path), retries=RetryLimits()) as router,
        httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as http,
    ):
        yield http


async def streamed(
    client: httpx.AsyncClient, dialect: str, model: str, headers: Mapping[str, str] | None = None, **more: Any
) -> list[Frame]:
    """The frames that a client of this dialect gets."""
    path = PATHS[dialect].format(model=model)
    answer = await client.post(path, json={**body(dialect, model), **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    return sse.Framer().feed(answer.content)


def receipts(frames: list[Frame]) -> list[tuple[int, Any]]:
    """The receipts, each with the place of its frame, counted from the last JSON one."""
    objects = [msgspec.json.decode(frame.data) for frame in frames if frame.data.startswith(b"{")]
    return [(place - len(objects), one["trunkline"]) for place, one in enumerate(objects) if "trunkline" in one]


@pytest.mark.parametrize("dialect", PATHS)
async def test_the_last_frame_of_a_verbatim_stream_has_it_and_nothing_else_changes(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, dialect: str
) -> None:
    hello = script.transcript(WIRE / HELLO[dialect], slice_bytes=None)
    upstream.play(hello, hello)
    plain = await streamed(client, dialect, f"{dialect}/m")
    told = await streamed(client, dialect, f"{dialect}/m", ASKED)
    ((place, receipt),) = receipts(told)
    assert place == -1
    assert (receipt["provider"], receipt["model"], receipt["outcome"]) == (dialect, "m", "complete")
    assert receipts(plain) == []
    assert len(plain) == len(told)
    bare = [frame.event for frame in plain]
    assert [frame.event for frame in told] == bare
    for before, after in zip(plain, told, strict=True):
        if b'"trunkline"' in after.data:
            given = msgspec.json.decode(after.data)
            del given["trunkline"]
            assert given == msgspec.json.decode(before.data)
        else:
            assert after == before


@pytest.mark.parametrize("dialect", PATHS)
async def test_the_last_frame_of_a_translated_stream_has_it(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, dialect: str
) -> None:
    source = "anthropic_messages" if dialect == "openai_chat" else "openai_chat"
    hello = script.transcript(WIRE / HELLO[source], slice_bytes=None)
    upstream.play(hello)
    told = await streamed(client, dialect, f"{source}/m", ASKED)
    ((place, receipt),) = receipts(told)
    assert (place, receipt["provider"], len(receipt["attempts"])) == (-1, source, 1)


async def test_it_has_every_attempt_with_its_cost_and_every_candidate(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.json_error(500, {"message": "no"}), script.chat_stream(["a"], usage=(10, 20)))
    told = await streamed(client, "openai_chat", "openai_chat/free", ASKED, models=["openai_chat/m"])
    ((_, receipt),) = receipts(told)
    assert [(one["model"], one["problem"], one["cost"]) for one in receipt["attempts"]] == [
        ("free", "upstream_failed", None),
        ("m", None, "0.000050000"),
    ]
    assert (receipt["cost"], receipt["usage"]["output_tokens"]) == ("0.000050000", 20)
    assert [one["target"] for one in receipt["candidates"]] == ["openai_chat/free", "openai_chat/m"]


async def test_it_rides_on_the_usage_frame_where_the_client_gets_one_and_else_on_the_finish(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["a"]), script.chat_stream(["a"]))
    with_usage = await streamed(client, "openai_chat", "openai_chat/m", ASKED, stream_options={"include_usage": True})
    without = await streamed(client, "openai_chat", "openai_chat/m", ASKED)
    assert [frame.data for frame in (with_usage[-1], without[-1])] == [b"[DONE]", b"[DONE]"]
    assert msgspec.json.decode(with_usage[-2].data)["choices"] == []
    assert msgspec.json.decode(without[-2].data)["choices"][0]["finish_reason"] == "stop"
    assert all(b'"trunkline"' in frames[-2].data for frames in (with_usage, without))


@pytest.mark.parametrize("source", ["openai_chat", "anthropic_messages"])
async def test_a_whole_answer_has_it_as_a_field(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, source: str
) -> None:
    whole = {
        "openai_chat": script.chat_whole("a", usage=(10, 20)),
        "anthropic_messages": script.transcript(WIRE / "anthropic_messages/llamacpp-length.json", slice_bytes=None),
    }
    upstream.play(whole[source], whole[source])
    asked = body("openai_chat", f"{source}/m", stream=False)
    told = (await client.post("/v1/chat/completions", json=asked, headers=ASKED)).json()
    plain = (await client.post("/v1/chat/completions", json=asked)).json()
    assert told["trunkline"]["provider"] == source
    assert told["trunkline"]["attempts"][0]["charged"] is True
    assert set(told) - set(plain) == {"trunkline"}


async def test_the_seeds_clients_never_get_one(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["a"]))
    answer = await client.post("/api/chat", json={"message": "Hi", "model": "openai_chat/m"}, headers=ASKED)
    assert answer.text == 'data: {"content":"a"}\n\ndata: [DONE]\n\n'


async def test_a_stream_that_breaks_has_its_error_and_no_receipt(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["a", "b"]).cut_after(3, End.RST))
    told = await streamed(client, "openai_chat", "openai_chat/m", ASKED)
    assert receipts(told) == []
    assert b'"error"' in told[-1].data


async def test_the_header_says_1_or_0(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    answer = await client.post(
        "/v1/chat/completions", json=body("openai_chat", "openai_chat/m"), headers={"x-trunkline-receipt": "yes"}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-trunkline-receipt")
    assert upstream.opened == 0


USAGE: Any = {"stream_options": {"include_usage": True}}


def usage(frames: list[Frame]) -> Any:
    """The usage that the client was told of."""
    (told,) = [one["usage"] for one in map(decoded, frames) if one.get("usage")]
    return told


def decoded(frame: Frame) -> dict[str, Any]:
    return msgspec.json.decode(frame.data) if frame.data.startswith(b"{") else {}


async def test_usage_says_its_cost_where_only_the_router_knows_it(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["a"], usage=(10, 20)))
    told = usage(await streamed(client, "openai_chat", "openai_chat/m", **USAGE))
    assert (told["prompt_tokens"], told["cost"]) == (10, 0.00005)


async def test_usage_says_its_cost_in_a_translated_stream_too(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.transcript(WIRE / "anthropic_messages/llamacpp-length.sse", slice_bytes=None))
    told = usage(await streamed(client, "openai_chat", "anthropic_messages/m", **USAGE))
    assert told["cost"] == pytest.approx((told["prompt_tokens"] + 2 * told["completion_tokens"]) / 1e6)


async def test_a_providers_own_cost_stays(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["a"], usage=(10, 20), cost=0.25))
    assert usage(await streamed(client, "openai_chat", "openai_chat/m", **USAGE))["cost"] == 0.25


async def test_an_unknown_cost_is_not_there(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["a"], usage=(10, 20)))
    assert "cost" not in usage(await streamed(client, "openai_chat", "openai_chat/free", **USAGE))


CITED = script.transcript(WIRE / "anthropic_messages/web-search-citations.sse", slice_bytes=None)
COUNTED = script.transcript(WIRE / "openai_chat/openai-logprobs.sse", slice_bytes=None)


async def looked_up(client: httpx.AsyncClient, answer: httpx.Response) -> Any:
    return (await client.get(f"/v1/requests/{answer.headers['x-request-id']}")).json()


async def test_it_names_what_the_target_was_not_told_and_the_client_not_of_the_answer(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(COUNTED)
    asked = {**body("anthropic_messages", "openai_chat/m"), "inference_geo": "eu"}
    answer = await client.post("/v1/messages", json=asked, headers=ASKED)
    assert answer.headers["x-trunkline-dropped"] == "inference_geo, logprobs"  # they came with the first content
    ((_, receipt),) = receipts(sse.Framer().feed(answer.content))
    assert receipt["dropped"] == ["inference_geo", "logprobs"]
    assert (await looked_up(client, answer))["dropped"] == receipt["dropped"]


async def test_what_a_stream_turns_out_to_hold_is_named_when_it_is_over(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(CITED.but(slice_bytes=200, delay_between_s=0.01), CITED)
    answer = await client.post("/api/chat", json={"message": "Hi", "model": "anthropic_messages/m"})
    assert "x-trunkline-dropped" not in answer.headers
    assert (await looked_up(client, answer))["dropped"] == ["citations"]
    told = await client.post("/v1/chat/completions", json=body("openai_chat", "anthropic_messages/m"))
    assert (await looked_up(client, told))["dropped"] == []


async def test_a_whole_answer_names_it_in_its_header(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    message = {"role": "assistant", "content": "a", "annotations": [CITATION]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    upstream.play(script.json_answer({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}))
    asked = body("anthropic_messages", "openai_chat/m", stream=False)
    answer = await client.post("/v1/messages", json={**asked, "inference_geo": "eu"})
    assert answer.headers["x-trunkline-dropped"] == "inference_geo, citations"


CITATION = {"type": "url_citation", "url_citation": {"url": "https://a.example/", "start_index": 0, "end_index": 1}}


async def test_a_verbatim_answer_loses_nothing(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(CITED)
    answer = await client.post("/v1/messages", json=body("anthropic_messages", "anthropic_messages/m"))
    assert b"citations_delta" in answer.content
    assert (await looked_up(client, answer))["dropped"] == []
