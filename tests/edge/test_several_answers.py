"""Several answers to one request (`n`, `candidateCount`): verbatim or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from every_provider import routed
from trunkline.dialects import sse
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with routed(upstream, tmp_path) as running:
        yield running


def ask(dialect: str, target: str) -> tuple[str, dict[str, Any]]:
    """Two answers are asked for."""
    if dialect == "openai_chat":
        return "/v1/chat/completions", {"model": target, "n": 2, "messages": [{"role": "user", "content": "Hi"}]}
    asked = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"candidateCount": 2}}
    return f"/v1beta/models/{target}:generateContent", asked


CHAT = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": place, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for place, text in enumerate(("Hi.", "Ho."))
    ],
}
GEMINI = {
    "responseId": "g",
    "candidates": [
        {"index": place, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        for place, text in enumerate(("Hi.", "Ho."))
    ],
}


@pytest.mark.parametrize(("dialect", "whole"), [("openai_chat", CHAT), ("gemini", GEMINI)])
async def test_a_provider_of_the_same_dialect_gives_them_all(
    router: Router, upstream: ScriptedUpstream, dialect: str, whole: dict[str, Any]
) -> None:
    upstream.play(script.json_answer(whole))
    path, body = ask(dialect, f"{dialect}/m")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(router.url + path, json=body)
    assert answer.json() == whole
    told = upstream.requests[0].json()
    assert told.get("n") == body.get("n")
    assert told.get("generationConfig") == body.get("generationConfig")


DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")


@pytest.mark.parametrize(
    ("dialect", "target"),
    [(client, other) for client in ("openai_chat", "gemini") for other in DIALECTS if other != client],
)
async def test_no_other_is_asked_for_them(
    router: Router, upstream: ScriptedUpstream, dialect: str, target: str
) -> None:
    path, body = ask(dialect, f"{target}/m")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(router.url + path, json=body)
    assert answer.status_code == 400
    assert "(`n`, or `candidateCount`)" in answer.json()["error"]["message"]
    assert upstream.opened == 0


def piece(dialect: str, index: int, text: str | None) -> bytes:
    """A chunk that adds to this answer, or ends it."""
    if dialect == "openai_chat":
        delta = {} if text is None else {"content": text}
        choice = {"index": index, "delta": delta, "finish_reason": "stop" if text is None else None}
        return sse.event(msgspec.json.encode({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}))
    added = {"finishReason": "STOP"} if text is None else {"content": {"role": "model", "parts": [{"text": text}]}}
    return sse.event(msgspec.json.encode({"responseId": "g", "candidates": [{"index": index, **added}]}))


@pytest.mark.parametrize("dialect", ["openai_chat", "gemini"])
@pytest.mark.parametrize(
    ("pieces", "end", "is_whole"),
    [
        pytest.param((0, 0, 1, 1), script.End.RST, True, id="one after the other, then cut"),
        pytest.param((0, 1, 0, 1), script.End.RST, True, id="in turns, then cut"),
        pytest.param((0, 0), script.End.CLEAN, True, id="a provider that gives one"),
        pytest.param((0, 0), script.End.RST, False, id="cut before the second begins"),
        pytest.param((0, 0, 1), script.End.RST, False, id="cut in the second"),
    ],
)
async def test_a_stream_of_them_is_whole_when_all_of_them_are(
    router: Router,
    upstream: ScriptedUpstream,
    dialect: str,
    pieces: tuple[int, ...],
    end: script.End,
    *,
    is_whole: bool,
) -> None:
    told = [piece(dialect, index, None if index in pieces[:at] else "Hi.") for at, index in enumerate(pieces)]
    upstream.play(script.Script(body=tuple(told), end=end))
    path, asked = ask(dialect, f"{dialect}/m")
    if dialect == "openai_chat":
        asked["stream"] = True
    else:
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(router.url + path, json=asked)
    assert answer.content.startswith(told[0])
    assert (b'"error"' in answer.content) == (not is_whole)
    if dialect == "openai_chat":
        assert answer.content.endswith(sse.DONE) == is_whole
