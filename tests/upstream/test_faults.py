"""The provider that fails on purpose; that each of its models does so behind the router is an acceptance test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from trunkline.demo import ROUTES
from trunkline.upstream.faults import FAULTS, TEXT, FaultyProvider, Wish
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


@pytest.fixture
async def faulty() -> AsyncGenerator[ScriptedUpstream]:
    provider = FaultyProvider()
    async with ScriptedUpstream(provider.answer) as upstream:
        provider.journal = upstream
        yield upstream


async def ask(upstream: ScriptedUpstream, model: str, *begun: dict[str, Any], **more: Any) -> httpx.Response:
    """One request without the router."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}, *begun], **more}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{upstream.base_url}/chat/completions", json=body)


def test_the_page_tells_of_every_fault_and_every_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for fault in FAULTS:
        assert f"| `faults/{fault.name}` | {fault.does} | {fault.status} | {fault.gets} |" in page
    assert all(f"| `{name}` |" in page for name in ROUTES)
    assert all(f"`{field.name}`" in page for field in msgspec.structs.fields(Wish))


async def test_what_was_begun_is_gone_on_with(faulty: ScriptedUpstream) -> None:
    """A route that resumes gives it the text so far, as the beginning of its own."""
    whole = await ask(faulty, "fine")
    rest = await ask(faulty, "fine", {"role": "assistant", "content": TEXT[:40]})
    assert whole.json()["choices"][0]["message"]["content"] == TEXT
    assert rest.json()["choices"][0]["message"]["content"] == TEXT[40:]


async def test_those_that_take_turns_do_so_each_on_its_own(faulty: ScriptedUpstream) -> None:
    statuses = [(await ask(faulty, "overloaded-then-fine")).status_code for _ in range(4)]
    assert statuses == [503, 200, 503, 200]


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ({"status": 418, "body": ["I am ", "a teapot"], "headers": {"content-type": "text/plain"}}, 418, "a teapot"),
        ({"text": "Hello there."}, 200, '"content":"Hello there."'),
        ({"staus": 1}, 400, "staus"),
        ({"end": "sudden"}, 400, "sudden"),
        ({"body": [], "repeat": True}, 400, "must not be empty"),
    ],
)
async def test_a_request_may_say_what_is_played(
    faulty: ScriptedUpstream, script: dict[str, Any], status: int, says: str
) -> None:
    answer = await ask(faulty, "scripted", script=script)
    assert answer.status_code == status
    assert says in answer.text


async def test_it_tells_what_has_reached_it_but_not_what_was_said(faulty: ScriptedUpstream) -> None:
    await ask(faulty, "html")
    await ask(faulty, "nobody")
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(f"{faulty.base_url}/journal")).json()
    assert [(one["model"], one["ending"]) for one in told["requests"]] == [("html", "finished"), ("nobody", "finished")]
    assert set(told["requests"][0]) == {"id", "path", "model", "bytes_sent", "ending"}
