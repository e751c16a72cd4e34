"""The benchmark of the dialects runs, and measures something of each."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

DIALECTS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini"]


@pytest.fixture
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_dialects", Path(__file__).parents[1] / "bench" / "dialects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_frame_and_a_body_cost_something(bench: Any, dialect: str) -> None:
    assert bench.frame_us(dialect, runs=1) > 0
    for kind in ("prose", "code", "Chinese", "a picture"):
        body = bench.body_of(dialect, 20_000, kind)
        assert 15_000 < len(body) < 30_000
        assert bench.pass_body(dialect, body, bench.TENANT).keys


async def test_the_loops_stall_is_seen(bench: Any) -> None:
    interval = sys.getswitchinterval()
    try:
        rows = await bench.stalls(times=1, size=20_000)
    finally:
        sys.setswitchinterval(interval)
    assert len(rows) == len(DIALECTS) ** 2
    assert all(row.figure > 0 for row in rows)


def test_the_page_says_what_is_met(bench: Any) -> None:
    rows = [
        bench.Row("a", "d", 1.0, "us", 2.0),
        bench.Row("b", "d", 3.0, "us", 2.0),
        bench.Row("c", "d", 3.0, "us", None),
    ]
    assert [line.split("|")[-2].strip() for line in bench.page(rows).splitlines()[-3:]] == ["met", "**not met**", ""]
