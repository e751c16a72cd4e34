"""One stage for each file of tests: its router, its vendors, and the clients, each made when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from acceptance.sdk.clients import ALL
from acceptance.sdk.stage import staged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Stage, Vendor


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    async with staged(tmp_path_factory.mktemp("router")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(stage: Stage) -> AsyncGenerator[dict[str, Driver]]:
    """The clients so far, by name."""
    clients: dict[str, Driver] = {}
    yield clients
    for one in clients.values():
        await one.close()


@pytest_asyncio.fixture(loop_scope="module")
async def client(request: pytest.FixtureRequest, stage: Stage, made: dict[str, Driver]) -> Driver:
    """The client that the parameter names."""
    name: str = request.param
    if name not in made:
        made[name] = ALL[name](stage.router.url)
    return made[name]


@pytest_asyncio.fixture(loop_scope="module")
async def vendor(request: pytest.FixtureRequest, stage: Stage) -> Vendor:
    """The vendor that the parameter names, with a clean journal."""
    chosen = stage.vendors[request.param]
    chosen.begin()
    return chosen
