"""The supervision of the local model, with a stand-in for its program."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import uvloop
from structlog.testing import capture_logs

from trunkline.upstream.local import CHILD, Deaths, LocalModel, RestartPolicy, State, is_available
from trunkline.upstream.local_process import LastLines, LocalModelFailed, ending

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

STAND_IN = Path(__file__).with_name("local_stand_in.py")
QUICK = RestartPolicy(first_s=0.01, longest_s=0.02, healthy_s=60.0, short_s=5.0, short_lives=3)
PATIENCE_S = 20.0


def stand_in(behaviour: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", str(STAND_IN), behaviour, *arguments)


def model(behaviour: str, *, policy: RestartPolicy = QUICK) -> LocalModel:
    return LocalModel(Path("/no/weights"), command=stand_in(behaviour), policy=policy, grace_s=0.2)


@asynccontextmanager
async def running(behaviour: str, *, policy: RestartPolicy = QUICK) -> AsyncGenerator[LocalModel]:
    local = model(behaviour, policy=policy)
    await local.start(PATIENCE_S)
    try:
        yield local
    finally:
        await local.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another process makes it true, and sets no event
            await asyncio.sleep(0.01)


def children() -> set[int]:
    """The living children of this process that run the stand-in."""
    found: set[int] = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if child.status() != psutil.STATUS_ZOMBIE and str(STAND_IN) in child.cmdline():
                found.add(child.pid)
    return found


async def test_after_start_it_listens_on_the_port_that_its_base_url_names() -> None:
    async with running("serve") as local:
        assert local.state is State.READY
        assert local.base_url == f"http://127.0.0.1:{local.port}/v1"
        _, writer = await asyncio.open_connection("127.0.0.1", local.port)
        writer.close()
        await writer.wait_closed()


async def test_the_context_is_the_one_that_the_child_announces() -> None:
    async with running("serve") as local:
        assert local.context_tokens == 1234


async def test_before_the_start_there_is_no_child_and_no_port() -> None:
    local = model("serve")
    assert local.pid is None
    assert local.state is State.IDLE
    with pytest.raises(LocalModelFailed, match="has not been started"):
        _ = local.port


async def test_a_child_that_dies_is_started_again_on_the_same_port() -> None:
    async with running("serve") as local:
        first, port = local.pid, local.port
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: local.restarts == 1)
        assert local.state is State.READY
        assert local.port == port
        assert local.pid not in {None, first}


async def test_a_death_is_logged_with_how_it_came_about() -> None:
    with capture_logs() as logs:
        async with running("serve") as local:
            assert local.pid is not None
            os.kill(local.pid, signal.SIGKILL)
            await until(lambda: local.restarts == 1)
    died = next(line for line in logs if line["event"] == "local model died")
    assert died["how"] == "killed by SIGKILL"
    assert died["log_level"] == "warning"


async def test_a_child_that_dies_at_once_every_time_is_given_up() -> None:
    with capture_logs() as logs:
        async with running("serve_then_die") as local:
            await until(lambda: local.state is State.GIVEN_UP)
            assert local.pid is None
            assert local.restarts == 2
    assert [line["log_level"] for line in logs if "given up" in line["event"]] == ["error"]


async def test_restarts_that_never_get_ready_count_as_deaths_at_once() -> None:
    async with running("serve") as local:
        local._command = stand_in("fail")
        assert local.pid is not None
        os.kill(local.pid, signal.SIGKILL)
        with capture_logs() as logs:
            await until(lambda: local.state is State.GIVEN_UP)
        assert local.restarts == 0
    assert sum("invalid magic" in line.get("reason", "") for line in logs) == 2


async def test_a_start_that_fails_carries_the_last_words_of_the_child() -> None:
    with pytest.raises(LocalModelFailed, match=r"(?s)status 1.*invalid magic characters"):
        await model("fail").start(PATIENCE_S)


async def test_a_start_that_takes_too_long_leaves_no_child() -> None:
    local = model("hang")
    with pytest.raises(LocalModelFailed, match=r"not ready within 0\.3 s"):
        await local.start(0.3)
    assert local.pid is None
    assert not children()


async def test_a_child_that_says_something_else_than_ready_is_refused() -> None:
    with pytest.raises(LocalModelFailed, match="something unknown"):
        await model("mumble").start(PATIENCE_S)
    assert not children()


async def test_a_program_that_is_not_there_is_one_clear_failure() -> None:
    local = LocalModel(Path("/no/weights"), command=("/no/such/program",))
    with pytest.raises(LocalModelFailed, match="could not be started"):
        await local.start()


async def test_after_a_failed_start_it_can_be_started_again() -> None:
    local = model("fail")
    with pytest.raises(LocalModelFailed):
        await local.start(PATIENCE_S)
    local._command = stand_in("serve")
    await local.start(PATIENCE_S)
    await local.aclose()


async def test_a_start_that_is_cancelled_leaves_no_child() -> None:
    local = model("hang")
    starting = asyncio.create_task(local.start(PATIENCE_S))
    await until(lambda: local.pid is not None)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not children()


async def test_closing_during_the_start_ends_the_start_and_the_child() -> None:
    local = model("hang")
    starting = asyncio.create_task(local.start(PATIENCE_S))
    await until(lambda: local.pid is not None)
    await local.aclose()
    with pytest.raises(LocalModelFailed):
        await starting
    assert local.state is State.CLOSED
    assert not children()


async def test_closing_ends_the_child_and_may_be_repeated() -> None:
    async with running("serve") as local:
        await asyncio.gather(local.aclose(), local.aclose())
        await local.aclose()
        assert local.pid is None
        assert local.state is State.CLOSED
        assert not children()


async def test_closing_what_was_never_started_is_harmless() -> None:
    local = model("serve")
    await local.aclose()
    with pytest.raises(LocalModelFailed, match="it is closed"):
        await local.start()


async def test_whoever_is_cancelled_while_closing_leaves_no_child() -> None:
    async with running("serve_stubbornly") as local:
        closing = asyncio.create_task(local.aclose())
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await until(lambda: not children())


async def test_a_child_that_ignores_the_request_to_end_is_killed() -> None:
    async with running("serve_stubbornly") as local:
        await local.aclose()
        assert local.pid is None
        assert not children()


async def test_closing_while_a_restart_is_due_starts_no_other_child() -> None:
    policy = RestartPolicy(first_s=60.0, longest_s=60.0)
    async with running("serve", policy=policy) as local:
        assert local.pid is not None
        os.kill(local.pid, signal.SIGKILL)
        await until(lambda: local.state is State.RESTARTING)
        await local.aclose()
        assert local.state is State.CLOSED
        assert not children()


async def test_the_child_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it() -> None:
    async with running("serve") as local:
        assert local.pid is not None
        assert os.getsid(local.pid) == local.pid


async def test_a_loud_child_is_not_held_up_and_its_output_is_kept_within_bounds() -> None:
    async with running("serve_loudly") as local:
        assert local._child is not None
        lines = local._child.last_lines
        assert len(lines) <= 50
        assert all(len(line) <= 500 for line in lines)


def test_it_runs_on_uvloop_too() -> None:
    async def scenario() -> None:
        async with running("serve") as local:
            assert local.pid is not None
            os.kill(local.pid, signal.SIGKILL)
            await until(lambda: local.restarts == 1)
        assert not children()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_pauses_double_up_to_the_longest() -> None:
    deaths = Deaths(RestartPolicy())
    pauses = [deaths.next_pause_s(lived_s=10.0) for _ in range(9)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_healthy_life_starts_the_pauses_over() -> None:
    deaths = Deaths(RestartPolicy())
    for _ in range(4):
        deaths.next_pause_s(lived_s=10.0)
    assert deaths.next_pause_s(lived_s=60.0) == 0.5
    assert deaths.next_pause_s(lived_s=10.0) == 1.0


def test_the_fifth_short_life_in_a_row_is_the_last() -> None:
    deaths = Deaths(RestartPolicy())
    assert [deaths.next_pause_s(lived_s=0.1) for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, None]


def test_one_longer_life_between_short_ones_prevents_giving_up() -> None:
    deaths = Deaths(RestartPolicy())
    lives = [0.1] * 4 + [6.0] + [0.1] * 4
    assert None not in [deaths.next_pause_s(lived_s) for lived_s in lives]


def test_the_pause_stays_bounded_however_often_it_died() -> None:
    deaths = Deaths(RestartPolicy())
    pauses = [deaths.next_pause_s(lived_s=10.0) for _ in range(5_000)]
    assert pauses[-1] == 30.0


def test_the_last_lines_do_not_care_how_the_bytes_are_cut() -> None:
    text = b"".join(b"line %d\n" % number for number in range(80)) + b"unfinished"
    whole, cut = LastLines(), LastLines()
    whole.feed(text)
    for byte in text:
        cut.feed(bytes([byte]))
    assert whole.read() == cut.read()
    assert whole.read()[-2:] == ["line 79", "unfinished"]
    assert len(whole.read()) == 50


def test_an_ending_is_told_in_words() -> None:
    assert [ending(0), ending(3), ending(-9), ending(-60)] == [
        "status 0",
        "status 3",
        "killed by SIGKILL",
        "killed by signal 60",
    ]


def test_availability_is_told_without_loading_the_library() -> None:
    is_available()
    assert "xllamacpp" not in sys.modules


def test_the_child_runs_in_this_interpreter() -> None:
    assert CHILD[0] == sys.executable
