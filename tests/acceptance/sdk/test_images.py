"""Images: their bytes as base64, or their address, which the router passes on and never fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acceptance.sdk.clients import CLIENTS, every_client
from acceptance.sdk.stage import every_vendor
from acceptance.sdk.talk import PIXEL, Ask, Picture
from acceptance.sdk.vendors.vendor import Answer

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")
BYTES = Picture(data=PIXEL)
ADDRESS = Picture(url="https://example.test/a/cat.png")


@every_vendor
@every_client
async def test_the_bytes_of_a_picture_reach_the_vendor(client: Driver, vendor: Vendor) -> None:
    vendor.play(Answer(text=("A cat.",)))
    said = await client.ask(Ask(model=vendor.model, text="What is this?", picture=BYTES))
    assert said.text == "A cat."
    assert vendor.told.pictures == (BYTES.address,)
    assert vendor.told.texts == ("What is this?",)


@every_vendor
@pytest.mark.parametrize(
    "client",
    [name for name in CLIENTS if name != "pydantic-google"],  # fetches the picture itself, and sends its bytes
    indirect=True,
)
async def test_the_address_of_a_picture_reaches_the_vendor_as_it_is(client: Driver, vendor: Vendor) -> None:
    vendor.play(Answer(text=("A cat.",)))
    said = await client.ask(Ask(model=vendor.model, text="What is this?", picture=ADDRESS))
    assert said.text == "A cat."
    assert vendor.told.pictures == (ADDRESS.url,)
