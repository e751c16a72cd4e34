"""Records as log lines and as numbers: one line each, of known fields; histograms that add up, over all workers."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from trunkline.core.record import Outcome, Record
from trunkline.core.reply import Usage
from trunkline.telemetry import BUCKETS_S, MAX_SERIES, Meter, Recent, Snapshot, Together, render

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

TELL = """
import logging, sys
import msgspec, structlog
from trunkline.core.record import Record
from trunkline.telemetry import LogSink, configure_logging

configure_logging(*sys.argv[1:])
sink = LogSink()
for record in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Record]):
    sink.accept(record)
sink.responded("r-quiet", "GET", "/health", 200, 1.2, is_quiet=True)
sink.responded("r-other", "DELETE", "/api/chat/sessions/*", 204, 1.6, is_quiet=False)
logging.getLogger("a.library").warning("it said %s", "so")
logging.getLogger("a.library").info("of no interest")
def fail(held):
    raise ValueError("it broke")
try:
    fail("canary of a local variable")
except ValueError:
    structlog.get_logger("trunkline").exception("unexpected fault", request_id="r-fault")
"""

IN_ONE_TURN = """
import asyncio
import structlog
from trunkline.telemetry import configure_logging

configure_logging("info", "json")

async def tell():
    for number in range(3):
        structlog.get_logger("one").info("first", number=number)
        structlog.get_logger("another").info("second", number=number)

asyncio.run(tell())
"""

NO_TEXT = """
import structlog
from trunkline.telemetry import configure_logging

configure_logging("info", "json")
structlog.get_logger("one").info("file_changed", file="\\udcff.py")
"""

SAMPLES = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def record(**more: Any) -> Record:
    """A request that went well."""
    given: dict[str, Any] = {
        "request_id": "r-1",
        "route": "/api/chat",
        "user": "anonymous",
        "outcome": Outcome.COMPLETE,
        "status": 200,
        "total_ms": 1234.5,
        "first_token_ms": 0.4,
        "model": "a/model",
        "provider": "openrouter",
        "usage": Usage(input_tokens=9, output_tokens=0, cost_nano=420_000),
    }
    return Record(**{**given, **more})


def told(log_format: str, *records: Record, level: str = "info", stderr: int = subprocess.PIPE) -> list[str]:
    """The lines of a process that logs these records, and a few things more."""
    done = subprocess.run(
        [sys.executable, "-c", TELL, level, log_format],
        input=msgspec.json.encode(records),
        stderr=stderr,
        env={name: value for name, value in os.environ.items() if name != "NO_COLOR"},
        timeout=30,
        check=True,
    )
    return (done.stderr or b"").decode().splitlines()


def samples(*snapshots: Snapshot) -> SAMPLES:
    """What a scrape of these workers gives, as Prometheus reads it."""
    families = text_string_to_metric_families(render(snapshots).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def metered(records: Iterable[Record]) -> Meter:
    """A worker's numbers after these requests."""
    meter = Meter()
    for each in records:
        meter.accept(each)
    return meter


def snapshot(*records: Record) -> Snapshot:
    """The same, at this moment."""
    return metered(records).snapshot({}, {})


# The log


def test_a_request_is_one_json_line_of_known_fields() -> None:
    broken = record(request_id="r-2", outcome=Outcome.CUT, usage=None, problem="truncated", detail="after 3 events")
    lines = [json.loads(line) for line in told("json", record(), broken)]
    first, second, *_ = lines
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "complete",
        "level": "info",
        "id": "r-1",
        "route": "/api/chat",
        "model": "a/model",
        "provider": "openrouter",
        "status": 200,
        "tokens_in": 9,
        "tokens_out": 0,
        "first_token_ms": 0,
        "total_ms": 1234,
    }
    assert (second["event"], second["problem"], second["detail"]) == ("cut", "truncated", "after 3 events")
    assert not {"tokens_in", "tokens_out"} & second.keys(), "what is not known is not there"


def test_a_record_has_no_place_for_content() -> None:
    assert not {"message", "messages", "text", "content", "body", "prompt", "reply"} & set(Record.__struct_fields__)


def test_what_is_asked_all_the_time_is_logged_at_debug_only() -> None:
    at_info = [json.loads(line) for line in told("json")]
    assert [line.get("id") for line in at_info] == ["r-other", None, None]
    assert (
        at_info[0].items()
        >= {"method": "DELETE", "route": "/api/chat/sessions/*", "status": 204, "total_ms": 2}.items()
    )
    assert "r-quiet" in told("json", level="debug")[0]
    assert not any("r-1" in line or "r-other" in line for line in told("json", record(), level="warning"))


