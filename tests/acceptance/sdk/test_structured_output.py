"""Structured output by JSON Schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import Ask
from acceptance.sdk.vendors.vendor import Answer, halves

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "integer"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}
PARIS = {"city": "Paris", "celsius": 18}


@both_ways
@every_vendor
@every_client
async def test_the_schema_reaches_the_vendor_and_the_object_the_client(
    client: Driver, vendor: Vendor, stream: bool
) -> None:
    vendor.play(Answer(text=halves(json.dumps(PARIS))))
    said = await client.ask(Ask(model=vendor.model, schema=SCHEMA, stream=stream))
    assert json.loads(said.text) == PARIS
    told = vendor.told.schema
    assert told is not None
    assert {name: told[name] for name in told if name != "title"} == SCHEMA  # one client adds a title
