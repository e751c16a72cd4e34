"""A new configuration for a router that runs: swapped whole in every worker, or not at all."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from program import started
from sizes import RELOADS
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Started
    from trunkline.upstream.scripted import ScriptedUpstream

CHAT = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}
CLIENTS = 4
WRONG = """
default_model = 3
[models.fast]
targets = []
[models.slow]
targets = ["openrouter/slow"]
policy = "luck"
"""


def routed(generation: int) -> str:
    """A configuration whose route `fast` leads to this generation of a model."""
    return f'[models.fast]\ntargets = ["openrouter/generation-{generation}"]\n'


def workers(router: Started) -> set[int]:
    return {child.pid for child in psutil.Process(router.pid).children()}


async def test_a_hundred_reloads_under_load_fail_no_request(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """T55: one in ten is invalid; it is refused whole, with every mistake, and what was stays."""
    upstream.play(script.chat_stream(["a", "b", "c"]).but(delay_between_s=0.005))
    config = tmp_path / "trunkline.toml"
    config.write_text(routed(0))
    answers: list[httpx.Response] = []
    is_over = asyncio.Event()

    async def load(url: str) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            while not is_over.is_set():
                answers.append(await client.post("/v1/chat/completions", json={**CHAT, "stream": True}))

    async with started(upstream, tmp_path, "--workers", "2") as router:
        before = workers(router)
        async with asyncio.TaskGroup() as tasks, httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
            for _ in range(CLIENTS):
                tasks.create_task(load(router.url))
            for number in range(1, RELOADS + 1):
                is_wrong = number % 10 == 0
                config.write_text(WRONG if is_wrong else routed(number))
                told = await client.post("/admin/reload", json={})
                assert told.status_code == (400 if is_wrong else 200), told.text
                if is_wrong:
                    assert len(told.json()["mistakes"]) == 3
                plan = (await client.post("/admin/explain", json=CHAT)).json()
                current = number - 1 if is_wrong else number
                assert plan["targets"][0]["model"] == f"generation-{current}"
            is_over.set()
        assert workers(router) == before
    assert len(answers) > RELOADS
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.text.count("[DONE]") == 1 and '"error"' not in answer.text for answer in answers)


async def test_sighup_swaps_the_catalogue_in_every_worker_and_replaces_none(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "trunkline.toml"
    config.write_text(routed(0))
    async with started(upstream, tmp_path, "--workers", "2") as router:
        before = workers(router)
        config.write_text(WRONG)
        router.signal(signal.SIGHUP)
        await _true(lambda: "reload_refused" in router.log)
        assert "models.slow.policy" in router.log
        config.write_text(routed(1) + "[server]\ndrain_s = 5\n")
        router.signal(signal.SIGHUP)
        await _true(lambda: '"event":"reloaded"' in router.log)
        # Each on a connection of its own: either worker may take it.
        plans = [await _explained(router) for _ in range(12)]
        assert {plan["targets"][0]["model"] for plan in plans} == {"generation-1"}
        assert workers(router) == before
        assert '"needs_restart":["server.drain_s"]' in router.log


async def test_settings_that_workers_are_built_with_come_with_new_workers(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with started(upstream, tmp_path) as router:
        before = workers(router)
        (tmp_path / ".env").write_text("FRONTEND_URL=https://page.example\n")
        async with httpx.AsyncClient(base_url=router.url, trust_env=False, timeout=20) as client:
            assert (await client.post("/admin/reload", json={})).json() == {"status": "reloaded", "needs_restart": []}
        async with httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
            answer = await client.get("/health", headers={"origin": "https://page.example"})
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        await _true(lambda: not workers(router) & before)


async def test_a_request_is_found_whichever_worker_is_asked(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(routed(0))
    async with started(upstream, tmp_path, "--workers", "2") as router:
        ids = [f"r-{number}" for number in range(6)]
        for one in ids:
            async with httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
                await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": one})
        for one in ids * 2:
            async with httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
                found = await client.get(f"/v1/requests/{one}")
                lost = await client.get("/v1/requests/unknown")
            assert (found.status_code, found.json()["id"], found.json()["route"]) == (200, one, "fast")
            assert lost.status_code == 404


async def _explained(router: Started) -> Any:
    async with httpx.AsyncClient(base_url=router.url, trust_env=False) as client:
        return (await client.post("/admin/explain", json=CHAT)).json()


async def _true(condition: Callable[[], bool]) -> None:
    """Wait until it is: what happens in another process tells nobody."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)
