"""Tools: parallel calls, their streamed arguments, and the second turn with what the tools gave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import CALLS, CITY, RESULTS, TOOLS, Ask, Called
from acceptance.sdk.vendors.vendor import Answer

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASKED = [call.what for call in CALLS]


@both_ways
@every_vendor
@every_client
async def test_parallel_calls_arrive_with_their_arguments(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.play(Answer(text=("I'll look.",), calls=CALLS, finish="tools"))
    said = await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=stream))
    assert [call.what for call in said.calls] == ASKED
    assert said.text == "I'll look."
    assert said.finish == "tools"
    assert vendor.told.tools == {"get_weather": CITY, "get_time": CITY}
    if stream and client.streams_arguments and vendor.dialect.name != "gemini":
        assert said.pieces >= 5  # the text, and the arguments of each call in two pieces


@pytest.mark.parametrize("vendor", ["openai_chat", "openai_responses"], indirect=True)
@every_client
async def test_calls_that_a_vendor_streams_in_turns_arrive_whole(client: Driver, vendor: Vendor) -> None:
    if client.dialect == vendor.dialect.name:
        pytest.skip("passes as it came: not every client can put it together")
    vendor.play(Answer(text=("I'll look.",), calls=CALLS, in_turns=True, finish="tools"))
    said = await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=True))
    assert [call.what for call in said.calls] == ASKED


@both_ways
@every_vendor
@every_client
async def test_results_reach_the_vendor_beside_their_calls(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.play(Answer(calls=CALLS, finish="tools"), Answer(text=("It rains.",)))
    first = await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=stream))
    said = await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=stream, after=first, results=RESULTS))
    assert (said.text, said.finish) == ("It rains.", "stop")
    told = vendor.told
    assert [call.what for call in told.calls] == ASKED
    assert [call_id for call_id, _ in told.results] == [call.id for call in told.calls]
    assert tuple(plain(result) for _, result in told.results) == RESULTS
    assert told.texts == ("Hi",)


@both_ways
@pytest.mark.parametrize("vendor", ["gemini"], indirect=True)
@every_client
async def test_calls_without_ids_get_their_own_results(client: Driver, vendor: Vendor, stream: bool) -> None:
    calls = tuple(Called("get_weather", {"city": city, "unit": "c"}) for city in ("Paris", "Oslo"))
    vendor.play(Answer(calls=calls, finish="tools"), Answer(text=("It rains.",)))
    first = await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=stream))
    await client.ask(Ask(model=vendor.model, tools=TOOLS, stream=stream, after=first, results=RESULTS))
    told = vendor.told
    assert [call.what for call in told.calls] == [call.what for call in calls]
    assert [call_id for call_id, _ in told.results] == [call.id for call in told.calls]
    assert tuple(plain(result) for _, result in told.results) == RESULTS


def plain(result: str) -> str:
    """A tool's words: one client puts them into an object, which goes on as JSON."""
    return json.loads(result)["return_value"] if result.startswith("{") else result