def test_a_librarys_warning_and_a_fault_are_lines_of_the_same_form() -> None:
    *_, warning, fault = (json.loads(line) for line in told("json"))
    assert warning.items() >= {"event": "it said so", "level": "warning", "logger": "a.library"}.items()
    assert fault.items() >= {"event": "unexpected fault", "level": "error", "request_id": "r-fault"}.items()
    assert "ValueError: it broke" in fault["exception"]


def test_what_is_no_text_is_a_line_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", NO_TEXT], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["file"] == "\udcff.py"


def test_for_people_it_is_one_plain_line_each() -> None:
    lines = told("pretty", record(), record(request_id="r-2", outcome=Outcome.FAILED, status=502))
    assert ["complete" in lines[0], "failed" in lines[1]] == [True, True]
    assert all(part in lines[0] for part in ("id=r-1", "route=/api/chat", "status=200", "total_ms=1234"))
    assert "id=r-2" in lines[1]
    assert "it said so" in lines[3]
    assert lines[-1] == "ValueError: it broke"
    assert not any("\x1b" in line for line in lines), "colours, and nobody there to see them"
    assert sum("held" in line for line in lines) == 0, "a traceback shows local variables"


@pytest.mark.parametrize(("log_format", "is_pretty"), [("auto", True), ("json", False)])
def test_a_terminal_gets_the_form_for_people_unless_told_otherwise(log_format: str, is_pretty: bool) -> None:
    ours, its = pty.openpty()
    try:
        told(log_format, record(), stderr=its)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(its)
    assert shown.startswith("{") is not is_pretty
    assert "r-1" in shown


def test_lines_of_one_turn_of_the_loop_leave_in_the_order_in_which_they_came() -> None:
    done = subprocess.run([sys.executable, "-c", IN_ONE_TURN], stderr=subprocess.PIPE, timeout=30, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["number"]) for line in lines] == [
        (event, number) for number in range(3) for event in ("first", "second")
    ]


def test_without_a_terminal_it_is_json() -> None:
    assert all(line.startswith("{") for line in told("auto", record()))


# The numbers


def test_each_time_falls_into_the_first_bucket_that_holds_it() -> None:
    seconds = [0.0, 0.05, 0.0500001, 0.1, 1.0, 599.9, 600.0, 600.1, 4000.0]
    found = samples(snapshot(*(record(total_ms=each * 1000, first_token_ms=None) for each in seconds)))
    labels = (("model", "a/model"), ("provider", "openrouter"))
    counts = {
        dict(key)["le"]: value for (name, key), value in found.items() if name == "trunkline_request_seconds_bucket"
    }
    assert counts == {
        **{str(bound): sum(each <= bound for each in seconds) for bound in BUCKETS_S},
        "+Inf": len(seconds),
    }
    assert found["trunkline_request_seconds_count", labels] == len(seconds)
    assert found["trunkline_request_seconds_sum", labels] == pytest.approx(sum(seconds))
    assert found["trunkline_first_token_seconds_count", labels] == 0


def test_what_is_unknown_adds_nothing() -> None:
    found = samples(
        snapshot(record(usage=None), record(usage=Usage(input_tokens=5)), record(provider=None, model=None))
    )
    labels = (("model", "a/model"), ("provider", "openrouter"))
    assert found["trunkline_tokens_total", (("direction", "input"), *labels)] == 5
    assert found["trunkline_tokens_total", (("direction", "output"), *labels)] == 0
    assert found["trunkline_cost_nanodollars_total", labels] == 0
    nobody = (("model", ""), ("outcome", "complete"), ("problem", ""), ("provider", ""))
    assert found["trunkline_requests_total", nobody] == 1


def test_the_cost_is_the_records_own_whoever_has_reckoned_it() -> None:
    """What the upstream said itself stands in the usage, too: it counts once."""
    labels = (("model", "a/model"), ("provider", "openrouter"))
    told = Usage(input_tokens=9, output_tokens=3, cost_nano=420_000)
    plain = Usage(input_tokens=9, output_tokens=3)
    found = samples(
        snapshot(
            record(usage=told, cost_nano=420_000),
            record(usage=plain, cost_nano=15_000),
            record(usage=plain),
            record(usage=None),
        )
    )
    assert found["trunkline_cost_nanodollars_total", labels] == 435_000
    assert found["trunkline_unpriced_requests_total", labels] == 1


def test_models_past_the_bound_are_counted_together() -> None:
    names = [f"model-{number}" for number in range(MAX_SERIES + 50)]
    meter = metered(record(model=name) for name in [*names, *names])
    numbers = meter.snapshot({}, {})
    assert len(numbers.series) == MAX_SERIES + 1
    assert sum(sum(series.outcomes.values()) for series in numbers.series.values()) == 2 * len(names)
    assert numbers.series["openrouter\0other"].outcomes == {"complete\0": 100}


