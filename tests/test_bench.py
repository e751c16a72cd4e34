"""The benchmark works: its programs in C serve and check, its harness measures, its tables say what was found."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from trunkline.upstream.faults import TEXT, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
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
def test_at_a_rate_all_that_is_due_is_asked_for_however_late(programs: Path) -> None:
    with upstream(programs) as port:
        options = ("--connections=1", "--rate=200", "--seconds-ms=200", "--stream=1", "--pieces=2", "--every-us=20000")
        seen = loaded(programs, port, *options)
    assert (seen["requests"], seen["errors"]) == (40, 0)
    assert seen["seconds"] > 2 * 0.2


@needs_cc
@pytest.mark.parametrize("warm", [0, 1])
def test_a_server_that_says_nothing_is_not_waited_for_without_end(programs: Path, warm: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        seen = loaded(programs, port, "--connections=2", "--total=9", f"--warm={warm}", "--patience-ms=100")
    assert (seen["requests"], seen["errors"], seen["first_error"]) == (0, 2, "an answer did not end")


@needs_cc
def test_the_load_client_sends_the_headers_that_it_is_given(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ("--header=x-one: 1", "--header=x-two: 2=2", "--warm=0", "--total=1")
        command = [programs / "load", f"--port={listener.getsockname()[1]}", *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
            with listener.accept()[0] as client:
                asked = client.recv(65536)
            process.communicate(timeout=30)
    head, _, body = asked.partition(b"\r\n\r\n")
    assert head.endswith(b"\r\nx-one: 1\r\nx-two: 2=2")
    assert json.loads(body)["model"].startswith("bench-")


def measured(results: Path, *options: str) -> str:
    """What the benchmark prints."""
    script = [sys.executable, BENCH / "run.py", *options, f"--results={results}"]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_cc
def test_the_harness_measures_a_running_router(tmp_path: Path) -> None:
    command = ["--servers=trunkline,direct", "--modes=streams_64", "--rounds=1", "--total=5", "--open-streams=3"]
    printed = measured(tmp_path, "--parts=proxies", "--install=ferrogw", *command)
    found = json.loads((tmp_path / "proxies.json").read_bytes())
    assert found["missing"] == [["ferrogw", "neither PyPI nor npm has it"]]
    assert (tmp_path / "performance.svg").read_text().startswith("<svg ")
    assert {figure["server"]: figure["load"]["pieces"] for figure in found["figures"]} == {
        "trunkline": 500,
        "direct": 500,
    }
    assert found["figures"][0]["cpu_us"] > 0
    assert found["resident"][0]["idle_bytes"] > 10 << 20
    assert "| trunkline " in printed


@needs_cc
@pytest.mark.slow
def test_the_router_is_measured_as_it_grows(tmp_path: Path) -> None:
    printed = measured(tmp_path, "--parts=scaling", "--seconds=0.05", "--open-streams=3", "--past=100")
    found = json.loads((tmp_path / "scaling.json").read_bytes())
    assert [one["workers"] for one in found["workers"]] == [1, 2]
    assert [one["streams"] for one in found["streams"]] == [1, 3]
    assert all(one["requests_s"] > 0 and one["events_s"] > 0 for one in found["workers"])
    assert "| requests a second, one worker |" in printed


@pytest.mark.slow
def test_a_soak_ends_as_it_began(tmp_path: Path) -> None:
    printed = measured(tmp_path, "--parts=soak", "--soak=0.05", "--settle=45")
    found = json.loads((tmp_path / "soak.json").read_bytes())
    assert sum(found["ends"].values()) == 150
    assert all(found["ends"][end] for end in ("whole answers", "left by their clients"))
    assert (found["ends"]["wrong"], found["wrong"], found["alarms"]) == (0, [], [])
    assert found["end"]["descriptors"] <= found["base"]["descriptors"] + 5
    assert found["end_tasks"] <= found["base_tasks"] + 5
    assert "**A short run" in printed


BURN = "import time\nwhile time.process_time() < 0.2: pass\n"
FAMILY = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n{BURN}print(flush=True)\ninput()"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of the benchmark, by its name."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def test_the_cpu_of_a_server_is_that_of_all_its_processes_ended_ones_too(part: Callable[[str], Any]) -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        times = psutil.Process(process.pid).cpu_times()
        told_by_psutil = times.user + times.system + times.children_user + times.children_system
        assert part("cost").cpu_s(process.pid) == pytest.approx(told_by_psutil, abs=0.04)
        assert told_by_psutil >= 0.38
        process.kill()


OK = b"HTTP/1.1 200 OK\r\n\r\n"
WHOLE = OK + b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}'
WORD = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: {"choices":[]}\n\n'
STREAM = OK + b"".join(WORD % word.encode() for word in WORDS) + END + DONE
BREAK = OK + WORD % b"Every " + b'data: {"error":{"message":"gone"}}\n\n'
REFUSAL = b'HTTP/1.1 502 Bad Gateway\r\n\r\n{"error":{}}'


@pytest.mark.parametrize(
    ("model", "streams", "said", "end"),
    [
        ("good/fine", True, STREAM, "whole answers"),
        ("good/fine", False, WHOLE % TEXT.encode(), "whole answers"),
        ("good/fine", True, STREAM.replace(b"scripted", b""), "wrong"),
        ("good/fine", True, STREAM.removesuffix(DONE), "wrong"),
        ("good/fine", True, STREAM.replace(b'{"choices"', b'{"choices', 1), "wrong"),
        ("good/fine", False, WHOLE % TEXT[:-1].encode(), "wrong"),
        ("good/fine", True, BREAK, "wrong"),
        ("good/fine", False, REFUSAL, "wrong"),
        ("good/fine", False, b"", "wrong"),
        ("faulty/html", False, REFUSAL, "failed, and the client was told"),
        ("faulty/stall", True, BREAK, "failed, and the client was told"),
        ("faulty/stall", True, BREAK + DONE, "wrong"),
        ("faulty/stall", True, OK + WORD % b"Every ", "wrong"),
        ("faulty/stall", True, STREAM, "wrong"),
        ("faulty/html", False, WHOLE % TEXT.encode(), "wrong"),
        ("faulty/html", True, b"", "wrong"),
    ],
)
def test_a_soak_sees_a_false_end(part: Callable[[str], Any], model: str, streams: bool, said: bytes, end: str) -> None:
    soak = part("soak")
    assert soak.judged(soak.Wish(model, streams, None), said).value == end


def test_the_mix_of_a_soak_is_what_it_says(part: Callable[[str], Any]) -> None:
    soak = part("soak")
    dice = random.Random(2)  # noqa: S311 - the same each time, no secret
    wishes = [soak.wishes(dice) for _ in range(10_000)]
    counts = [
        sum(wish.streams for wish in wishes),
        sum(wish.leaves_s is not None for wish in wishes),
        sum(not wish.is_fine for wish in wishes),
    ]
    assert counts == pytest.approx([7000, 2000, 500], abs=200)


def test_the_slope_of_memory_is_an_hours(part: Callable[[str], Any]) -> None:
    soak = part("soak")
    samples = [soak.Sample(at_s, (50 << 20) + at_s * 2**20 // 1800, 9, 3) for at_s in range(0, 7200, 60)]
    slope, bound = soak.slope_mib_h(samples)
    assert slope == pytest.approx(2, rel=0.01)
    assert slope <= bound < 2.1


def test_a_check_says_what_is_met(part: Callable[[str], Any]) -> None:
    page = part("page")
    rows = [
        page.Check("few", 3, "ms", 5),
        page.Check("many", 6, "ms", 5),
        page.Check("fast", 900, "", 800, is_least=True),
        page.Check("slow", 700, "", 800, is_least=True),
        page.Check("unknown", None, "MiB", 1),
    ]
    verdicts = [line.split("|")[-2].strip() for line in page.check_table(rows).splitlines()[2:]]
    assert verdicts == ["met", "**not met**", "met", "**not met**", "too short a run to tell"]


@pytest.mark.parametrize("name", ["vllm-router", "rolter", "respan-gateway", "litellm", "portkey"])
def test_a_peer_listens_where_it_is_told_and_asks_the_upstream(
    part: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    servers, peers = part("servers"), part("peers")
    server = peers.PACKAGES[name].configure(servers.Place(tmp_path, 4001, 4002, 4003), tmp_path / "home")
    told = " ".join([*server.command, *server.headers.values(), *(one.read_text() for one in tmp_path.iterdir())])
    assert "4001" in told
    assert "http://127.0.0.1:4002" in told


def test_a_peer_that_nobody_knows_is_missing(part: Callable[[str], Any], tmp_path: Path) -> None:
    servers, peers = part("servers"), part("peers")
    missing = peers.installed("nobody")(servers.Place(tmp_path, 1, 2, 3))
    assert isinstance(missing, servers.Missing)
    assert "vllm-router" in missing.remedy


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
