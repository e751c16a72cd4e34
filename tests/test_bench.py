"""The benchmark works: its programs in C serve and check, its harness measures, its tables say what was found."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

BENCH = Path(__file__).parents[1] / "bench"
DIALECTS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini"]

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler builds the upstream and the load client")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two C programs."""
    folder = tmp_path_factory.mktemp("bench")
    for name in ("upstream", "load"):
        source = BENCH / f"{name}.c"
        subprocess.run(
            ["cc", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", folder / name, source], check=True
        )
    return folder


@contextmanager
def upstream(programs: Path) -> Generator[int]:
    """Its port."""
    with subprocess.Popen([programs / "upstream", "0"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def loaded(programs: Path, port: int, *options: str) -> dict[str, Any]:
    """What the load client saw."""
    command = [programs / "load", f"--port={port}", *options]
    done = subprocess.run(command, input="go\n", capture_output=True, text=True, timeout=60, check=False)
    ready, _, found = done.stdout.partition("\n")
    assert ready == "ready", done.stderr
    return json.loads(found)


@needs_cc
def test_every_request_gets_its_whole_answer(programs: Path) -> None:
    with upstream(programs) as port:
        seen = loaded(programs, port, "--connections=4", "--total=20", "--fill=300", "--body-bytes=102400")
    assert (seen["requests"], seen["pieces"], seen["errors"]) == (20, 20, 0)
    assert seen["bytes"] > 20 * 300


@needs_cc
def test_every_stream_is_read_to_its_end(programs: Path) -> None:
    with upstream(programs) as port:
        options = ("--stream=1", "--connections=5", "--total=5", "--pieces=7", "--every-us=1000")
        seen = loaded(programs, port, *options)
    assert (seen["requests"], seen["pieces"], seen["errors"]) == (5, 35, 0)
    assert 0 < seen["added_us"]["p50"] <= seen["added_us"]["p99"]


@needs_cc
def test_requests_at_a_rate_take_the_time_that_they_should(programs: Path) -> None:
    with upstream(programs) as port:
        seen = loaded(programs, port, "--connections=2", "--rate=100", "--total=30")
    assert (seen["requests"], seen["errors"]) == (30, 0)
    assert seen["seconds"] >= 0.29


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
PIECE = b'data: {"choices":[{"delta":{"content":"@%d:1;xx"}}]}\n\n'
STOP, DONE = b'data: {"choices":[{"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"


@needs_cc
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HEAD + PIECE % 0 + PIECE % 1 + STOP + DONE, ""),
        (HEAD + PIECE % 0 + STOP + DONE, "pieces are missing at the end"),
        (HEAD + PIECE % 1 + PIECE % 0 + STOP + DONE, "a piece is missing, doubled or out of order"),
        (HEAD + PIECE % 0 + PIECE % 0 + STOP + DONE, "a piece is missing, doubled or out of order"),
        (HEAD + PIECE.replace(b"xx", b"x") % 0 + PIECE % 1 + STOP + DONE, "a piece has another length"),
        (HEAD + PIECE % 0 + PIECE % 1 + DONE, "the finish is missing"),
        (HEAD + PIECE % 0 + PIECE % 1 + STOP, "[DONE] is missing"),
        (HEAD.replace(b"200 OK", b'503 "no"'), "the answer is HTTP/1.1 503  no "),
        (
            HEAD.replace(b"connection: close", b"content-length: 999") + PIECE % 0,
            "the connection ended in the middle of the answer",
        ),
    ],
    ids=["whole", "cut", "swapped", "doubled", "short", "no finish", "no done", "refused", "truncated"],
)
def test_the_load_client_says_what_is_wrong_with_an_answer(programs: Path, answer: bytes, error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ("--stream=1", "--pieces=2", "--fill=2", "--warm=0", "--total=1")
        command = [programs / "load", f"--port={listener.getsockname()[1]}", *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
            with listener.accept()[0] as client:
                client.recv(65536)
                client.sendall(answer)
            out, _ = process.communicate(timeout=30)
    seen = json.loads(out.removeprefix(b"ready\n"))
    assert (seen["requests"], seen["errors"], seen["first_error"]) == (1, int(bool(error)), error)


@needs_cc
def test_the_harness_measures_a_running_router(tmp_path: Path) -> None:
    command = ["--servers=trunkline,direct", "--modes=streams_64", "--rounds=1", "--total=5", "--open-streams=3"]
    script = [sys.executable, BENCH / "run.py", *command, f"--results={tmp_path}"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "proxies.json").read_bytes())
    assert {figure["server"]: figure["load"]["pieces"] for figure in found["figures"]} == {
        "trunkline": 500,
        "direct": 500,
    }
    assert found["figures"][0]["cpu_us"] > 0
    assert found["resident"][0]["idle_bytes"] > 10 << 20
    assert "| trunkline " in done.stdout


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark of the dialects."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_dialects", BENCH / "dialects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_frame_and_a_body_cost_something(bench: Any, dialect: str) -> None:
    assert bench.frame_us(dialect, runs=1).least > 0
    for kind in ("prose", "code", "Chinese", "short turns", "a picture"):
        body = bench.body_of(dialect, 20_000, kind)
        assert 15_000 < len(body) < 30_000
        assert bench.pass_body(dialect, body, bench.TENANT).keys


async def test_the_loops_stall_is_seen(bench: Any) -> None:
    interval = sys.getswitchinterval()
    try:
        rows = await bench.stalls(times=1, size=20_000)
    finally:
        sys.setswitchinterval(interval)
    assert len(rows) == 2 * len(DIALECTS) ** 2
    assert all(row.spent.least > 0 for row in rows)


def test_the_table_says_what_is_met(bench: Any) -> None:
    spent = bench.Spent(least=1.0, median=3.0)
    rows = [
        bench.Row("the least of CPU counts", "d", spent, bench.US, 2.0),
        bench.Row("the median of a stall counts", "d", spent, bench.MS, 2.0),
        bench.Row("no target", "d", spent, bench.US, None),
    ]
    lines = bench.table(rows, "2026-11-26").splitlines()[2:5]
    assert [line.split("|")[-2].strip() for line in lines] == ["met", "**not met**", ""]


async def test_a_request_that_fails_over_is_measured_beside_one_that_does_not() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(BENCH / "failover.py"), "--rounds", "1", "--requests", "60",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert [line.count("|") for line in out.decode().splitlines()] == [7] * 5
