"""Usage: input, output, and how much of them was cached and reasoning, counted as each client counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import Ask, Spent
from acceptance.sdk.vendors.vendor import Answer

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@both_ways
@every_vendor
@every_client
async def test_usage_arrives_with_cached_and_reasoning_tokens(client: Driver, vendor: Vendor, stream: bool) -> None:
    spent = Spent(input=120, output=75, cached=96, reasoning=32)
    vendor.play(Answer(text=("Done.",), spent=spent))
    said = await client.ask(Ask(model=vendor.model, stream=stream))
    assert said.spent == spent
