"""The administrator's routes: why a request would go where it goes, and a new catalogue without a new process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from raw_http import ask, request
from served import KEY, openrouter, serving
from trunkline.core.catalog import Model, Provider, split_base_url
from trunkline.core.price import Price
from trunkline.core.resilience import RetryLimits
from trunkline.settings.reading import load
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.settings.values import Settings

SECRET = "canary-administrator-0123456789-abcdefgh"
CHAT = {"model": "openrouter/some-model", "messages": [{"role": "user", "content": "canary of a prompt"}]}


@pytest.fixture
async def client(router: Router) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the router."""
    async with httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as http:
        yield http


async def explained(client: httpx.AsyncClient, body: Any = None, **query: str) -> tuple[int, Any]:
    answer = await client.post("/admin/explain", json=CHAT if body is None else body, params=query)
    return answer.status_code, answer.json()


async def test_a_plan_is_explained_and_nobody_is_dialled(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    status, plan = await explained(client)
    assert status == 200
    (target,) = plan["targets"]
    assert (target["target"], target["provider"], target["why"]) == (
        "openrouter/some-model",
        "openrouter",
        "is the only target",
    )
    assert (target["state"], target["in_flight"], target["first_token_s"], target["estimated_cost"]) == (
        "closed",
        0,
        None,
        None,
    )
    assert (plan["route"], plan["policy"], plan["passed_over"]) == ("openrouter/some-model", ["priority"], [])
    assert upstream.opened == 0


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/api/v1/chat/completions", CHAT),
        ("/v1/responses", {"model": "openrouter/some-model", "input": "Hi"}),
        ("/v1/messages", {"model": "openrouter/some-model", "max_tokens": 5, "messages": CHAT["messages"]}),
        ("/v1beta/models/openrouter/some-model:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}),
        ("/api/chat", {"model": "openrouter/some-model", "message": "Hi"}),
    ],
)
async def test_the_body_may_be_of_any_dialect(client: httpx.AsyncClient, route: str, body: Any) -> None:
    status, plan = await explained(client, body, route=route)
    assert (status, [one["target"] for one in plan["targets"]]) == (200, ["openrouter/some-model"])


@pytest.mark.parametrize(
    ("body", "route", "status", "says"),
    [
        ({"model": "nobody/knows", "messages": "x"}, "/v1/chat/completions", 400, "messages"),
        ({"message": " "}, "/api/chat", 400, "message"),
        (CHAT, "/health", 400, "`route` must be the path of a completion"),
        (CHAT, "/v1beta/models/m:doSomething", 404, "streamGenerateContent"),
    ],
)
async def test_what_cannot_be_planned_is_a_plain_problem(
    client: httpx.AsyncClient, body: Any, route: str, status: int, says: str
) -> None:
    answered, problem = await explained(client, body, route=route)
    assert (answered, problem["type"]) == (status, "invalid_request")
    assert says in problem["error"]


async def test_what_the_traffic_has_shown_is_among_the_facts(
    client: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["a", "b"]))
    await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    _, plan = await explained(client)
    assert plan["targets"][0]["first_token_s"] > 0


def two_targets(upstream: ScriptedUpstream, directory: Path) -> Settings:
    """Two providers that are the same upstream, one of them with a price, in a plan by the caller's names."""
    origin, path = split_base_url(upstream.base_url)
    price = Price(input_nano=1_000_000_000, output_nano=2_000_000_000)

    def provider(name: str, price: Price | None) -> Provider:
        return Provider(
            name=name,
            label=name.title(),
            dialect="openai_chat",
            origin=origin,
            path=path,
            models=(Model(id="m", price=price),),
            allow_private=True,
        )

    providers = (provider("dear", price), provider("unknown", None))
    return msgspec.structs.replace(openrouter(upstream, directory), providers=providers)


