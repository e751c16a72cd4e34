"""The real local model. Shapes are asserted, never words: it is small, and says that two and two are five."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from trunkline.upstream.local import MAX_CONTEXT_TOKENS, LocalModel, State, is_available
from trunkline.upstream.local_process import LocalModelFailed
from trunkline.upstream.weights import SMOLLM2, fetch_weights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.local_model,
    pytest.mark.skipif(not is_available(), reason="xllamacpp is not installed"),
]


@pytest.fixture(scope="module")
def weights() -> Path:
    """The weights in the cache that the command line uses; fetched if they are not there."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("TRUNKLINE_CACHE_DIR") or caches / "trunkline")
    return fetch_weights(cache, report=lambda _done, _total: None, say=lambda _sentence: None)


@pytest.fixture
async def local(weights: Path) -> AsyncIterator[LocalModel]:
    model = LocalModel(weights)
    await model.start(120)
    yield model
    await model.aclose()


def exchange(port: int, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


async def ask(local: LocalModel, text: str, **fields: Any) -> tuple[int, bytes]:
    body = {"model": local.model_id, "messages": [{"role": "user", "content": text}], "max_tokens": 12, **fields}
    return await asyncio.to_thread(exchange, local.port, "POST", "/v1/chat/completions", body)


async def test_it_answers_in_one_piece_with_its_usage(local: LocalModel) -> None:
    status, body = await ask(local, "Say hello.")
    answer = json.loads(body)
    assert status == 200
    assert answer["model"] == local.model_id
    assert isinstance(answer["choices"][0]["message"]["content"], str)
    assert 0 < answer["usage"]["completion_tokens"] <= 12


async def test_it_streams_content_a_finish_the_usage_and_the_end(local: LocalModel) -> None:
    status, body = await ask(local, "Say hello.", stream=True, stream_options={"include_usage": True})
    frames = [frame.removeprefix(b"data: ") for frame in body.split(b"\n\n") if frame]
    chunks = [json.loads(frame) for frame in frames[:-1]]
    assert status == 200
    assert frames[-1] == b"[DONE]"
    assert any(chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"])
    assert chunks[-2]["choices"][0]["finish_reason"] in {"stop", "length"}
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_its_name_and_context_are_the_ones_told(local: LocalModel) -> None:
    _, body = await asyncio.to_thread(exchange, local.port, "GET", "/v1/models")
    (model,) = json.loads(body)["data"]
    assert model["id"] == local.model_id
    assert model["meta"]["n_ctx"] == local.context_tokens == MAX_CONTEXT_TOKENS
    assert model["meta"]["n_ctx_train"] >= MAX_CONTEXT_TOKENS


async def test_a_prompt_over_the_context_is_a_400_with_the_numbers(local: LocalModel) -> None:
    status, body = await ask(local, "word " * 5_000)
    error = json.loads(body)["error"]
    assert status == 400
    assert error["type"] == "exceed_context_size_error"
    assert error["n_ctx"] == local.context_tokens


async def test_two_answers_at_once_each_have_their_slot(local: LocalModel) -> None:
    answers = await asyncio.gather(ask(local, "Say hello."), ask(local, "Count to ten."))
    assert [status for status, _ in answers] == [200, 200]


async def test_it_answers_again_after_it_was_killed(local: LocalModel) -> None:
    assert local.pid is not None
    port = local.port
    os.kill(local.pid, signal.SIGKILL)
    async with asyncio.timeout(120):
        while local.restarts == 0:  # noqa: ASYNC110 - another process makes it true, and sets no event
            await asyncio.sleep(0.05)
    status, _ = await ask(local, "Say hello.")
    assert (status, local.port) == (200, port)


async def test_nothing_that_a_user_wrote_is_in_its_last_lines(local: LocalModel) -> None:
    await ask(local, "The canary sings at dawn.")
    assert local._child is not None
    assert "canary" not in "\n".join(local._child.last_lines)


async def test_it_fits_into_a_small_machine(local: LocalModel) -> None:
    await ask(local, "word " * 3_500)
    assert local.pid is not None
    assert psutil.Process(local.pid).memory_info().rss < 700_000_000


async def test_a_file_that_is_no_model_is_told_with_llama_cpps_own_reason(tmp_path: Path) -> None:
    path = tmp_path / SMOLLM2.file_name
    path.write_bytes(b"not a model")
    local = LocalModel(path)
    with pytest.raises(LocalModelFailed, match="failed to load model"):
        await local.start(120)
    assert local.state is State.IDLE
