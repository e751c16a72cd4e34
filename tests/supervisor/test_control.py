"""The control socket: one JSON line asks, one answers."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.supervisor.control import (
    LINE_LIMIT,
    SUN_PATH_LIMIT,
    LinkClosed,
    Refused,
    ask_router,
    control_path,
    open_link,
    serve_control,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from supervisor.running_router import RunningRouter


async def echo(op: str, args: Mapping[str, Any]) -> Any:
    if op == "refuse":
        raise Refused("not today")
    if op == "sleep":
        await asyncio.sleep(3600)
    if op == "long":
        return "x" * LINE_LIMIT
    if op == "fail":
        raise ZeroDivisionError
    if op == "odd":
        return object()
    return [op, args]


async def raw(path: Path, *lines: bytes) -> list[Any]:
    """What comes back for these lines, up to the end."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.writelines(lines)
    writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return [json.loads(line) for line in answer.splitlines()]


async def test_a_request_is_answered_under_its_id(tmp_path: Path) -> None:
    path = tmp_path / "run" / "3001.sock"
    async with serve_control(path, echo):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"id": 7, "op": "metrics"}\n')
        assert json.loads(await reader.readline()) == {"id": 7, "result": ["metrics", {}]}
        writer.write(b'{"id": 8, "op": "refuse"}\n')
        assert json.loads(await reader.readline()) == {"id": 8, "error": "not today"}
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(("op", "fault"), [("fail", "ZeroDivisionError"), ("odd", "TypeError")])
async def test_an_answer_that_fails_is_told_and_logged_and_ends_no_other(
    caplog: pytest.LogCaptureFixture, op: str, fault: str
) -> None:
    ours, theirs = socket.socketpair()
    asking, answering = await open_link(ours, echo), await open_link(theirs, echo)
    serving = [asyncio.create_task(link.serve()) for link in (asking, answering)]
    slow = asyncio.create_task(asking.ask("sleep", timeout_s=20))
    with pytest.raises(Refused, match=f"A process of the router failed at {op}: {fault}. The log tells why."):
        await asking.ask(op, timeout_s=20)
    assert await asking.ask("status", timeout_s=20) == ["status", {}]
    assert not slow.done()
    assert f"A process of the router failed at {op}\n" in caplog.text
    for task in (slow, *serving):
        task.cancel()
    await asyncio.wait([slow, *serving])


async def test_a_slow_answer_does_not_hold_up_another(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    asking, answering = await open_link(ours, echo), await open_link(theirs, echo)
    serving = [asyncio.create_task(link.serve()) for link in (asking, answering)]
    slow = asyncio.create_task(asking.ask("sleep", timeout_s=20))
    assert await asking.ask("status", timeout_s=20) == ["status", {}]
    assert not slow.done()
    slow.cancel()
    for task in serving:
        task.cancel()
    await asyncio.wait(serving)


async def test_whoever_waits_for_an_answer_hears_that_the_other_side_is_gone(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    asking = await open_link(ours, echo)
    serving = asyncio.create_task(asking.serve())
    question = asyncio.create_task(asking.ask("status", timeout_s=20))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(LinkClosed):
        await question
    await serving
    with pytest.raises(LinkClosed):
        await asking.ask("status", timeout_s=20)


async def test_a_question_has_a_timer(tmp_path: Path) -> None:
    path = tmp_path / "3001.sock"
    async with serve_control(path, echo):
        with pytest.raises(TimeoutError):
            await ask_router(path, "sleep", timeout_s=0.05)


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b'{"op": "status"}\n', b'{"id": "1", "op": "status"}\n', b"\xff\n"]
)
async def test_what_is_not_a_request_is_told_so_and_ends_the_connection(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "3001.sock"
    async with serve_control(path, echo):
        (answer,) = await raw(path, line)
        assert answer["id"] is None
        assert "not a request" in answer["error"]


async def test_a_line_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "3001.sock"
    async with serve_control(path, echo):
        (answer,) = await raw(path, b"x" * (LINE_LIMIT + 10), b"\n")
        assert str(LINE_LIMIT) in answer["error"]


async def test_an_answer_over_the_limit_becomes_an_error(tmp_path: Path) -> None:
    path = tmp_path / "3001.sock"
    async with serve_control(path, echo):
        with pytest.raises(Refused, match="over"):
            await ask_router(path, "long", timeout_s=20)


async def test_nobody_else_may_open_it_and_it_is_gone_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "3001.sock"
    async with serve_control(path, echo):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


async def test_the_file_of_a_dead_router_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "3001.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    async with serve_control(path, echo):
        assert await ask_router(path, "status", timeout_s=20) == ["status", {}]


async def test_the_socket_of_a_living_router_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "3001.sock"
    async with serve_control(path, echo):
        with pytest.raises(Refused, match="another router"):
            async with serve_control(path, echo):
                pass
        assert await ask_router(path, "status", timeout_s=20) == ["status", {}]


async def test_a_folder_too_deep_for_a_socket_gets_a_private_one_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 40)
    path = control_path(deep, 3001)
    assert len(str(path)) <= SUN_PATH_LIMIT
    assert path == control_path(deep, 3001)
    async with serve_control(path, echo):
        assert await ask_router(path, "status", timeout_s=20) == ["status", {}]
    path.parent.rmdir()


async def test_asking_where_no_router_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(LinkClosed):
        await ask_router(tmp_path / "3001.sock", "status", timeout_s=20)


async def test_a_running_router_tells_its_state(router: RunningRouter) -> None:
    await router.start(workers=2)
    status = await router.ask("status")
    assert status["pid"] == router.process.pid
    assert status["addresses"] == router.addresses
    assert not status["draining"]
    assert status["uptime_s"] > 0
    assert [(worker["ready"], worker["restarts"]) for worker in status["workers"]] == [(True, 0)] * 2
    assert len({worker["pid"] for worker in status["workers"]}) == 2
    with pytest.raises(Refused, match="no dance"):
        await router.ask("dance")
    await router.ask("drain")
    assert await router.exit_code() == 0


async def test_any_worker_answers_with_the_metrics_of_all(router: RunningRouter) -> None:
    await router.start(workers=2)
    pids = await router.worker_pids()
    snapshots = await router.get("/metrics")
    assert sorted(one["gauges"]["pid"] for one in snapshots) == sorted(pids)
    assert sum(one["counters"]["requests"] for one in await router.ask("metrics")) == 1
