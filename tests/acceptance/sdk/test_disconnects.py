"""A client that leaves: the vendor is no longer kept busy (and paid) for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest

from acceptance.sdk.clients import CLIENTS, every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import Ask
from acceptance.sdk.vendors.vendor import Answer
from trunkline.upstream.journal import Ending
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Stage, Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_S: Final = 2.0
"""Four times what the router promises."""


@every_vendor
@pytest.mark.parametrize("name", CLIENTS)
async def test_a_stream_that_the_client_closes_is_closed_at_the_vendor(name: str, vendor: Vendor, stage: Stage) -> None:
    vendor.play(vendor.dialect.stream(Answer(text=("It rai", "ns."), finish=None)).but(end=End.STALL))
    client = CLIENTS[name](stage.router.url)
    async with client.begun(Ask(model=vendor.model)) as stream:
        await anext(aiter(stream))
        if client.dialect == "gemini":
            await client.close()  # a stream that is left holds its connection until its garbage is collected
    await left(vendor)
    await client.close()


@both_ways
@every_vendor
@every_client
async def test_a_request_that_the_client_gives_up_is_given_up_at_the_vendor(
    client: Driver, vendor: Vendor, stream: bool
) -> None:
    vendor.play(vendor.dialect.stream(Answer()).but(delay_headers_s=60.0))
    asking = asyncio.create_task(client.ask(Ask(model=vendor.model, stream=stream)))
    await vendor.upstream.wait_until(lambda: vendor.asked == 1, DEADLINE_S)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await left(vendor)


async def left(vendor: Vendor) -> None:
    """Wait until the vendor has seen that its one request was given up; TimeoutError where that takes too long."""
    (play,) = vendor.upstream.plays
    await vendor.upstream.wait_until(lambda: play.ending is not None, DEADLINE_S)
    assert play.ending is Ending.CANCELLED
