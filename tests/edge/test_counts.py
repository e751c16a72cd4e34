"""How many tokens a request has: as its provider counts them, else an estimate that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from served import openrouter, serving
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

ANTHROPIC = "/v1/messages/count_tokens"
GEMINI = "/v1beta/models/{}:countTokens"
TEXT = "How many tokens are these?"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": TEXT}]}


def count(request: ReceivedRequest) -> Script:
    if request.path.endswith("/messages/count_tokens"):
        return script.json_answer({"input_tokens": 41})
    if request.path.endswith(":countTokens"):
        return script.json_answer({"totalTokens": 42})
    return script.json_error(404, {"error": {"message": "no such path"}})


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(count) as scripted:
        yield scripted


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    rows = [
        f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{upstream.base_url}"\napi_key = "env:KEY"\n'
        for name, dialect in (("claude", "anthropic_messages"), ("google", "gemini"), ("chat", "openai_chat"))
    ]
    (tmp_path / "trunkline.toml").write_text("\n".join(rows))
    async with serving(openrouter(upstream, tmp_path, {"KEY": "k"})) as running:
        yield running


async def asked(router: Router, path: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(router.url + path, json=body)


@pytest.mark.parametrize(("model", "tokens"), [("claude/m", 41), ("google/m", 42)])
async def test_a_provider_that_counts_is_asked(
    router: Router, upstream: ScriptedUpstream, model: str, tokens: int
) -> None:
    answer = await asked(router, ANTHROPIC, {"model": model, **ASKED})
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": tokens})
    assert "x-trunkline-estimated" not in answer.headers
    answer = await asked(router, GEMINI.format(model), {"contents": [{"parts": [{"text": TEXT}]}]})
    assert (answer.status_code, answer.json()) == (200, {"totalTokens": tokens})
    assert all(TEXT in request.body.decode() for request in upstream.requests)


async def test_what_nobody_counts_is_estimated_without_a_call(router: Router, upstream: ScriptedUpstream) -> None:
    answer = await asked(router, ANTHROPIC, {"model": "chat/m", **ASKED})
    assert answer.headers["x-trunkline-estimated"] == "1"
    assert len(TEXT) / 8 < answer.json()["input_tokens"] < len(TEXT)
    longer = await asked(router, ANTHROPIC, {"model": "chat/m", "messages": [{"role": "user", "content": TEXT * 100}]})
    assert longer.json()["input_tokens"] > 50 * len(TEXT) / 8
    assert upstream.requests == []


async def test_a_provider_that_fails_to_count_leaves_an_estimate(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_error(503, "busy"))
    answer = await asked(router, ANTHROPIC, {"model": "claude/m", **ASKED})
    assert (answer.status_code, answer.headers["x-trunkline-estimated"]) == (200, "1")


async def test_what_is_wrong_with_the_request_is_said(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.json_error(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "x"}}))
    answer = await asked(router, ANTHROPIC, {"model": "claude/m", **ASKED})
    assert (answer.status_code, answer.json()["type"]) == (400, "error")


@pytest.mark.parametrize("name", ["google/m%0d%0ax-more:%201", "google/" + "m" * 250, "google/m%00"])
async def test_a_model_in_a_path_that_is_no_name_is_refused_before_anybody_is_asked(
    router: Router, upstream: ScriptedUpstream, name: str
) -> None:
    told = await asked(router, GEMINI.format(name), {"contents": [{"parts": [{"text": TEXT}]}]})
    assert (told.status_code, told.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "printable" in told.json()["error"]["message"]
    assert upstream.opened == 0
