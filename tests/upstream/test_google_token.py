"""A request to Google carries a token: got with the operator's credentials, kept while it is good, shared by all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Auth, Origin, Provider, Timeouts
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.dialect import WireRequest
from trunkline.upstream.auth import authenticators
from trunkline.upstream.client import Client
from trunkline.upstream.script import json_error
from trunkline.upstream.scripted import ScriptedUpstream
from upstream.connect_proxy import ConnectProxy
from upstream.google_side import EMAIL, TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.core.proxy import Proxy

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@pytest.fixture
def endpoint() -> TokenEndpoint:
    return TokenEndpoint()


@pytest.fixture
async def upstream(endpoint: TokenEndpoint) -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(endpoint.answer) as upstream:
        yield upstream


@pytest.fixture
def key_file(endpoint: TokenEndpoint, upstream: ScriptedUpstream, tmp_path: Path) -> Path:
    return endpoint.write_key_file(tmp_path / "key.json", upstream.port)


@asynccontextmanager
async def signed_in(port: int, key_file: Path | None, proxy: Proxy | None = None) -> AsyncGenerator[Client]:
    provider = Provider(
        name="vertex",
        label="Vertex AI",
        dialect="gemini",
        origin=Origin("http", "127.0.0.1", port, "vertex", proxy),
        path="/v1",
        auth=Auth.GOOGLE,
        auth_scope=SCOPE,
        auth_values=() if key_file is None else (("GOOGLE_APPLICATION_CREDENTIALS", Secret(str(key_file))),),
        allow_private=True,
    )
    client = Client(authenticators=authenticators([provider]))
    try:
        yield client
    finally:
        await client.aclose()


async def generate(client: Client, port: int, *, within_s: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    request = WireRequest(
        method="POST",
        origin=Origin("http", "127.0.0.1", port, "vertex"),
        path="/v1/models/m:generateContent",
        headers=(),
        body=b"{}",
        allow_private=True,
    )
    stream = await client.send(request, timeouts=Timeouts(), deadline=deadline)
    try:
        await stream.read_all(deadline, 1024)
    finally:
        stream.close()


def tokens(upstream: ScriptedUpstream) -> list[str]:
    """The bearers of the requests to the model, in order."""
    return [request.headers["authorization"] for request in upstream.requests if request.path != "/token"]


async def test_the_token_is_got_with_the_key_file_for_the_rows_scope(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    async with signed_in(upstream.port, key_file) as client:
        await generate(client, upstream.port)
    assert tokens(upstream) == ["Bearer token-1"]
    (claim,) = endpoint.claims
    assert (claim["iss"], claim["scope"]) == (EMAIL, SCOPE)


async def test_the_machines_own_credentials_are_found(
    upstream: ScriptedUpstream, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
    async with signed_in(upstream.port, None) as client:
        await generate(client, upstream.port)
    assert tokens(upstream) == ["Bearer token-1"]


async def test_many_who_wait_share_one_fetch_and_those_who_come_later_its_token(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    async with signed_in(upstream.port, key_file) as client:
        await asyncio.gather(*(generate(client, upstream.port) for _ in range(20)))
        await generate(client, upstream.port)
    assert tokens(upstream) == ["Bearer token-1"] * 21
    assert endpoint.given == 1


async def test_one_who_leaves_does_not_take_the_token_from_those_who_wait(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    async with signed_in(upstream.port, key_file) as client:
        first = asyncio.create_task(generate(client, upstream.port))
        second = asyncio.create_task(generate(client, upstream.port))
        await asyncio.sleep(0)
        first.cancel()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
    assert tokens(upstream) == ["Bearer token-1"]
    assert endpoint.given == 1


async def test_a_token_is_renewed_before_it_ends(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    endpoint.lifetime_s = 2
    async with signed_in(upstream.port, key_file) as client:
        await generate(client, upstream.port)
        await asyncio.sleep(1.2)
        # It serves still, while the next one is fetched.
        await generate(client, upstream.port)
        await upstream.wait_until(lambda: endpoint.given == 2, 2.0)
        await asyncio.sleep(0.1)
        await generate(client, upstream.port)
    assert tokens(upstream) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_token_that_cannot_be_renewed_serves_until_it_ends(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    endpoint.lifetime_s = 2
    async with signed_in(upstream.port, key_file) as client:
        await generate(client, upstream.port)
        endpoint.script = json_error(400, {"error": "invalid_grant"})
        await asyncio.sleep(1.2)
        await generate(client, upstream.port)
        await asyncio.sleep(0.8)
        with pytest.raises(Problem) as caught:
            await generate(client, upstream.port)
    assert tokens(upstream) == ["Bearer token-1", "Bearer token-1"]
    assert caught.value.kind is Kind.KEY_REFUSED


async def test_refused_credentials_are_the_routers_to_mend_and_googles_words_stay_inside(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    endpoint.script = json_error(400, {"error": "invalid_grant", "error_description": f"canary for {EMAIL}"})
    async with signed_in(upstream.port, key_file) as client:
        with pytest.raises(Problem) as caught:
            await generate(client, upstream.port)
    problem = caught.value
    assert (problem.kind, problem.source, problem.retry) == (Kind.KEY_REFUSED, Source.ROUTER, Retry.ELSEWHERE)
    assert "were refused by Google (invalid_grant)" in problem.message
    assert "canary" not in f"{problem.message} {problem.detail}"
    assert EMAIL not in problem.message
    assert tokens(upstream) == []


async def test_nobody_at_the_token_endpoint_is_a_matter_of_the_network(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, tmp_path: Path, unused_port: int
) -> None:
    key_file = endpoint.write_key_file(tmp_path / "elsewhere.json", unused_port)
    async with signed_in(upstream.port, key_file) as client:
        with pytest.raises(Problem) as caught:
            await generate(client, upstream.port, within_s=15.0)
    assert (caught.value.kind, caught.value.source) == (Kind.UNREACHABLE, Source.NETWORK)
    assert caught.value.message.startswith("There is no token for Vertex AI: Could not connect to 127.0.0.1:")


@pytest.mark.parametrize(
    "answer", [[], "no", {"access_token": "t", "expires_in": "soon"}, {"access_token": "t", "expires_in": 10**30}]
)
async def test_an_answer_that_is_no_token_is_a_matter_of_googles(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path, answer: object
) -> None:
    endpoint.script = json_error(200, cast("dict[str, object]", answer))
    async with signed_in(upstream.port, key_file) as client:
        with pytest.raises(Problem, match="There is no token for Vertex AI: Google's answer cannot be read") as caught:
            await generate(client, upstream.port)
    problem = caught.value
    assert (problem.kind, problem.source, problem.retry) == (Kind.UPSTREAM_INVALID, Source.UPSTREAM, Retry.ELSEWHERE)


async def test_a_key_file_that_is_a_directory_is_the_operators_to_mend(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with signed_in(upstream.port, tmp_path) as client:
        with pytest.raises(Problem, match="are not there, or cannot be read") as caught:
            await generate(client, upstream.port)
    assert (caught.value.kind, caught.value.source) == (Kind.KEY_REFUSED, Source.ROUTER)


@pytest.mark.parametrize("content", [None, "{}", "[]", "not json", '{"type":"service_account"}'])
async def test_a_key_file_that_is_none_is_the_operators_to_mend(
    upstream: ScriptedUpstream, tmp_path: Path, content: str | None
) -> None:
    key_file = tmp_path / "key.json"
    if content is not None:
        key_file.write_text(content)
    async with signed_in(upstream.port, key_file) as client:
        with pytest.raises(Problem) as caught:
            await generate(client, upstream.port)
    assert caught.value.kind is Kind.KEY_REFUSED
    assert "are not there, or cannot be read" in caught.value.message
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.message


async def test_a_request_waits_for_its_token_only_until_its_own_deadline(
    upstream: ScriptedUpstream, endpoint: TokenEndpoint, key_file: Path
) -> None:
    endpoint.script = json_error(200, {}).but(delay_headers_s=3.0)
    async with signed_in(upstream.port, key_file) as client:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await generate(client, upstream.port, within_s=0.3)
        assert asyncio.get_running_loop().time() - began < 1.5
    assert tokens(upstream) == []


async def test_a_token_is_fetched_by_the_way_of_its_provider_where_it_is_asked_for_over_TLS(  # noqa: N802 - the name of the protocol
    upstream: ScriptedUpstream, key_file: Path, unused_port: int
) -> None:
    async with ConnectProxy(credential="me:password") as proxy:
        async with signed_in(upstream.port, key_file, proxy.proxy()) as client:
            await generate(client, upstream.port)
        assert proxy.accepted == 0
        text = key_file.read_text(encoding="utf-8")
        key_file.write_text(text.replace(f"http://127.0.0.1:{upstream.port}", f"https://127.0.0.1:{unused_port}"))
        async with signed_in(upstream.port, key_file, proxy.proxy()) as client:
            with pytest.raises(Problem, match=f"There is no token for Vertex AI: The proxy {proxy.proxy().name} wants"):
                await generate(client, upstream.port)
        assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{unused_port} HTTP/1.1\r\n".encode())
