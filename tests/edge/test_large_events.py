"""A picture in one line of a stream goes through, and one over the limit is said to be so (T22, F13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from conftest import require
from every_provider import CLIENTS, DIALECTS, ask, asking, event_stream, routed
from program import started
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.script import Script
    from trunkline.upstream.scripted import ScriptedUpstream

KIB = 1024
MIB = 1024 * KIB
PASSING = {"64 KiB": 64 * KIB, "512 KiB + 1": 512 * KIB + 1, "1 MiB + 1": MIB + 1, "8 MiB": 8 * MIB}
TOO_LARGE = 17 * MIB


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with routed(upstream, tmp_path) as running:
        yield running


def one_event(dialect: str, size: int) -> Script:
    """An answer whose text is one event of about this size."""
    text = b"A" * size
    match dialect:
        case "openai_chat":
            return script.chat_stream([text.decode()])
        case "openai_responses":
            said = (
                b'data: {"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"%b"}\n\n'
                % text
            )
            end = b'data: {"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}\n\n'
        case "anthropic_messages":
            said = (
                b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
                b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n' % text
            )
            end = (
                b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
                b'data: {"type":"message_stop"}\n\n'
            )
        case _:
            said = b'data: {"candidates":[{"content":{"parts":[{"text":"%b"}]}}]}\n\n' % text
            end = b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n'
    return event_stream(said + end)


@pytest.mark.parametrize("size", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_large_event_reaches_a_client_of_its_own_dialect_and_of_another(
    router: Router, upstream: ScriptedUpstream, dialect: str, size: int
) -> None:
    upstream.play(one_event(dialect, size))
    other = "anthropic_messages" if dialect == "openai_chat" else "openai_chat"
    for client in (dialect, other):
        got = await ask(router, client, f"{dialect}/m")
        assert got.is_done
        assert got.content.count(b"A" * size) >= 1


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_event_over_the_limit_is_an_error_that_says_so(
    router: Router, upstream: ScriptedUpstream, dialect: str, client: str
) -> None:
    upstream.play(one_event(dialect, TOO_LARGE))
    got = await ask(router, client, f"{dialect}/m")
    assert got.status == 502
    assert b"over the limit of 16384 KiB" in got.content
    assert got.ends_in_an_error


@pytest.mark.parametrize("client", ["seed", "openai_chat", "anthropic_messages", "gemini"])
async def test_a_large_event_costs_at_most_four_times_its_size(
    upstream: ScriptedUpstream, tmp_path: Path, client: str
) -> None:
    require("procfs", present=memory_of("self", "VmHWM") > 0)
    size = 8 * MIB
    async with started(upstream, tmp_path) as router, httpx.AsyncClient(timeout=60, trust_env=False) as http:
        path, body = asking(client, "openrouter/m")

        async def answer(script: Script) -> bytes:
            upstream.play(script)
            return (await http.post(router.url + path, json=body)).content

        for _ in range(5):
            await answer(script.chat_stream(["warm"] * 20))
        (worker,) = children_of(router.pid)
        forget_peak(worker)
        before = memory_of(worker, "VmRSS")
        assert b"A" * size in await answer(script.chat_stream(["A" * size]))
        assert memory_of(worker, "VmHWM") - before <= 4 * size


def children_of(pid: int) -> list[int]:
    """The processes that this one has started."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - it is no real file
        return [int(word) for word in file.read().split()]


def memory_of(pid: int | str, name: str) -> int:
    """What a process has resident (`VmRSS`), or has had at most (`VmHWM`), in bytes; 0 where nobody says."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:  # noqa: PTH123 - it is no real file
            lines = file.read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(f"{name}:")), 0)


def forget_peak(pid: int) -> None:
    """From now on `VmHWM` counts anew (proc(5), `clear_refs`)."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123 - it is no real file
        file.write("5")
