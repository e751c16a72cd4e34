"""`trunkline explain`, as a user runs it: with a router that runs, and without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from program import run, started
from served import KEY
from trunkline.upstream import script

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

ROUTES = """
[models.fast]
targets = ["openrouter/first/model", { target = "openrouter/second/model", needs = ["images"] }]
"""
SECRET = "canary-administrator-0123456789-abcdefgh"


async def test_without_a_router_it_plans_by_the_settings_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(ROUTES)
    done = await run("explain", "--model", "fast", directory=tmp_path, OPENROUTER_API_KEY=KEY)
    assert done.code == 0
    assert "fast, by priority (no live health: no router runs on port 3001)" in done.out
    assert "1  openrouter/first/model is number 1 of its route" in done.out
    assert "breaker closed, 0 under way, price unknown" in done.out
    assert "openrouter/second/model is only for requests with images" in done.out
    assert KEY not in done.out


async def test_the_router_that_runs_tells_what_it_has_seen(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(ROUTES)
    thinking = script.chat_stream(["Hello"]).but(delay_first_s=0.05)  # the loop's clock counts milliseconds
    upstream.play(thinking, thinking)
    async with started(upstream, tmp_path, TRUNKLINE_ADMIN_SECRET=SECRET) as router:
        headers = {"authorization": f"Bearer {SECRET}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
            for _ in range(2):
                await client.post(f"{router.url}/api/chat", json={"message": "Hi", "model": "fast"})
        asked = upstream.received
        arguments = ("explain", "--model", "fast", "--port", str(router.port))
        table = await run(*arguments, directory=tmp_path, OPENROUTER_API_KEY=KEY)
        plan = await run(*arguments, "--json", directory=tmp_path, OPENROUTER_API_KEY=KEY)
    assert f"(as the router on port {router.port} sees it)" in table.out
    told = json.loads(plan.out)
    assert (told["live"], told["route"]) == (True, "fast")
    assert told["targets"][0]["first_token_s"] >= 0.04
    assert upstream.received == asked


async def test_the_keys_may_be_set_for_the_router_alone(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Without them this shell's own configuration has mistakes: the router that runs has none."""
    (tmp_path / "trunkline.toml").write_text(ROUTES)
    async with started(upstream, tmp_path) as router:
        done = await run("explain", "--model", "fast", "--port", str(router.port), directory=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert f"fast, by priority (as the router on port {router.port} sees it)" in done.out
    alone = await run("explain", "--model", "fast", "--port", str(router.port), directory=tmp_path)
    assert alone.code == 2
    assert "models.fast.targets[0]" in alone.err
    assert f"No router runs on port {router.port}" in alone.err


async def test_the_request_may_be_a_file_of_any_dialect(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = {"model": "other", "messages": [{"role": "user", "content": [image]}]}
    (tmp_path / "request.json").write_text(json.dumps(request))
    (tmp_path / "trunkline.toml").write_text(ROUTES)
    done = await run(
        "explain", "--model", "fast", "--file", "request.json", "--json", directory=tmp_path, OPENROUTER_API_KEY=KEY
    )
    told = json.loads(done.out)
    assert [one["target"] for one in told["targets"]] == ["openrouter/first/model", "openrouter/second/model"]
    seed = await run("explain", "--route", "/api/chat", "--json", directory=tmp_path, OPENROUTER_API_KEY=KEY)
    assert (seed.code, json.loads(seed.out)["live"]) == (0, False)


async def test_what_cannot_be_planned_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    wrong = {
        ("--model", "fsat/x"): "serves the model",
        ("--file", "nothing.json"): "nothing.json cannot be read",
        ("--model", "m", "--file", "list.json"): "list.json: The body must be a JSON object.",
        ("--route", "/health"): "`route` must be the path of a completion",
    }
    for arguments, says in wrong.items():
        done = await run("explain", *arguments, directory=tmp_path, ANTHROPIC_API_KEY="sk-ant-0123456789")
        assert done.code in {1, 2}, arguments
        assert says in done.err, (arguments, done)
        assert done.out == ""
        assert "Traceback" not in done.err
