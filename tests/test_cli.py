"""The command line, as a user runs it: start-up, its refusals, and the way out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from program import run, started
from raw_http import connected
from served import KEY
from sizes import DRAINED_STREAMS
from trunkline import __version__
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream


async def test_the_version_is_printed(tmp_path: Path) -> None:
    done = await run("--version", directory=tmp_path)
    assert (done.code, done.out) == (0, f"trunkline {__version__}\n")


@pytest.mark.parametrize("command", [(), ("serve",), ("demo",), ("migrate",), ("explain",), ("doctor",)])
async def test_help_has_examples(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = await run(*command, "--help", directory=tmp_path)
    assert done.code == 0
    assert "Example" in done.out or "Start with" in done.out


async def test_without_a_provider_it_says_what_to_do(tmp_path: Path) -> None:
    done = await run("serve", directory=tmp_path, OPENROUTER_API_KEY="your_api_key_here")
    assert done.code == 2
    assert "OPENROUTER_API_KEY" in done.err
    assert "trunkline demo" in done.err


@pytest.mark.parametrize("option", ["--local=never", "--local=auto"])
@pytest.mark.parametrize(
    "config",
    [
        '[models.fast]\ntargets = ["groq/x", "local/smollm2-135m"]',
        '[models.fast]\ntargets = [{ target = "local/smollm2-135m", weight = 2 }]',
        '[aliases]\nsmall = "local/smollm2-135m"',
    ],
)
async def test_the_local_model_is_wanted_where_it_is_a_target(tmp_path: Path, config: str, option: str) -> None:
    """That it cannot be fetched from nowhere shows that it was to be run."""
    (tmp_path / "trunkline.toml").write_text(config)
    cache = str(tmp_path / "cache")
    done = await run("serve", option, directory=tmp_path, PIP_NO_INDEX="1", XDG_CACHE_HOME=cache, GROQ_API_KEY=KEY)
    assert done.code == 1
    assert "The local model" in done.err


async def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=70000\nFRONTEND_URL=localhost:5173\nLOG_LEVEL=loud\n")
    done = await run("serve", directory=tmp_path, OPENROUTER_API_KEY=KEY, CHAT_DATABASE_URL="mysql://u:canary@h/d")
    assert done.code == 2
    lines = done.err.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["PORT", "FRONTEND_URL", "CHAT_DATABASE_URL", "LOG_LEVEL"]
    assert "canary" not in done.err
    assert KEY not in done.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "router.example.com"])
@pytest.mark.parametrize("secret", ["", "changeme", "short", "a" * 40])
async def test_it_does_not_open_itself_to_the_network_without_a_secret(tmp_path: Path, host: str, secret: str) -> None:
    """S05."""
    done = await run("serve", "--host", host, directory=tmp_path, OPENROUTER_API_KEY=KEY, TRUNKLINE_ADMIN_SECRET=secret)
    assert done.code == 2
    assert "TRUNKLINE_ADMIN_SECRET" in done.err


async def test_brackets_in_what_the_operator_wrote_are_printed_as_they_are(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        'default_model = "openrouter/a[/b]"\n[providers.openrouter]\npreset = "openrouter"\nprice_list = "c[/d]"'
    )
    async with started(upstream, tmp_path) as router:
        router.signal(signal.SIGTERM)
        assert await router.ended() == 0
        assert "c[/d]" in router.out
        assert "a[/b]" in router.out


async def test_a_model_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    done = await run("explain", "--model", "\udcff", directory=tmp_path, OPENROUTER_API_KEY=KEY)
    assert (done.code, done.err) == (2, "--model must be valid UTF-8.\n")


async def test_a_taken_port_names_who_holds_it(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = await run("serve", directory=tmp_path, OPENROUTER_API_KEY=KEY, PORT=str(port))
    assert done.code == 1
    assert f"Port {port}" in done.err
    assert f"pid {os.getpid()}" in done.err
    assert "PORT=" in done.err


async def test_a_taken_port_on_the_other_family_counts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as holder:
        holder.bind(("::1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = await run("serve", directory=tmp_path, OPENROUTER_API_KEY=KEY, PORT=str(port))
    assert done.code == 1
    assert f"Port {port}" in done.err


async def test_an_address_of_ipv6_is_told_as_a_url_has_it(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    secret = "kJ8s_Qz2rTn5vWx7yB1cDf3gHj6kLm9pRt0uAa4e"
    async with started(upstream, tmp_path, "--host", "::", TRUNKLINE_ADMIN_SECRET=secret) as router:
        assert f"http://[::]:{router.port}" in router.out


async def test_both_loopback_addresses_answer(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with started(upstream, tmp_path) as router, httpx.AsyncClient(trust_env=False) as client:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            response = await client.get(f"http://{host}:{router.port}/health")
            health = response.json()
            assert (response.status_code, health["status"]) == (200, "ok")
            assert set(health) == {"status", "timestamp", "uptime"}
            assert len(health["timestamp"]) == len("2026-01-30T12:00:00.000Z")
            assert health["timestamp"].endswith("Z")


async def test_a_request_is_one_json_line_without_prompt_or_key(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with started(upstream, tmp_path) as router, httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{router.url}/api/chat", json={"message": "canary prompt"}, headers={"x-request-id": "r-1"})
        router.signal(signal.SIGTERM)
        assert await router.ended() == 0
        lines = [json.loads(line) for line in router.log.splitlines()]
    (line,) = [one for one in lines if one.get("id") == "r-1"]
    assert line["route"] == "/api/chat"
    assert (line["provider"], line["model"], line["status"]) == ("openrouter", "openrouter/auto", 200)
    assert {"tokens_in", "tokens_out", "first_token_ms", "total_ms"} <= set(line)
    assert "canary" not in router.log
    assert KEY not in router.log


async def test_metrics_are_the_sum_of_all_workers(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with started(upstream, tmp_path, "--workers", "2") as router:
        for _ in range(12):
            async with httpx.AsyncClient(trust_env=False) as client:  # a connection each: either worker may take it
                await client.post(f"{router.url}/api/chat", json={"message": "Hi"})
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{router.url}/metrics")).text
    sample = (
        'trunkline_requests_total{model="openrouter/auto",outcome="complete",problem="",provider="openrouter"} 12.0'
    )
    assert sample in text
    assert "trunkline_first_token_seconds_bucket" in text
    assert "trunkline_in_flight 0.0" in text


async def test_a_drain_lets_streams_end_refuses_new_ones_and_cuts_what_is_left(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """T44."""
    ends_in_time = script.chat_stream(["a", "b", "c"], role_chunk=False).but(delay_between_s=0.4)
    too_long = script.chat_stream(["a"], finish=None, done=False).but(end=End.STALL)
    half = DRAINED_STREAMS // 2
    upstream.play(*[ends_in_time] * half, *[too_long] * half)
    async with started(upstream, tmp_path, TRUNKLINE_DRAIN_S="3") as router:

        async def one() -> bytes:
            async with connected(router) as client:
                await client.chat()
                head = await client.read_until(b'"a"}\n\n')
                return head + await client.read_all(20)

        streams = [asyncio.create_task(one()) for _ in range(2 * half)]
        await upstream.wait_until(lambda: upstream.received == 2 * half, 20)
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        router.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        refused = 0
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                response = await client.post(f"{router.url}/api/chat", json={"message": "Hi"})
                refused = response.status_code
                assert response.headers["connection"] == "close"
        except httpx.ConnectError:
            refused = 503
        assert refused == 503
        answers = await asyncio.gather(*streams)
        code = await router.ended()
        took = asyncio.get_running_loop().time() - began
    complete = [answer for answer in answers if b"data: [DONE]" in answer]
    cut = [answer for answer in answers if b'"type":"server_error"' in answer]
    assert (len(complete), len(cut)) == (half, half)
    assert not any(b"[DONE]" in answer for answer in cut)
    assert code == 0
    assert took < 3 + 2 * 4


async def test_a_second_signal_ends_it_at_once(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.play(script.chat_stream(["a"], finish=None, done=False).but(end=End.STALL))
    async with started(upstream, tmp_path) as router, connected(router) as client:
        await client.chat()
        await client.read_until(b'"a"}')
        router.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert router.process.returncode is None
        began = asyncio.get_running_loop().time()
        router.signal(signal.SIGTERM)
        await router.ended()
        assert asyncio.get_running_loop().time() - began < 1 * 4


async def test_starting_up_calls_nobody(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """S20: a clean start opens no connection to anywhere."""
    async with started(upstream, tmp_path) as router:
        await asyncio.sleep(0.5)
        tree = [psutil.Process(router.pid), *psutil.Process(router.pid).children(recursive=True)]
        remote = [one.raddr for process in tree for one in process.net_connections("inet") if one.raddr]
        assert remote == []
    assert upstream.opened == 0


async def test_reload_takes_a_new_environment_file_without_refusing_anybody(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("OPENROUTER_MODEL=first/model\n")
    async with started(upstream, tmp_path) as router:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{router.url}/api/chat", json={"message": "Hi"})
        (tmp_path / ".env").write_text("OPENROUTER_MODEL=second/model\n")
        router.signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while upstream.plays[-1].request.json()["model"] != "second/model":
                async with httpx.AsyncClient(trust_env=False) as client:
                    assert (await client.post(f"{router.url}/api/chat", json={"message": "Hi"})).status_code == 200
                await asyncio.sleep(0.1)