def test_any_name_is_told_as_it_is() -> None:
    odd = 'a"b\\c\nd{e}=é🚂, '
    found = samples(snapshot(record(model=odd, provider=odd)))
    assert any(dict(labels).get("model") == odd and dict(labels)["provider"] == odd for _, labels in found)


def test_nothing_counted_is_valid_text_too() -> None:
    assert samples() == {}
    assert samples(Snapshot()) == {}


def test_other_numbers_are_summed_and_named() -> None:
    one, other = Meter(), Meter()
    one.responded("r", "GET", "/health", 200, 1.0, is_quiet=True)
    other.responded("r", "GET", "/health", 200, 1.0, is_quiet=True)
    other.responded("r", "GET", "unknown", 404, 1.0, is_quiet=False)
    found = samples(
        one.snapshot({"in_flight": 2}, {"history_lost": 1}), other.snapshot({"in_flight": 3}, {"history_lost": 4})
    )
    assert found == {
        ("trunkline_responses_total", (("route", "/health"), ("status", "200"))): 2,
        ("trunkline_responses_total", (("route", "unknown"), ("status", "404"))): 1,
        ("trunkline_history_lost_total", ()): 5,
        ("trunkline_in_flight", ()): 5,
    }


RECORDS = st.lists(
    st.builds(
        record,
        outcome=st.sampled_from(Outcome),
        problem=st.sampled_from([None, "truncated", "timed_out"]),
        model=st.sampled_from(["a", "b", None]),
        provider=st.sampled_from(["x", "y"]),
        # Halves of a second add up exactly, in any order.
        total_ms=st.integers(0, 2000).map(lambda halves: halves * 500.0),
        first_token_ms=st.none() | st.integers(0, 2000).map(lambda halves: halves * 500.0),
        usage=st.none()
        | st.builds(Usage, input_tokens=st.none() | st.integers(0, 10**9), cost_nano=st.integers(0, 10**12)),
        cost_nano=st.none() | st.integers(0, 10**12),
    )
)


@given(RECORDS, st.lists(st.integers(0, 2)))
def test_the_sum_of_workers_is_what_one_would_have_counted(records: list[Record], places: list[int]) -> None:
    workers = [Meter(), Meter(), Meter()]
    for number, each in enumerate(records):
        workers[places[number] if number < len(places) else 0].accept(each)
    sent = (msgspec.json.encode(worker.snapshot({}, {})) for worker in workers)
    summed = samples(*(msgspec.json.decode(each, type=Snapshot) for each in sent))
    alone = samples(snapshot(*records))
    assert summed == alone


def test_a_recent_record_is_found_by_its_owner_and_by_nobody_else() -> None:
    recent = Recent()
    kept = record(user="alice")
    recent.accept(kept)
    assert recent.find("r-1", "alice") == kept
    assert recent.find("r-1", "bob") is None
    assert recent.find("r-2", "alice") is None


def test_two_users_may_have_chosen_the_same_id() -> None:
    recent = Recent()
    recent.accept(record(user="alice", total_ms=1.0))
    recent.accept(record(user="bob", total_ms=2.0))
    found = [recent.find("r-1", user) for user in ("alice", "bob", None)]
    assert [one.total_ms if one else None for one in found] == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("limits", [{"most": 5}, {"most_bytes": 800}])
def test_the_oldest_records_make_room(limits: dict[str, int]) -> None:
    recent = Recent(**limits)
    for number in range(20):
        recent.accept(record(request_id=f"r-{number}"))
    assert 2 <= len(recent) <= 5
    assert recent.find("r-19", None) is not None
    assert recent.find("r-0", None) is None


def test_an_id_that_comes_again_has_its_last_record_and_counts_once() -> None:
    recent = Recent()
    recent.accept(record(total_ms=1.0))
    recent.accept(record(total_ms=2.0))
    found = recent.find("r-1", None)
    assert (len(recent), found.total_ms if found else None) == (1, 2.0)


async def test_what_one_turn_of_the_loop_settles_is_told_once_it_is_over() -> None:
    meter, recent = Meter(), Recent()
    sinks = Together(meter, recent)
    for number in range(3):
        sinks.accept(record(request_id=f"r-{number}"))
    assert len(recent) == 0
    await asyncio.sleep(0)
    assert (len(recent), samples(meter.snapshot({}, {}))) == (3, samples(snapshot(*[record()] * 3)))
    sinks.accept(record(request_id="r-3"))
    await asyncio.sleep(0)
    assert len(recent) == 4


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_the_last_turn_has_settled_is_told_before_the_loop_ends(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    told: list[Record] = []

    class Listener:
        def accept(self, record: Record) -> None:
            told.append(record)

    async def settle_and_end() -> None:
        Together(Listener()).accept(record())

    run(settle_and_end())
    assert told == [record()]
