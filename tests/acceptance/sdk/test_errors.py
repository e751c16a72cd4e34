"""Errors: every client raises its own, with the status, whoever's fault it was and wherever it happened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import Ask
from acceptance.sdk.vendors.vendor import Answer
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSCRIPTS: Final = Path(__file__).parents[2] / "dialects" / "transcripts"
WORDS: Final = "The frobnicator must not be purple."


@both_ways
@pytest.mark.parametrize("vendor", ["openai_chat"], indirect=True)
@every_client
async def test_a_model_that_nobody_serves_is_not_found(client: Driver, vendor: Vendor, stream: bool) -> None:
    error = await failure(client, 404, Ask(model="nobody-serves-this", stream=stream))
    assert "nobody-serves-this" in str(error)
    assert vendor.asked == 0


@both_ways
@every_vendor
@every_client
async def test_a_rate_limit_says_when_to_come_back(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.refuse(429, "Slow down.", (("retry-after", "3"),))
    await failure(client, 429, Ask(model=vendor.model, stream=stream))
    assert client.tap.headers["retry-after"] == "3"


@every_vendor
@every_client
async def test_a_request_that_the_vendor_finds_wrong_comes_back_with_its_words(client: Driver, vendor: Vendor) -> None:
    vendor.refuse(400, WORDS)
    assert WORDS in str(await failure(client, 400, Ask(model=vendor.model)))


@every_vendor
@every_client
async def test_the_routers_own_key_is_not_the_clients_trouble(client: Driver, vendor: Vendor) -> None:
    vendor.refuse(401, WORDS)
    assert WORDS not in str(await failure(client, 502, Ask(model=vendor.model)))


@every_vendor
@every_client
async def test_an_error_in_the_middle_of_a_stream_is_raised(client: Driver, vendor: Vendor) -> None:
    vendor.play(script.transcript(TRANSCRIPTS / vendor.dialect.broken, slice_bytes=None))
    with pytest.raises(client.broken):
        await client.ask(Ask(model=vendor.model))


@every_vendor
@every_client
async def test_a_stream_that_is_cut_is_never_taken_for_an_answer(client: Driver, vendor: Vendor) -> None:
    vendor.play(vendor.dialect.stream(Answer(text=("It rai", "ns."), finish=None)).but(end=End.FIN))
    with pytest.raises(client.broken):
        await client.ask(Ask(model=vendor.model))


async def failure(client: Driver, status: int, ask: Ask) -> Any:
    """What the client raises, which is its own error for this status."""
    with pytest.raises(client.error(status)) as caught:
        await client.ask(ask)
    assert client.status(caught.value) == status
    return caught.value
