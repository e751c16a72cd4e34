"""Embeddings on their walk: batches, mismatches, what is recorded, and Google's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google import genai
from google.genai import types

from served import openrouter, serving
from trunkline.core.catalog import split_base_url
from trunkline.settings.values import local_provider, with_local
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

ROUTE = '[models.both]\ntargets = ["google/m", "chat/m"]\n'
PRICE = '[prices."chat/m"]\ninput = 2.0\noutput = 0.0\n'


def embed(request: ReceivedRequest) -> Script:
    """A vector for each text: its length, so that it can be told whose it is."""
    body = request.json()
    if request.path.endswith(":batchEmbedContents"):
        texts = [one["content"]["parts"][0]["text"] for one in body["requests"]]
        used = {"usageMetadata": {"promptTokenCount": len(texts)}}
        return script.json_answer({"embeddings": [{"values": [len(text)]} for text in texts], **used})
    if request.path.endswith(":embedContent"):
        return script.json_answer({"embedding": {"values": [1.5]}, "usageMetadata": {"promptTokenCount": 1}})
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    rows = [{"object": "embedding", "index": at, "embedding": [len(text)]} for at, text in enumerate(given)]
    rows.reverse()
    usage = {"prompt_tokens": len(given), "total_tokens": len(given)}
    return script.json_answer({"object": "list", "data": rows, "model": "m", "usage": usage})


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(embed) as scripted:
        yield scripted


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    rows = [
        f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{upstream.base_url}"\napi_key = "env:KEY"\n'
        f'models = [{{ id = "m", context_tokens = 100, offers = ["embeddings"] }}]\n'
        for name, dialect in (("google", "gemini"), ("chat", "openai_chat"))
    ]
    (tmp_path / "trunkline.toml").write_text("\n".join([*rows, ROUTE, PRICE]))
    async with serving(openrouter(upstream, tmp_path, {"KEY": "k"})) as running:
        yield running


async def asked(router: Router, path: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(router.url + path, json=body)


async def openai(router: Router, **body: Any) -> httpx.Response:
    return await asked(router, "/v1/embeddings", body)


async def test_more_texts_than_google_takes_go_in_batches(router: Router, upstream: ScriptedUpstream) -> None:
    texts = ["x" * (1 + place % 7) for place in range(250)]
    told = (await openai(router, model="google/m", input=texts)).json()
    assert [row["embedding"] for row in told["data"]] == [[len(text)] for text in texts]
    assert [row["index"] for row in told["data"]] == list(range(250))
    assert [len(request.json()["requests"]) for request in upstream.requests] == [100, 100, 50]
    assert told["usage"] == {"prompt_tokens": 250, "total_tokens": 250}


async def test_many_texts_are_no_conversation_that_is_too_long(router: Router) -> None:
    told = await openai(router, model="chat/m", input=["a text of some letters"] * 500)
    assert told.status_code == 200


async def test_tokens_go_to_the_provider_that_takes_them(router: Router, upstream: ScriptedUpstream) -> None:
    told = await openai(router, model="both", input=[[1, 2], [3]])
    assert (told.status_code, told.headers["x-trunkline-provider"]) == (200, "chat")
    assert len(upstream.requests) == 1


async def test_vectors_of_another_number_than_the_texts_are_no_answer(
    router: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.json_answer({"embeddings": [{"values": [1]}]}))
    told = await openai(router, model="google/m", input=["a", "b"])
    assert (told.status_code, told.json()["error"]["type"]) == (502, "server_error")


async def test_usage_that_nobody_tells_is_left_out(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.json_answer({"embeddings": [{"values": [1]}]}))
    told = await openai(router, model="google/m", input="a")
    assert (told.status_code, "usage" in told.json()) == (200, False)


async def test_what_was_used_is_recorded_and_priced(router: Router) -> None:
    told = await openai(router, model="chat/m", input=["a", "b", "c"])
    assert float(told.headers["x-trunkline-cost"]) == 3 * 2 / 1_000_000
    async with httpx.AsyncClient(trust_env=False) as client:
        receipt = (await client.get(f"{router.url}/v1/requests/{told.headers['x-request-id']}")).json()
    assert (receipt["usage"]["input_tokens"], receipt["usage"]["output_tokens"]) == (3, 0)


async def test_a_google_client_reaches_both_dialects(router: Router, upstream: ScriptedUpstream) -> None:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=router.url))
    config = types.EmbedContentConfig(output_dimensionality=1, task_type="CLUSTERING")
    async with client.aio as google:
        for model in ("google/m", "chat/m"):
            told = await google.models.embed_content(model=model, contents=["a", "bcd"], config=config)
            assert [one.values for one in told.embeddings or ()] == [[1.0], [3.0]]
    first, second = upstream.requests
    assert {one["model"] for one in first.json()["requests"]} == {"models/m"}
    assert second.json() == {"model": "m", "input": ["a", "bcd"], "dimensions": 1}


async def test_one_text_is_embedded_at_both_dialects(router: Router) -> None:
    body = {"content": {"parts": [{"text": "abc"}]}, "taskType": "CLUSTERING"}
    own = await asked(router, "/v1beta/models/google/m:embedContent", body)
    assert own.json()["embedding"] == {"values": [1.5]}
    other = await asked(router, "/v1beta/models/chat/m:embedContent", body)
    assert other.json() == {"embedding": {"values": [3]}, "usageMetadata": {"promptTokenCount": 1}}
    assert other.headers["x-trunkline-dropped"] == "taskType"


async def test_an_error_comes_in_googles_shape(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.json_error(429, {"error": {"message": "slow", "code": 429}}))
    body = {"content": {"parts": [{"text": "a"}]}}
    told = await asked(router, "/v1beta/models/chat/m:embedContent", body)
    assert (told.status_code, told.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


async def test_the_local_model_is_not_asked_for_what_its_server_does_not_do(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    local = local_provider(split_base_url(upstream.base_url)[0].port, "smollm2", 4096)
    async with serving(with_local(openrouter(upstream, tmp_path), local, as_default=True)) as router:
        told = await openai(router, model="local/smollm2", input="a")
    assert (told.status_code, told.json()["error"]["message"]) == (400, "local/smollm2 gives no embeddings.")
    assert upstream.opened == 0


async def test_an_unknown_action_is_answered_with_those_that_there_are(router: Router) -> None:
    told = await asked(router, "/v1beta/models/google/m:asyncBatchEmbedContent", {})
    assert told.status_code == 404
    assert "batchEmbedContents" in told.json()["error"]["message"]
