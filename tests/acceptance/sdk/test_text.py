"""Text: every client, every vendor, as a stream and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import HELLO, Ask
from acceptance.sdk.vendors.vendor import Answer, halves

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@both_ways
@every_vendor
@every_client
async def test_text_arrives_with_its_finish(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.play(Answer(text=halves(HELLO)))
    said = await client.ask(Ask(model=vendor.model, text="Say hello", stream=stream))
    assert (said.text, said.finish) == (HELLO, "stop")
    assert said.pieces == (2 if stream else 1)
    assert vendor.told.texts == ("Say hello",)
    assert vendor.told.stream is stream
