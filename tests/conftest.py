"""Fixtures that every test may use."""

from __future__ import annotations

import os
import socket
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings as hypothesis_settings

from served import openrouter, serving
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router


# A busy machine is slow now and then: a deadline would find that, not a fault.
hypothesis_settings.register_profile("trunkline", deadline=None)
hypothesis_settings.load_profile("trunkline")


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    """A provider that plays scripts."""
    async with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
async def router(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    """The seed's router in front of that provider, without history."""
    async with serving(openrouter(upstream, tmp_path)) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests have measured, beside what they assert of them."""
    reports: list[pytest.TestReport] = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = [figure for report in reports if report.when == "call" for figure in report.user_properties]
    if figures:
        terminalreporter.section("figures")
        for name, value in figures:
            terminalreporter.write_line(f"{name}: {value}")


def require(part: str, *, present: bool) -> None:
    """Skip for want of an optional part; fail where TRUNKLINE_REQUIRE says that it must be there."""
    if present:
        return
    if part in os.environ.get("TRUNKLINE_REQUIRE", "").split(","):
        pytest.fail(f"{part} is required here, and is not installed")
    pytest.skip(f"{part} is not installed")


@pytest.fixture
def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def built_page() -> None:
    """The page is built; a machine without Node skips what needs it."""
    index = resources.files("trunkline.web").joinpath("index.html")
    require("node", present=index.is_file())
