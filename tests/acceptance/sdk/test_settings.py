"""The system prompt and the settings of a request: told to the vendor, or refused or named where it has no word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from acceptance.sdk.clients import CLIENTS, every_client
from acceptance.sdk.stage import VENDORS, both_ways, every_vendor
from acceptance.sdk.talk import Ask
from acceptance.sdk.vendors.vendor import Answer

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE: Final = Answer(text=("Aye.",))
NO_STOP: Final = "openai_responses"
"""The dialect that has no stop sequences, and no seed."""
NO_SEED: Final = frozenset({"openai_responses", "anthropic_messages"})

stopping = pytest.mark.parametrize("client", [name for name in CLIENTS if "responses" not in name], indirect=True)
seeding = pytest.mark.parametrize(
    "client", ["openai-chat", "google-genai", "langchain-chat", "pydantic-chat", "pydantic-google"], indirect=True
)


@every_vendor
@every_client
async def test_the_system_prompt_reaches_the_vendor(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, system="Speak like a pirate.", text="Is it?"))
    assert (vendor.told.system, vendor.told.texts) == ("Speak like a pirate.", ("Is it?",))


@every_vendor
@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "anthropic"], indirect=True)  # knows none
async def test_the_temperature_reaches_the_vendor(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, temperature=0.25))
    assert vendor.told.temperature == 0.25


@both_ways
@every_vendor
@every_client
async def test_an_answer_that_reached_its_limit_says_so(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.play(Answer(text=("It rai",), finish="length"))
    said = await client.ask(Ask(model=vendor.model, stream=stream))
    assert (said.text, said.finish) == ("It rai", "length")


@pytest.mark.parametrize("vendor", [name for name in VENDORS if name != NO_STOP], indirect=True)
@stopping
async def test_stop_sequences_reach_the_vendor(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, stop=("###", "END")))
    assert vendor.told.stop == ("###", "END")


@pytest.mark.parametrize("vendor", [NO_STOP], indirect=True)
@stopping
async def test_stop_sequences_are_refused_where_the_vendor_has_none(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    with pytest.raises(client.error(400)) as caught:
        await client.ask(Ask(model=vendor.model, stop=("###",)))
    assert client.status(caught.value) == 400
    assert "stop" in str(caught.value)
    assert vendor.asked == 0


@every_vendor
@seeding
async def test_a_seed_reaches_the_vendor_or_is_named(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, seed=7))
    is_told = vendor.name not in NO_SEED
    assert vendor.told.seed == (7 if is_told else None)
    assert ("seed" in client.tap.dropped) is not is_told
