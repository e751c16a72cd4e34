"""A request to Amazon is signed: the signature holds for what arrived on the socket, whatever gave the credentials."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Auth, Origin, Provider, Timeouts
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.dialect import WireRequest
from trunkline.upstream.auth import authenticators
from trunkline.upstream.client import Client
from trunkline.upstream.script import json_error
from trunkline.upstream.scripted import ScriptedUpstream
from upstream.aws_side import claim_of, signature_of
from upstream.connect_proxy import ConnectProxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.core.proxy import Proxy
    from trunkline.upstream.journal import ReceivedRequest

KEY_ID, SECRET, TOKEN = "AKIDCANARY", "canary/secret+of+the+router", "canary-session-token=="
KEYS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}


def bedrock(port: int, values: dict[str, str], proxy: Proxy | None = None) -> Provider:
    return Provider(
        name="bedrock",
        label="Amazon Bedrock",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", port, "bedrock", proxy),
        path="/openai/v1",
        auth=Auth.SIGV4,
        auth_scope="eu-west-1/bedrock",
        auth_values=tuple((name, Secret(value)) for name, value in values.items()),
        allow_private=True,
    )


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(lambda _: json_error(200, {})) as upstream:
        yield upstream


@asynccontextmanager
async def signing(port: int, values: dict[str, str]) -> AsyncGenerator[Client]:
    client = Client(authenticators=authenticators([bedrock(port, values)]))
    try:
        yield client
    finally:
        await client.aclose()


def chat(port: int, body: bytes = b'{"model":"m"}', **extra: str) -> WireRequest:
    return WireRequest(
        method="POST",
        origin=Origin("http", "127.0.0.1", port, "bedrock"),
        path="/openai/v1/chat/completions",
        headers=(("content-type", "application/json"), ("x-team", "blue"), *extra.items()),
        body=body,
        allow_private=True,
    )


async def send(client: Client, request: WireRequest, *, within_s: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    stream = await client.send(request, timeouts=Timeouts(), deadline=deadline)
    try:
        await stream.read_all(deadline, 1024)
    finally:
        stream.close()


def holds(request: ReceivedRequest, secret: str) -> bool:
    """Whether the signature is the one that this secret makes over what arrived."""
    claim = claim_of(request.headers["authorization"])
    made = signature_of(
        secret,
        claim,
        method=request.method,
        path=request.path,
        query=request.query,
        headers=request.headers,
        body=request.body,
    )
    return made == claim.signature


async def test_the_signature_holds_for_what_arrived(upstream: ScriptedUpstream) -> None:
    async with signing(upstream.port, KEYS) as client:
        await send(client, chat(upstream.port))
    (request,) = upstream.requests
    claim = claim_of(request.headers["authorization"])
    assert claim.key_id == KEY_ID
    date = request.headers["x-amz-date"][:8]
    assert claim.scope == f"{date}/eu-west-1/bedrock/aws4_request"
    assert holds(request, SECRET)
    assert not holds(request, "another")


async def test_it_covers_host_body_and_every_header_of_the_request(upstream: ScriptedUpstream) -> None:
    async with signing(upstream.port, KEYS) as client:
        await send(client, chat(upstream.port))
    (request,) = upstream.requests
    claim = claim_of(request.headers["authorization"])
    assert set(claim.signed_headers) == {"content-type", "host", "x-amz-date", "x-team"}
    assert not holds(msgspec.structs.replace(request, body=b"{}"), SECRET)
    assert not holds(msgspec.structs.replace(request, path="/openai/v1/other"), SECRET)


async def test_a_session_token_goes_along_and_is_signed(upstream: ScriptedUpstream) -> None:
    async with signing(upstream.port, {**KEYS, "AWS_SESSION_TOKEN": TOKEN}) as client:
        await send(client, chat(upstream.port))
    (request,) = upstream.requests
    assert request.headers["x-amz-security-token"] == TOKEN
    assert "x-amz-security-token" in claim_of(request.headers["authorization"]).signed_headers
    assert holds(request, SECRET)


async def test_a_large_body_is_signed_as_well(upstream: ScriptedUpstream) -> None:
    async with signing(upstream.port, KEYS) as client:
        await send(client, chat(upstream.port, b"x" * (1024 * 1024)))
    (request,) = upstream.requests
    assert holds(request, SECRET)


async def test_a_header_of_the_same_name_is_replaced(upstream: ScriptedUpstream) -> None:
    async with signing(upstream.port, KEYS) as client:
        await send(client, chat(upstream.port, authorization="Bearer canary"))
    (request,) = upstream.requests
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert holds(request, SECRET)


async def test_a_profile_of_the_machine_gives_credentials(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = canary-work\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    async with signing(upstream.port, {"AWS_PROFILE": "work"}) as client:
        await asyncio.gather(*(send(client, chat(upstream.port)) for _ in range(5)))
    assert len(upstream.requests) == 5
    assert {claim_of(request.headers["authorization"]).key_id for request in upstream.requests} == {"AKIDWORK"}
    assert all(holds(request, "canary-work") for request in upstream.requests)


@pytest.mark.parametrize("profile", ["nowhere", None])
async def test_no_credentials_are_a_problem_of_the_router_and_nothing_goes_out(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with signing(upstream.port, {"AWS_PROFILE": profile} if profile else {}) as client:
        with pytest.raises(Problem) as caught:
            await send(client, chat(upstream.port))
    problem = caught.value
    assert (problem.kind, problem.source, problem.retry) == (Kind.KEY_REFUSED, Source.ROUTER, Retry.ELSEWHERE)
    assert "AWS_ACCESS_KEY_ID" in problem.message
    assert upstream.opened == 0


@pytest.mark.parametrize(
    "config",
    [
        "credential_process = {nowhere}",
        "credential_process = /bin/echo nonsense",
        "credential_process = /bin/echo []",
        "role_arn = arn:aws:iam::123456789012:role/work\nweb_identity_token_file = {nowhere}\nregion = eu-west-1",
    ],
)
async def test_a_source_of_credentials_that_is_broken_is_a_problem_of_the_router(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    shared = tmp_path / "config"
    shared.write_text(f"[default]\n{config.format(nowhere=tmp_path / 'nowhere')}\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(shared))
    async with signing(upstream.port, {}) as client:
        with pytest.raises(Problem, match="could not be fetched") as caught:
            await send(client, chat(upstream.port))
    assert (caught.value.kind, caught.value.retry) == (Kind.KEY_REFUSED, Retry.ELSEWHERE)
    assert upstream.opened == 0


async def test_no_secret_stands_in_what_a_log_would_show() -> None:
    provider = bedrock(1, {**KEYS, "AWS_SESSION_TOKEN": TOKEN})
    shown = f"{provider!r} {provider}"
    assert SECRET not in shown
    assert TOKEN not in shown


async def test_what_botocore_asks_of_amazon_goes_by_the_way_of_its_provider(
    unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n[profile work]\nregion = eu-west-1\n"
        "role_arn = arn:aws:iam::123456789012:role/work\nsource_profile = base\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    async with ConnectProxy(credential="me:canary") as proxy, ConnectProxy() as ambient:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{ambient.proxy().name}")
        provider = bedrock(unused_port, {"AWS_PROFILE": "work"}, proxy.proxy("me:wrong-canary"))
        client = Client(authenticators=authenticators([provider]))
        with pytest.raises(Problem, match="The router's AWS credentials") as caught:
            await send(client, chat(unused_port))
        await client.aclose()
        assert proxy.asked[0].startswith(b"CONNECT sts.eu-west-1.amazonaws.com:443 HTTP/1.")
        assert b"Basic" in proxy.asked[0]
        assert ambient.accepted == 0
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
