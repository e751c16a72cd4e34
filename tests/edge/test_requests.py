"""`GET /v1/requests/{id}`: what became of a request, for its owner and the administrator alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from served import openrouter, serving
from trunkline.access.keys import Keys
from trunkline.core.caller import Caller
from trunkline.core.problem import Kind, invalid
from trunkline.core.resilience import RetryLimits
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

CHAT = {
    "model": "openrouter/first",
    "models": ["openrouter/second"],
    "stream": True,
    "messages": [{"role": "user", "content": "canary of a prompt"}],
}


class Users(Keys):
    """Keys that are the users' names."""

    def __init__(self) -> None:
        super().__init__(None, is_open=False, clock=lambda: 0.0)

    def authorise(self, credential: str | None, cookie: str | None = None) -> Caller:
        """The user of that name."""
        if credential is None:
            raise invalid("no key", kind=Kind.UNAUTHENTICATED)
        return Caller(user=credential, is_admin=credential == "admin")


@pytest.fixture
async def client(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a router with users, which retries."""
    settings = openrouter(upstream, tmp_path)
    async with (
        serving(settings, keys=Users(), retries=RetryLimits()) as router,
        httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as http,
    ):
        yield http


def of(user: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {user}", **more}


async def look_up(client: httpx.AsyncClient, user: str, request_id: str, base: str = "/v1") -> tuple[int, Any]:
    answer = await client.get(f"{base}/requests/{request_id}", headers=of(user))
    return answer.status_code, answer.json()


async def test_it_tells_every_attempt_and_candidate(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.json_error(500, {"message": "no"}), script.chat_stream(["a", "b"]))
    answer = await client.post("/v1/chat/completions", json=CHAT, headers=of("alice", **{"x-request-id": "r-1"}))
    assert answer.status_code == 200
    status, told = await look_up(client, "alice", "r-1")
    assert status == 200
    assert (told["id"], told["path"], told["outcome"], told["status"]) == (
        "r-1",
        "/v1/chat/completions",
        "complete",
        200,
    )
    assert [(one["model"], one["charged"], one["problem"]) for one in told["attempts"]] == [
        ("first", False, "upstream_failed"),
        ("second", True, None),
    ]
    assert [(one["target"], one["passed_over"]) for one in told["candidates"]] == [
        ("openrouter/first", False),
        ("openrouter/second", False),
    ]
    assert (told["route"], told["policy"], told["hidden"], told["model"]) == (
        "openrouter/first",
        ["priority"],
        0,
        "second",
    )
    first, second = told["attempts"]
    assert 0 <= first["begun_ms"] <= first["ended_ms"] <= second["begun_ms"] <= second["first_token_ms"]
    assert second["ended_ms"] <= told["total_ms"]


async def test_it_holds_no_content(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["canary of an answer"]))
    await client.post("/v1/chat/completions", json=CHAT, headers=of("alice", **{"x-request-id": "r-1"}))
    _, told = await look_up(client, "alice", "r-1")
    assert b"canary" not in msgspec.json.encode(told)


@pytest.mark.parametrize("base", ["/v1", "/api/v1"])
async def test_only_the_owner_and_the_administrator_find_it(
    client: httpx.AsyncClient, upstream: ScriptedUpstream, base: str
) -> None:
    upstream.play(script.chat_stream(["a"]))
    await client.post("/v1/chat/completions", json=CHAT, headers=of("alice", **{"x-request-id": "r-1"}))
    found = {user: (await look_up(client, user, "r-1", base))[0] for user in ("alice", "bob", "admin")}
    assert found == {"alice": 200, "bob": 404, "admin": 200}


async def test_an_unknown_one_is_not_found_in_the_shape_of_the_others(client: httpx.AsyncClient) -> None:
    status, told = await look_up(client, "admin", "nothing")
    assert (status, told["error"]["code"]) == (404, "not_found")


async def test_a_request_that_failed_has_its_receipt_too(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.json_error(400, {"message": "no"}))
    answer = await client.post("/v1/chat/completions", json=CHAT, headers=of("alice"))
    status, told = await look_up(client, "alice", answer.headers["x-request-id"])
    assert (status, told["outcome"], told["status"], told["problem"]) == (200, "failed", 400, "invalid_request")


async def test_the_seeds_route_has_one_too(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["a"]))
    answer = await client.post("/api/chat", json={"message": "Hi"}, headers=of("alice"))
    status, told = await look_up(client, "alice", answer.headers["x-request-id"])
    assert (status, told["path"], told["outcome"]) == (200, "/api/chat", "complete")