async def test_the_callers_wishes_are_part_of_the_plan(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with (
        serving(two_targets(upstream, tmp_path)) as router,
        httpx.AsyncClient(base_url=router.url, trust_env=False) as client,
    ):
        body = {**CHAT, "model": "unknown/m", "models": ["dear/m"], "max_tokens": 100}
        plain = (await client.post("/admin/explain", json=body)).json()
        ordered = (await client.post("/admin/explain", json={**body, "provider": {"order": ["dear"]}})).json()
        ignored = (await client.post("/admin/explain", json={**body, "provider": {"ignore": ["dear"]}})).json()
        cheapest = (await client.post("/admin/explain", json=body, headers={"x-trunkline-policy": "cheapest"})).json()
    assert [one["target"] for one in plain["targets"]] == ["unknown/m", "dear/m"]
    assert plain["targets"][1]["estimated_cost"] == "0.000204000"
    first = ordered["targets"][0]
    assert (first["target"], first["why"]) == ("dear/m", "is where `provider.order` puts it")
    assert ignored["passed_over"] == [{"target": "dear/m", "why": "is left out by `provider.ignore`"}]
    assert cheapest["policy"] == ["cheapest"]


async def test_the_routes_are_the_administrators(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    closed = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": SECRET, "TRUNKLINE_OPEN": "1"})
    async with serving(closed) as router:
        body = msgspec.json.encode(CHAT)
        for path in ("/admin/explain", "/admin/reload"):
            status, _, told = await ask(router, request("POST", path, body))
            assert (status, b"for the administrator" in told) == (403, True)
        status, _, _ = await ask(router, request("POST", "/admin/explain", body, f"Authorization: Bearer {SECRET}"))
        assert status == 200


async def test_a_page_of_another_origin_may_not_ask(client: httpx.AsyncClient) -> None:
    answer = await client.post("/admin/explain", json=CHAT, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def configured(upstream: ScriptedUpstream, directory: Path) -> Settings:
    """The settings as a reload reads them: the environment, and a file that changes."""
    environment = {
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": upstream.base_url,
        "TRUNKLINE_DATA_DIR": str(directory),
    }
    return load(environment, directory)


@asynccontextmanager
async def reloading(upstream: ScriptedUpstream, directory: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a router that reads its configuration anew from this directory."""

    def read() -> Settings:
        return configured(upstream, directory)

    async with (
        serving(read(), retries=RetryLimits(), reread=read) as router,
        httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as client,
    ):
        yield client


async def test_a_reload_swaps_the_catalogue_and_keeps_connections_and_health(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with reloading(upstream, tmp_path) as client:
        assert (await client.post("/v1/chat/completions", json={**CHAT, "model": "fast"})).status_code != 200
        upstream.play(script.chat_stream(["a"]), script.chat_stream(["b"]))
        await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        (tmp_path / "trunkline.toml").write_text('[aliases]\nfast = "openrouter/some-model"\n')
        answer = await client.post("/admin/reload", json={})
        assert (answer.status_code, answer.json()) == (200, {"status": "reloaded", "needs_restart": []})
        plan = (await client.post("/admin/explain", json={**CHAT, "model": "fast"})).json()
        assert plan["targets"][0]["target"] == "openrouter/some-model"
        assert plan["targets"][0]["first_token_s"] > 0
        opened = upstream.opened
        assert (
            await client.post("/v1/chat/completions", json={**CHAT, "model": "fast", "stream": True})
        ).status_code == 200
        assert upstream.opened == opened


async def test_every_mistake_is_told_and_nothing_has_changed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with reloading(upstream, tmp_path) as client:
        (tmp_path / "trunkline.toml").write_text("default_model = 3\n[server]\nport = 70000\nnonsense = 1\n")
        answer = await client.post("/admin/reload", json={})
        told = answer.json()
        assert (answer.status_code, told["type"], len(told["mistakes"])) == (400, "invalid_request", 3)
        assert all(mistake in told["error"] for mistake in told["mistakes"])
        assert (await client.post("/admin/explain", json=CHAT)).status_code == 200


async def test_what_only_counts_after_a_restart_is_named_each_time(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with reloading(upstream, tmp_path) as client:
        (tmp_path / "trunkline.toml").write_text("[server]\nport = 4000\nlog_level = 'debug'\n")
        for _ in range(2):
            told = (await client.post("/admin/reload", json={})).json()
            assert told == {"status": "reloaded", "needs_restart": ["server.log_level", "server.port"]}


async def test_a_request_that_runs_keeps_its_catalogue(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with ScriptedUpstream() as other:
        first, second = openrouter(upstream, tmp_path), openrouter(other, tmp_path)
        upstream.play(script.chat_stream(["a", "b", "c"]).but(delay_between_s=0.2))
        async with (
            serving(first, reread=lambda: second) as router,
            httpx.AsyncClient(base_url=router.url, trust_env=False) as client,
        ):
            running = asyncio.create_task(client.post("/v1/chat/completions", json={**CHAT, "stream": True}))
            await upstream.wait_until(lambda: upstream.received == 1)
            assert (await client.post("/admin/reload", json={})).status_code == 200
            other.play(script.chat_stream(["d"]))
            after = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
            before = await running
    assert before.text.count("[DONE]") == after.text.count("[DONE]") == 1
    assert '"c"' in before.text
    assert '"d"' in after.text


async def test_a_process_that_knows_no_sources_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.post("/admin/reload", json={})
    assert (answer.status_code, answer.json()["type"]) == (503, "server_error")
