"""The parent process: start, serve, drain, replace, reload."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from supervisor.running_router import comes_true, is_alive, new_workers
from trunkline.supervisor.control import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from supervisor.running_router import RunningRouter

SLACK = 4


async def test_it_serves_on_both_loopback_families(router: RunningRouter) -> None:
    await router.start()
    assert (await router.get("/who", "127.0.0.1"))["tag"] == "first"
    assert (await router.get("/who", "::1"))["tag"] == "first"


async def test_a_running_stream_ends_well_after_sigterm_and_new_requests_are_told_to_go(
    router: RunningRouter,
) -> None:
    await router.start(drain_s=30)
    stream = await router.open("/slow?count=10&every=0.1")
    await stream.until(b"data: 0")
    router.signal(signal.SIGTERM)
    await router.line_with("draining")
    late = await router.open("/who")
    assert (await late.rest())[0] == 503
    _, body = await stream.rest()
    assert "data: 9" in body
    assert "[DONE]" in body
    assert await router.exit_code() == 0
    assert not router.control.exists()


async def test_streams_get_their_error_event_when_the_grace_is_over(router: RunningRouter) -> None:
    await router.start(drain_s=0.5)
    stream = await router.open("/slow?count=1000&every=0.1")
    await stream.until(b"data: 0")
    began = time.monotonic()
    router.signal(signal.SIGTERM)
    _, body = await stream.rest()
    assert "data: cut" in body
    assert "[DONE]" not in body
    assert await router.exit_code() == 0
    assert 0.5 <= time.monotonic() - began <= 0.5 + 2 * SLACK


async def test_a_second_sigterm_ends_it_at_once(router: RunningRouter) -> None:
    await router.start(drain_s=60)
    pids = await router.worker_pids()
    stream = await router.open("/slow?count=1000&every=0.1")
    await stream.until(b"data: 0")
    router.signal(signal.SIGTERM)
    await router.line_with("draining")
    began = time.monotonic()
    router.signal(signal.SIGTERM)
    assert await router.exit_code() == 1
    assert time.monotonic() - began <= 1 * SLACK
    assert not any(map(is_alive, pids))


async def test_ctrl_c_drains_as_sigterm_does(router: RunningRouter) -> None:
    await router.start()
    router.signal(signal.SIGINT)
    assert await router.exit_code() == 0


async def test_sigterm_while_it_starts_ends_it(router: RunningRouter) -> None:
    router.settings_file.write_text('{"fault": "hang"}')
    await router.begin()
    router.signal(signal.SIGTERM)
    assert await router.exit_code() == 0
    assert "ready" not in await router.line_with("beside ended")


async def test_sigterm_ends_the_wait_for_what_runs_beside(router: RunningRouter) -> None:
    await router.begin(beside_start_s=60)
    router.signal(signal.SIGTERM)
    assert await router.exit_code() == 0


async def test_a_worker_that_cannot_start_ends_it_all_with_its_sentence(router: RunningRouter) -> None:
    router.settings_file.write_text('{"fault": "problem"}')
    await router.begin(workers=2)
    assert await router.exit_code() == 1
    assert (await router.errors()).strip() == "The database is not migrated. Run: trunkline migrate"


async def test_a_worker_that_crashes_while_it_starts_ends_it_all_with_its_traceback(router: RunningRouter) -> None:
    router.settings_file.write_text('{"fault": "crash"}')
    await router.begin()
    assert await router.exit_code() == 1
    errors = await router.errors()
    assert "ZeroDivisionError" in errors
    assert errors.endswith("A process of the router failed at start: ZeroDivisionError. The log tells why.\n")


async def test_a_worker_that_dies_while_it_starts_ends_it_all_with_its_status(router: RunningRouter) -> None:
    router.settings_file.write_text('{"fault": "exit"}')
    await router.begin()
    assert await router.exit_code() == 1
    assert (await router.errors()).strip() == "A worker ended with status 3 while it started; see above."


async def test_a_worker_that_is_not_ready_in_time_ends_it_all(router: RunningRouter) -> None:
    router.settings_file.write_text('{"fault": "hang"}')
    await router.begin(start_s=0.5)
    assert await router.exit_code() == 1
    assert "A worker was not ready within 0.5 s." in await router.errors()


async def test_a_killed_worker_is_replaced_and_only_its_own_connections_are_lost(router: RunningRouter) -> None:
    await router.start(workers=2)
    pids = await router.worker_pids()
    streams = [await router.open("/slow?count=10&every=0.1") for _ in range(8)]
    for stream in streams:
        await stream.until(b"data: 0")
    snapshots = await router.ask("metrics")
    carried = {one["gauges"]["pid"]: one["counters"]["requests"] for one in snapshots}
    os.kill(pids[0], signal.SIGKILL)
    bodies = [(await stream.rest())[1] for stream in streams]
    assert sum("[DONE]" in body for body in bodies) == carried[pids[1]]
    assert len(await new_workers(router, pids[:1], 2)) == 2
    status = await router.ask("status")
    assert sorted(worker["restarts"] for worker in status["workers"]) == [0, 1]


async def test_while_its_only_worker_is_replaced_connections_wait_each_time_longer(router: RunningRouter) -> None:
    await router.start()
    for delay_s in (0.1, 0.2):
        await (await router.open("/die")).rest()
        assert f"restart_in_s={delay_s} status=3" in await router.line_with("worker_died")
        assert (await router.get("/who"))["tag"] == "first"


async def test_no_worker_outlives_a_parent_that_was_killed(router: RunningRouter) -> None:
    await router.start(workers=2)
    pids = await router.worker_pids()
    router.signal(signal.SIGKILL)
    await router.exit_code()
    assert await comes_true(lambda: not any(map(is_alive, pids))) <= 2 * SLACK


async def test_a_reload_refuses_no_request(router: RunningRouter) -> None:
    await router.start(workers=2)
    old = await router.worker_pids()
    stream = await router.open("/slow?count=20&every=0.1")
    await stream.until(b"data: 0")
    tags: list[str] = []

    async def keep_asking() -> None:
        while tags[-5:] != ["second"] * 5 or await router.worker_pids() == old:
            tags.append((await router.get("/who"))["tag"])

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    router.settings_file.write_text('{"tag": "second"}')
    router.signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        await asyncio.gather(*asking)
        while is_alive(old[0]) and is_alive(old[1]):
            tags.append((await router.get("/who"))["tag"])
    assert set(tags) == {"first", "second"}
    assert "[DONE]" in (await stream.rest())[1]
    await comes_true(lambda: not any(map(is_alive, old)))


async def test_a_connection_that_was_open_before_a_reload_may_still_ask_and_is_told_to_close(
    router: RunningRouter,
) -> None:
    await router.start()
    old = await router.worker_pids()
    connection = await router.open("/who", keep=True)
    await connection.one()
    await router.ask("reload")
    connection.ask("/who")
    head, answer = await connection.one()
    assert answer["pid"] in old
    assert "connection: close" in head


async def test_a_reload_that_cannot_start_leaves_the_old_workers_alone(router: RunningRouter) -> None:
    await router.start()
    pids = await router.worker_pids()
    for settings in ("bad", '{"fault": "problem"}'):
        router.settings_file.write_text(settings)
        router.signal(signal.SIGHUP)
        await router.line_with("reload_refused")
    assert await router.worker_pids() == pids
    assert (await router.get("/who"))["tag"] == "first"


async def test_where_one_of_the_new_workers_cannot_start_the_others_go_back(
    router: RunningRouter, tmp_path: Path
) -> None:
    await router.start(workers=3)
    old = await router.worker_pids()
    router.settings_file.write_text(json.dumps({"tag": "second", "only_one": str(tmp_path / "started")}))
    with pytest.raises(Refused):
        await router.ask("reload")
    assert (tmp_path / "started").exists()
    now = await router.worker_pids()
    assert now[0] not in old
    assert now[1:] == old[1:]
    for _ in range(20):
        assert (await router.get("/who"))["tag"] == "first"


async def test_settings_that_cannot_even_be_looked_for_leave_the_workers_alone(router: RunningRouter) -> None:
    await router.start()
    old = await router.worker_pids()
    router.settings_file.unlink()
    with pytest.raises(Refused, match="cannot be read: FileNotFoundError"):
        await router.ask("reload")
    assert await router.worker_pids() == old


async def test_a_question_that_a_worker_fails_to_answer_ends_no_stream(router: RunningRouter) -> None:
    await router.start()
    stream = await router.open("/slow?count=10&every=0.1")
    await stream.until(b"data: 0")
    router.settings_file.write_text("no JSON")
    with pytest.raises(Refused, match="A process of the router failed at reload: JSONDecodeError"):
        await router.ask("reload")
    assert "[DONE]" in (await stream.rest())[1]


async def test_what_workers_can_take_as_they_run_replaces_none_of_them(router: RunningRouter) -> None:
    await router.start(workers=2)
    old = await router.worker_pids()
    stream = await router.open("/slow?count=10&every=0.1")
    await stream.until(b"data: 0")
    router.settings_file.write_text('{"tag": "first", "note": "new"}')
    assert await router.ask("reload") == {"workers": old, "needs_restart": ["port"]}
    answers = [await router.get("/who") for _ in range(8)]
    assert {answer["note"] for answer in answers} == {"new"}
    assert {answer["pid"] for answer in answers} <= set(old)
    assert "[DONE]" in (await stream.rest())[1]


async def test_a_worker_that_dies_later_is_replaced_with_the_settings_of_the_last_reload(router: RunningRouter) -> None:
    await router.start()
    old = await router.worker_pids()
    router.settings_file.write_text('{"tag": "first", "note": "new"}')
    await router.ask("reload")
    os.kill(old[0], signal.SIGKILL)
    await new_workers(router, old, 1)
    assert (await router.get("/who"))["note"] == "new"


async def test_a_worker_that_dies_while_others_are_still_replaced_comes_back_with_the_new_settings(
    router: RunningRouter,
) -> None:
    await router.start(workers=4)
    old = await router.worker_pids()
    router.settings_file.write_text('{"tag": "second"}')
    reload = asyncio.create_task(router.ask("reload"))
    while (first := (await router.ask("status"))["workers"][0]["pid"]) == old[0]:  # noqa: ASYNC110 - its own process
        await asyncio.sleep(0.001)
    os.kill(first, signal.SIGKILL)
    await reload
    await new_workers(router, [*old, first], 4)
    assert {(await router.get("/who"))["tag"] for _ in range(40)} == {"second"}


async def test_a_drain_does_not_wait_for_a_reload_that_a_worker_has_asked_for(router: RunningRouter) -> None:
    await router.start(drain_s=60)
    router.settings_file.write_text('{"tag": "second", "fault": "hang"}')
    asking = await router.open("/reload")
    await comes_true(lambda: len(psutil.Process(router.process.pid).children()) == 2)
    router.signal(signal.SIGTERM)
    status, body = await asking.rest()
    assert (status, "The router is draining." in body) == (200, True)
    assert await router.exit_code() == 0


async def test_a_worker_can_ask_for_a_reload_and_hears_every_mistake(router: RunningRouter) -> None:
    await router.start(workers=2)
    router.settings_file.write_text("bad")
    assert await router.get("/reload") == {"mistakes": ["PORT must be a number"], "needs_restart": []}
    router.settings_file.write_text('{"tag": "first", "note": "wrong"}')
    assert await router.get("/reload") == {"mistakes": ["this note cannot be taken"], "needs_restart": []}
    assert (await router.get("/who"))["note"] == ""
    router.settings_file.write_text('{"tag": "first", "note": "new"}')
    assert await router.get("/reload") == {"mistakes": [], "needs_restart": ["port"]}
    assert (await router.get("/who"))["note"] == "new"


async def test_a_worker_that_asks_for_a_reload_and_is_replaced_by_it_still_hears_the_outcome(
    router: RunningRouter,
) -> None:
    await router.start(workers=2)
    old = await router.worker_pids()
    router.settings_file.write_text('{"tag": "second"}')
    assert await router.get("/reload") == {"mistakes": [], "needs_restart": []}
    await new_workers(router, old, 2)
    assert (await router.get("/who"))["tag"] == "second"


async def test_a_changed_file_restarts_the_workers_and_is_named(router: RunningRouter, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    await router.start(watch=[str(source), str(router.settings_file)])
    old = await router.worker_pids()
    (source / "notes.txt").write_text("not code")
    (source / "walk.py").write_text("print()")
    assert "walk.py" in await router.line_with("file_changed")
    between = await new_workers(router, old, 1)
    draft = tmp_path / "draft"
    draft.write_text('{"tag": "second"}')
    draft.replace(router.settings_file)
    assert "settings.json" in await router.line_with("file_changed")
    await new_workers(router, between, 1)
    assert (await router.get("/who"))["tag"] == "second"


async def test_counters_outlive_the_worker_that_counted(router: RunningRouter) -> None:
    await router.start(workers=2)
    for _ in range(10):
        await router.get("/who")
    old = await router.worker_pids()
    await router.ask("reload")
    await comes_true(lambda: not any(map(is_alive, old)))
    snapshots = await router.get("/metrics")
    assert sum(one["counters"]["requests"] for one in snapshots) == 11
    assert sum("gauges" in one for one in snapshots) == 2


async def test_a_worker_does_not_walk_again_and_again_what_it_has_loaded(router: RunningRouter) -> None:
    await router.start()
    assert await router.get("/frozen") > 1_000


async def test_sighup_of_a_terminal_that_is_gone_ends_it(router: RunningRouter) -> None:
    screen, terminal = pty.openpty()
    # Whoever runs these tests may ignore the signal, as nohup does: a child would inherit that, and mean it.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        await router.begin(stdin=terminal, terminal=True)
    finally:
        signal.signal(signal.SIGHUP, inherited)
    os.close(terminal)
    await router.line_with("ready")
    os.close(screen)
    assert "the terminal is gone" in await router.line_with("ending")
    assert await router.exit_code() == 0
