"""Embeddings and the older completions, by the real clients, against providers of both dialects that have vectors."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from served import openrouter, serving
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
VECTORS = [[0.5, -0.25, 1.0], [0.0, 2.0, -1.5]]


def answer(request: ReceivedRequest) -> Script:
    """As https://platform.openai.com/docs/api-reference/embeddings and https://ai.google.dev/api/embeddings have it."""
    body = request.json()
    if request.path.endswith(":batchEmbedContents"):
        vectors = VECTORS[: len(body["requests"])]
        return script.json_answer(
            {"embeddings": [{"values": vector} for vector in vectors], "usageMetadata": {"promptTokenCount": 7}}
        )
    if request.path.endswith("/embeddings"):
        count = len(body["input"]) if isinstance(body["input"], list) else 1
        rows: list[dict[str, Any]] = [
            {"object": "embedding", "index": place, "embedding": VECTORS[place]} for place in range(count)
        ]
        if body.get("encoding_format") == "base64":
            for row in rows:
                row["embedding"] = packed(row["embedding"])
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return script.json_answer({"object": "list", "data": rows, "model": "m", "usage": usage, "new": 1})
    return script.chat_stream(["Once ", "upon"], usage=(4, 2)) if body["stream"] else script.chat_whole("Once upon")


def packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(answer) as scripted:
        yield scripted


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    rows = [
        f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{upstream.base_url}"\napi_key = "env:KEY"\n'
        for name in DIALECTS
    ]
    (tmp_path / "trunkline.toml").write_text("\n".join(rows))
    async with serving(openrouter(upstream, tmp_path, {"KEY": "k"})) as running:
        yield running


@pytest.fixture
async def client(router: Router) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="k", max_retries=0) as one:
        yield one


@pytest.mark.parametrize("provider", ["openai_chat", "gemini"])
@pytest.mark.parametrize("form", ["float", "base64", None])
async def test_vectors_come_in_the_order_of_the_texts(client: openai.AsyncOpenAI, provider: str, form: Any) -> None:
    asked = {} if form is None else {"encoding_format": form}
    told = await client.embeddings.create(model=f"{provider}/m", input=["a", "b"], **asked)
    vectors = {row.index: row.embedding for row in told.data}
    if form == "base64":
        assert [list(struct.unpack("<3f", b64decode(str(vectors[place])))) for place in (0, 1)] == VECTORS
    else:
        assert [vectors[0], vectors[1]] == VECTORS
    assert told.usage.prompt_tokens == told.usage.total_tokens == 7


async def test_where_both_sides_speak_alike_nothing_is_lost(router: Router, upstream: ScriptedUpstream) -> None:
    body = {"model": "openai_chat/m", "input": [[1, 2], [3]], "user": "u", "new": {"a": 1.50}}
    async with httpx.AsyncClient(trust_env=False) as http:
        told = await http.post(f"{router.url}/api/v1/embeddings", json=body)
    assert (told.status_code, told.json()["new"]) == (200, 1)
    assert upstream.requests[0].json() == {**body, "model": "m"}
    assert upstream.requests[0].path.endswith("/embeddings")


async def test_google_is_asked_for_all_texts_at_once(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    told = await client.embeddings.with_raw_response.create(
        model="gemini/m", input=["a", "b"], dimensions=3, encoding_format="float", user="u"
    )
    assert told.headers["x-trunkline-dropped"] == "user"
    part = {"model": "models/m", "outputDimensionality": 3}
    assert upstream.requests[0].json() == {
        "requests": [{**part, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    }


async def test_tokens_are_refused_where_they_would_mean_something_else(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="does not take tokens"):
        await client.embeddings.create(model="gemini/m", input=[[1, 2]])


@pytest.mark.parametrize("provider", ["anthropic_messages", "openai_responses"])
async def test_a_provider_without_embeddings_is_not_asked(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, provider: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="gives no embeddings"):
        await client.embeddings.create(model=f"{provider}/m", input="a")
    assert upstream.requests == []


@pytest.mark.parametrize("body", [{}, {"input": 5}, {"input": None}])
async def test_a_wrong_input_is_named(router: Router, body: dict[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        told = await http.post(f"{router.url}/v1/embeddings", json={"model": "openai_chat/m", **body})
    assert (told.status_code, told.json()["error"]["param"]) == (400, "input")


async def test_an_upstreams_error_comes_in_openais_shape(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    for provider in ("openai_chat", "gemini"):
        upstream.play(script.json_error(429, {"error": {"message": "slow", "code": 429}}))
        with pytest.raises(openai.RateLimitError):
            await client.embeddings.create(model=f"{provider}/m", input="a")
    upstream.play(script.html())
    with pytest.raises(openai.APIStatusError) as broken:
        await client.embeddings.create(model="openai_chat/m", input="a")
    assert broken.value.status_code == 502


@pytest.mark.parametrize("provider", ["openai_chat", "gemini"])
async def test_langchain_embeds(router: Router, provider: str) -> None:
    embeddings = OpenAIEmbeddings(
        model=f"{provider}/m",
        base_url=f"{router.url}/v1",
        api_key=SecretStr("k"),
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    assert await embeddings.aembed_documents(["a", "b"]) == VECTORS
    assert await embeddings.aembed_query("a") == VECTORS[0]
    client: Any = embeddings.async_client
    await client._client.close()


async def test_a_prompt_is_completed(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    told = await client.completions.create(model="openai_chat/m", prompt="Tell", stop=["."], seed=3)
    assert (told.object, told.choices[0].text, told.choices[0].finish_reason) == (
        "text_completion",
        "Once upon",
        "stop",
    )
    assert told.usage is not None
    asked = upstream.requests[0].json()
    assert asked["messages"] == [{"role": "user", "content": "Tell"}]
    assert (asked["max_tokens"], asked["stop"], asked["seed"]) == (16, ["."], 3)


@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_prompt_is_completed_in_a_stream(client: openai.AsyncOpenAI, wants_usage: bool) -> None:
    stream = await client.completions.create(
        model="openai_chat/m", prompt=["Tell"], stream=True, stream_options={"include_usage": wants_usage}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Once upon"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([6] if wants_usage else [])
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("prompt", ["a", "b"]), ("prompt", [1, 2]), ("n", 2), ("best_of", 2), ("echo", True), ("suffix", "end")],
)
async def test_what_a_conversation_has_no_place_for_is_refused(
    client: openai.AsyncOpenAI, field: str, value: Any
) -> None:
    asked: dict[str, Any] = {"prompt": "Tell", field: value}
    with pytest.raises(openai.BadRequestError, match=f"`{field}`"):
        await client.completions.create(model="openai_chat/m", **asked)


async def test_what_is_left_out_is_named(client: openai.AsyncOpenAI) -> None:
    told = await client.completions.with_raw_response.create(
        model="openai_chat/m", prompt="Tell", logit_bias={"50256": -100}, extra_body={"top_a": 1}
    )
    assert set(told.headers["x-trunkline-dropped"].split(", ")) == {"logit_bias", "top_a"}


async def test_a_completion_that_breaks_ends_in_an_error_and_no_done(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["Once "], finish=None, done=False))
    stream = await client.completions.create(model="openai_chat/m", prompt="Tell", stream=True)
    with pytest.raises(openai.APIError):
        [chunk async for chunk in stream]
