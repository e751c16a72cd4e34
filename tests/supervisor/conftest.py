"""A router that runs as long as its test does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisor.running_router import RunningRouter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


@pytest.fixture
async def router(tmp_path: Path) -> AsyncGenerator[RunningRouter]:
    """A router that is not started yet."""
    running = RunningRouter(tmp_path)
    yield running
    await running.clean_up()
