"""What operators ask: health, liveness, readiness, and the metrics after every kind of ending."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from raw_http import ask, connected, request
from served import openrouter, serving
from sse_client import chat
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

SECRET = "canary-administrator-0123456789-abcdefgh"
MODEL = {"provider": "openrouter", "model": "openrouter/auto"}


@pytest.fixture
async def client(router: Router) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the router."""
    async with httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as http:
        yield http


async def metrics(client: httpx.AsyncClient) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample by its name: labels and value."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


async def test_health_is_as_the_seed_has_it(client: httpx.AsyncClient) -> None:
    before = datetime.now(UTC)
    first = await client.get("/health")
    await asyncio.sleep(0.05)
    second = (await client.get("/health")).json()
    health = first.json()
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
    assert first.headers["cache-control"] == "no-store"
    assert list(health) == ["status", "timestamp", "uptime"]
    assert health["status"] == "ok"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", health["timestamp"])
    assert abs((datetime.fromisoformat(health["timestamp"]) - before).total_seconds()) < 5
    assert 0 <= health["uptime"] < second["uptime"] < 60


async def test_no_key_is_needed_to_ask_how_it_is(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with serving(openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": SECRET})) as router:
        for path in ("/health", "/livez", "/readyz"):
            status, headers, body = await ask(router, request("GET", path))
            assert (status, headers["cache-control"]) == (200, "no-store")
            assert body.startswith(b'{"status":"ok"')
    assert upstream.opened == 0


async def test_head_has_the_headers_of_get_and_no_body(router: Router) -> None:
    for path in ("/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/"):
        _, of_get, _ = await ask(router, request("GET", path))
        async with connected(router) as connection:
            await connection.send(request("HEAD", path, b"", "Connection: close"))
            answer = await connection.read_all()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), path
        assert body == b"", path
        assert f"content-type: {of_get['content-type']}".encode() in head


async def test_while_it_drains_it_is_alive_but_not_ready(router: Router, upstream: ScriptedUpstream) -> None:
    status, _, body = await ask(router, request("GET", "/readyz"))
    assert (status, body) == (200, b'{"status":"ok"}')
    router.app.begin_drain()
    status, _, body = await ask(router, request("GET", "/readyz"))
    assert (status, body) == (503, b'{"status":"draining"}')
    for path in ("/livez", "/health", "/metrics"):
        status, _, _ = await ask(router, request("GET", path))
        assert status == 200
    status, headers, body = await ask(router, request("POST", "/api/chat", b'{"message":"Hi"}'))
    assert status == 503
    assert (headers["retry-after"], headers["connection"]) == ("1", "close")
    assert b'"type":"server_error"' in body
    assert upstream.received == 0


async def test_each_ending_is_counted_as_what_it_was(
    router: Router, upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    broken = script.chat_stream(["Hello"], finish=None, usage=None, done=False)
    upstream.play(
        script.chat_stream(["Hello"], usage=(9, 12), cost=0.00042),
        script.chat_stream(["Hello"], usage=None),
        script.openrouter_error(429, "slow down"),
        broken.but(end=End.FIN),
        broken.but(end=End.STALL),
    )
    for _ in range(4):
        await chat(router)
    async with connected(router) as leaving:
        await leaving.chat()
        await leaving.read_until(b"Hello")
    await upstream.wait_until(lambda: upstream.active == 0)
    await chat(router, temperature=7)
    samples = await metrics(client)
    endings = {(labels["outcome"], labels["problem"]): value for labels, value in samples["trunkline_requests_total"]}
    assert endings == {
        ("complete", ""): 2,
        ("failed", "rate_limited"): 1,
        ("cut", "truncated"): 1,
        ("cancelled", ""): 1,
    }
    assert all(labels.items() >= MODEL.items() for labels, _ in samples["trunkline_requests_total"])
    tokens = {labels["direction"]: value for labels, value in samples["trunkline_tokens_total"]}
    # Where nobody says what was used, it is estimated by the length: twice of a question, once of a shorter one.
    assert tokens == {"input": 9 + 2 + 2 + 1, "output": 12 + 2 + 2 + 2}
    assert samples["trunkline_cost_nanodollars_total"] == [(MODEL, 420_000)]
    assert samples["trunkline_first_token_seconds_count"] == [(MODEL, 4)]
    assert samples["trunkline_request_seconds_count"] == [(MODEL, 5)]
    assert ({"route": "/api/chat", "status": "400"}, 1) in samples["trunkline_responses_total"]


async def test_what_is_under_way_is_counted_until_it_ends(
    router: Router, upstream: ScriptedUpstream, client: httpx.AsyncClient
) -> None:
    upstream.play(script.chat_stream(["Hello"], finish=None, done=False).but(end=End.STALL))
    async with connected(router) as one, connected(router) as other:
        for each in (one, other):
            await each.chat()
            await each.read_until(b"Hello")
        samples = await metrics(client)
        assert samples["trunkline_in_flight"] == [({}, 2)]
        assert samples["trunkline_upstream_connections"] == [({}, 2)]
    await upstream.wait_until(lambda: upstream.active == 0)
    assert (await metrics(client))["trunkline_in_flight"] == [({}, 0)]


async def test_no_client_can_make_new_series(router: Router, client: httpx.AsyncClient) -> None:
    for number in range(10):
        await client.get(f"/nowhere/{number}")
        await client.get(f"/api/chat/sessions/{number}/{number}")
        await client.get(f"/assets/{number}.js")
        await client.request("PURGE", f"/health?x={number}")
        await client.post("/api/chat", json={"message": "Hi", "temperature": number + 3})
    samples = await metrics(client)
    routes = {labels["route"] for labels, _ in samples["trunkline_responses_total"]}
    assert routes == {"/health", "/api/chat", "/api/chat/sessions/*", "/assets/*", "unknown"}
    assert len(samples["trunkline_responses_total"]) == len(routes)


async def test_the_page_about_the_api_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert not re.findall(r"<script|<link|<img|<iframe|@import|url\(", response.text)
    assert re.findall(r"href=['\"]?(\w+:)?//", response.text) == []
    document = (await client.get("/openapi.json")).json()
    assert all(path in response.text for path in document["paths"])
