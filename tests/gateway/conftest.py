"""Fixtures of the walk's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.upstream.client import Client
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    """An upstream client, closed at the end."""
    one = Client()
    yield one
    await one.aclose()


@pytest.fixture
async def second() -> AsyncGenerator[ScriptedUpstream]:
    """Another provider that plays scripts."""
    async with ScriptedUpstream() as scripted:
        yield scripted
