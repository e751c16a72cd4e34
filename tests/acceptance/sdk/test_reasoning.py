"""Reasoning: asked for by effort or by a budget, shown, and proved again in the next turn."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from acceptance.sdk.clients import ALL, every_client
from acceptance.sdk.stage import DIALECTS, VENDORS, both_ways, every_vendor
from acceptance.sdk.talk import CALLS, RESULTS, TOOLS, Ask
from acceptance.sdk.vendors.vendor import Answer

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Stage, Vendor
    from acceptance.sdk.talk import Said

pytestmark = pytest.mark.asyncio(loop_scope="module")

THOUGHTS: Final = ("Two cities.\n\n", "One call for each 🤔.")
PROOF: Final = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds+/9Mxk4ELw="
"""Base64, as the proofs of all vendors are; Gemini's client insists on it."""

THINKS: Final = Answer(thoughts=THOUGHTS, proof=PROOF, text=("I'll look.",), calls=CALLS, finish="tools")
DONE: Final = Answer(text=("It rains.",))

SILENT: Final = frozenset({"langchain-chat"})
"""Clients that show no thoughts: by its documentation this one knows OpenAI's own fields, and thoughts are not."""

FORGETFUL: Final = frozenset({"langchain-chat", "pydantic-chat"})
"""Clients that do not send `reasoning_details` back: nothing of a proof can come through them."""

GIVES_PROOFS: Final = [name for name in DIALECTS if name != "openai_chat"]

PROVEN: Final = [
    pytest.param(client, vendor, stream, id=f"{client}-{vendor}-{'stream' if stream else 'whole'}")
    for client in ALL
    for vendor in GIVES_PROOFS
    for stream in (True, False)
    if client not in FORGETFUL
]

SAME: Final = {("openrouter", "openai_chat")}
"""Vendors of one dialect: a client of that dialect speaks to both in its own words, untouched."""


def about_thoughts(dropped: set[str]) -> set[str]:
    """The names that say that something of a thought was lost."""
    return {name for name in dropped if any(word in name for word in ("reasoning", "thinking", "signature"))}


@every_vendor
@every_client
async def test_the_effort_reaches_the_vendor(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, effort="low"))
    assert vendor.told.effort == "low"


@pytest.mark.parametrize("vendor", ["anthropic_messages", "gemini", "openrouter"], indirect=True)
@pytest.mark.parametrize(
    "client",
    ["openai-chat", "anthropic", "google-genai", "pydantic-openrouter", "pydantic-anthropic", "pydantic-google"],
    indirect=True,
)
async def test_the_budget_reaches_a_vendor_that_has_one(client: Driver, vendor: Vendor) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, budget=2048))
    assert vendor.told.budget == 2048
    assert not about_thoughts(client.tap.dropped)


@pytest.mark.parametrize(
    ("vendor", "name"),
    [("openai_chat", "reasoning.max_tokens"), ("openai_responses", "reasoning.budget_tokens")],
    indirect=["vendor"],
)
@pytest.mark.parametrize(
    "client", ["anthropic", "google-genai", "pydantic-anthropic", "pydantic-google"], indirect=True
)
async def test_a_budget_is_an_effort_for_a_vendor_that_has_none(client: Driver, vendor: Vendor, name: str) -> None:
    vendor.play(DONE)
    await client.ask(Ask(model=vendor.model, budget=2048))
    assert vendor.told.effort in {"low", "medium"}
    assert about_thoughts(client.tap.dropped) == {name}


@both_ways
@every_vendor
@every_client
async def test_thoughts_are_shown(client: Driver, vendor: Vendor, stream: bool, request: pytest.FixtureRequest) -> None:
    vendor.play(THINKS)
    said = await client.ask(Ask(model=vendor.model, tools=TOOLS, effort="low", shows=True, stream=stream))
    silent = request.node.callspec.params["client"] in SILENT
    assert said.thoughts == ("" if silent else "".join(THOUGHTS))
    assert said.text == "I'll look."
    assert [call.what for call in said.calls] == [call.what for call in CALLS]


@pytest.mark.parametrize(("client", "vendor", "stream"), PROVEN, indirect=["client", "vendor"])
async def test_the_proof_of_a_thought_comes_back_to_its_vendor(client: Driver, vendor: Vendor, stream: bool) -> None:
    vendor.play(THINKS, DONE)
    ask = Ask(model=vendor.model, tools=TOOLS, effort="low", shows=True, stream=stream)
    first = await client.ask(ask)
    assert (await client.ask(after(ask, first))).text == "It rains."
    told = vendor.told
    assert told.proofs == (PROOF,)
    assert [call.what for call in told.calls] == [call.what for call in CALLS]
    assert not about_thoughts(client.tap.dropped)


@both_ways
@pytest.mark.parametrize("vendor", GIVES_PROOFS, indirect=True)
@pytest.mark.parametrize("client", sorted(FORGETFUL), indirect=True)
async def test_a_client_that_forgets_the_proof_gets_its_answer_all_the_same(
    client: Driver, vendor: Vendor, stream: bool
) -> None:
    vendor.play(THINKS, DONE)
    ask = Ask(model=vendor.model, tools=TOOLS, effort="low", stream=stream)
    first = await client.ask(ask)
    assert (await client.ask(after(ask, first))).text == "It rains."
    assert not vendor.told.proofs
    assert [call.what for call in vendor.told.calls] == [call.what for call in CALLS]


@pytest.mark.parametrize(
    ("vendor", "other"),
    [pair for pair in product(DIALECTS, VENDORS) if pair not in SAME and pair[0] != pair[1]],
    indirect=["vendor"],
)
@every_client
async def test_a_foreign_proof_reaches_nobody_and_is_named(
    client: Driver, vendor: Vendor, other: str, stage: Stage, request: pytest.FixtureRequest
) -> None:
    vendor.play(THINKS)
    ask = Ask(model=vendor.model, tools=TOOLS, effort="low", shows=True)
    first = await client.ask(ask)
    second = stage.vendors[other]
    second.begin()
    second.play(DONE)
    assert (await client.ask(after(msgspec.structs.replace(ask, model=second.model), first))).text == "It rains."
    assert PROOF not in second.upstream.requests[-1].body.decode()
    assert not second.told.proofs
    assert [call.what for call in second.told.calls] == [call.what for call in CALLS]
    if vendor.name in GIVES_PROOFS and request.node.callspec.params["client"] not in FORGETFUL:
        assert about_thoughts(client.tap.dropped)


@pytest.mark.parametrize("vendor", ["openai_responses", "gemini", "openrouter"], indirect=True)
@pytest.mark.parametrize("client", ["anthropic", "pydantic-anthropic", "openai-chat", "google-genai"], indirect=True)
async def test_anthropic_is_not_asked_to_think_by_a_budget_where_it_would_refuse_that(
    client: Driver, vendor: Vendor, stage: Stage
) -> None:
    vendor.play(THINKS)
    ask = Ask(model=vendor.model, tools=TOOLS, budget=2048)
    first = await client.ask(ask)
    anthropic = stage.vendors["anthropic_messages"]
    anthropic.begin()
    anthropic.play(DONE)
    assert (await client.ask(after(msgspec.structs.replace(ask, model=anthropic.model), first))).text == "It rains."
    assert anthropic.told.budget is None
    assert "thinking" in client.tap.dropped


def after(ask: Ask, first: Said) -> Ask:
    """The next turn: what the tools gave."""
    return msgspec.structs.replace(ask, after=first, results=RESULTS)
