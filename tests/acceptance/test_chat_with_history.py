"""Chat with history, from the client's side, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from raw_http import connected
from served import openrouter, serving
from sse_client import chat
from store.databases import outage, somewhere
from trunkline.store.migrate import NotMigrated
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from store.databases import Outage, Place
    from trunkline.upstream.scripted import ScriptedUpstream

__all__ = ["outage", "somewhere"]


@asynccontextmanager
async def remembering(url: str, upstream: ScriptedUpstream, directory: Path) -> AsyncGenerator[Router]:
    async with serving(openrouter(upstream, directory, {"CHAT_DATABASE_URL": url})) as router:
        yield router


async def get(router: Router, path: str) -> tuple[int, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(f"{router.url}/api/chat/sessions{path}")
        return response.status_code, response.json()


async def stored(router: Router, session: str) -> list[tuple[str, str, str]]:
    """Role, content and status of each message, once the answer is there."""
    async with asyncio.timeout(10):
        while True:
            status, body = await get(router, f"/{session}/messages")
            assert status == 200
            if body["messages"] and body["messages"][-1]["role"] == "assistant":
                return [(one["role"], one["content"], one["status"]) for one in body["messages"]]
            await asyncio.sleep(0.05)


async def test_a_chat_makes_a_session_and_its_id_comes_back(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.chat_stream(["Hello ", "there"], usage=(3, 2), cost=0.5))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        answer = await chat(router, "What is it?\nTell me.")
        session = answer.headers["x-session-id"]
        assert await stored(router, session) == [
            ("user", "What is it?\nTell me.", "complete"),
            ("assistant", "Hello there", "complete"),
        ]
        _, listed = await get(router, "")
        assert [one["id"] for one in listed["sessions"]] == [session]
        assert listed["sessions"][0]["title"].startswith("What is it?")
        assert listed["sessions"][0]["messageCount"] == 2
    rows = await somewhere.rows("SELECT tokens_used, cost_nano FROM chat_messages WHERE role = 'assistant'")
    assert rows == [(5, 500_000_000)]


async def test_earlier_messages_go_along(somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.play(script.chat_stream(["Paris"]), script.chat_stream(["Lyon"]))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        first = await chat(router, "Capital of France?")
        second = await chat(router, "And the next city?", sessionId=first.headers["x-session-id"])
        assert second.headers["x-session-id"] == first.headers["x-session-id"]
    assert upstream.plays[-1].request.json()["messages"] == [
        {"role": "user", "content": "Capital of France?"},
        {"role": "assistant", "content": "Paris"},
        {"role": "user", "content": "And the next city?"},
    ]


async def test_the_oldest_messages_are_left_out_whole_when_the_context_is_full(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        f'[providers.small]\ndialect = "openai_chat"\nbase_url = "{upstream.base_url}"\n'
        'models = [{ id = "m", context_tokens = 400 }]\n'
    )
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        first = await chat(router, "first " * 100, model="small/m")
        session = first.headers["x-session-id"]
        await chat(router, "second", model="small/m", sessionId=session)
    sent = [message["content"] for message in upstream.plays[-1].request.json()["messages"]]
    assert sent[-1] == "second"
    assert "first " * 100 not in sent


@pytest.mark.parametrize(
    ("end", "status"),
    [(End.RST, "cut"), (End.FIN, "cut")],
)
async def test_what_was_streamed_is_stored_when_the_stream_breaks(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path, end: End, status: str
) -> None:
    upstream.play(script.chat_stream(["Once ", "upon"], finish=None, done=False).but(end=end))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        answer = await chat(router)
        assert answer.text == "Once upon"
        assert (await stored(router, answer.headers["x-session-id"]))[-1] == ("assistant", "Once upon", status)


async def test_what_was_streamed_is_stored_when_the_client_leaves(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.chat_stream(["Once "], finish=None, done=False).but(end=End.STALL))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        async with connected(router) as client:
            await client.chat("Tell")
            head = await client.read_until(b"Once ")
            client.reset()
        session = next(line[14:] for line in head.decode().splitlines() if line.lower().startswith("x-session-id: "))
        assert (await stored(router, session))[-1] == ("assistant", "Once ", "cancelled")


async def test_an_answer_that_never_began_is_not_part_of_the_context(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.openrouter_error(503, "busy"), script.chat_stream(["Here"]))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        failed = await chat(router, "One")
        assert failed.status == 502
        session = failed.headers["x-session-id"]
        assert (await chat(router, "Two", sessionId=session)).is_done
    assert [one["content"] for one in upstream.plays[-1].request.json()["messages"]] == ["One", "Two"]


async def test_a_second_turn_of_a_session_is_a_conflict(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.chat_stream(["a"]), script.chat_stream(["b"], finish=None, done=False).but(end=End.STALL))
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        session = (await chat(router)).headers["x-session-id"]
        async with connected(router) as client:
            body = f'{{"message":"Hi","sessionId":"{session}"}}'.encode()
            head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
            await client.send(head + str(len(body)).encode() + b"\r\n\r\n" + body)
            await client.read_until(b'"b"}')
            second = await chat(router, "me too", sessionId=session)
    assert second.status == 409
    assert second.error is not None
    assert second.error["type"] == "invalid_request"


@pytest.mark.parametrize("session", ["00000000-0000-4000-8000-000000000000", "not-a-uuid", "' OR 1=1 --"])
async def test_an_unknown_session_is_not_found(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path, session: str
) -> None:
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        answer = await chat(router, sessionId=session)
    assert answer.status == 404
    assert answer.error is not None
    assert "sessionId" in answer.error["error"]
    assert upstream.received == 0


async def test_a_database_that_goes_away_breaks_no_running_stream(
    outage: Outage, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.chat_stream(["a", "b", "c"], role_chunk=False).but(delay_between_s=0.3))
    async with remembering(outage.url, upstream, tmp_path) as router:
        running = asyncio.create_task(chat(router))
        await upstream.wait_until(lambda: upstream.bytes_sent > 0)
        outage.begin()
        answer = await running
        assert (answer.text, answer.is_done) == ("abc", True)
        refused = await chat(router)
        assert refused.status == 503
        assert refused.error is not None
        assert refused.error["type"] == "server_error"
        await outage.end()
        assert (await stored(router, answer.headers["x-session-id"]))[-1] == ("assistant", "abc", "complete")


async def test_the_session_routes_say_why_they_are_off(router: Router) -> None:
    status, body = await get(router, "")
    assert status == 503
    assert "CHAT_DATABASE_URL" in body["error"]


async def test_an_unmigrated_database_is_refused_with_the_command(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with pytest.raises(NotMigrated, match="trunkline migrate"):
        async with remembering(f"sqlite:///{tmp_path}/none.sqlite3", upstream, tmp_path):
            pass


async def test_a_clients_own_conversation_is_not_stored_and_passes_as_it_came(
    somewhere: Place, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.play(script.chat_stream(["Hello"]))
    body = {"model": "openrouter/x", "messages": [{"role": "user", "content": "Mine"}], "stream": True, "new": 1.50}
    async with remembering(somewhere.url, upstream, tmp_path) as router:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"{router.url}/v1/chat/completions", json=body)
        assert answer.text.endswith("data: [DONE]\n\n")
        assert "x-session-id" not in answer.headers
        assert (await get(router, ""))[1]["sessions"] == []
    assert upstream.requests[0].json()["new"] == 1.5
