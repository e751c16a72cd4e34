"""The lists of models and the counts of tokens, in the shape that each vendor's SDK reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from acceptance.sdk.drivers.anthropic_messages import AnthropicMessages
from acceptance.sdk.drivers.google_genai import GoogleGenai
from acceptance.sdk.drivers.openai_chat import OpenAIChat
from acceptance.sdk.stage import every_vendor
from acceptance.sdk.vendors.vendor import json_script

if TYPE_CHECKING:
    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Stage, Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")
COUNTS = {"anthropic_messages": {"input_tokens": 42}, "gemini": {"totalTokens": 42}}


async def test_the_lists_are_the_same_for_each_vendors_sdk(stage: Stage) -> None:
    clients = OpenAIChat(stage.router.url), AnthropicMessages(stage.router.url), GoogleGenai(stage.router.url)
    openai, anthropic, google = clients
    listed = [model.id async for model in await openai.client.models.list()]
    assert "openrouter/auto" in listed
    assert [model.id async for model in anthropic.client.models.list()] == listed
    assert [model.name async for model in await google.client.aio.models.list()] == [f"models/{id_}" for id_ in listed]
    for one in clients:
        await one.close()


async def test_one_model_is_described_to_each_vendors_sdk(stage: Stage) -> None:
    clients = OpenAIChat(stage.router.url), AnthropicMessages(stage.router.url), GoogleGenai(stage.router.url)
    openai, anthropic, google = clients
    assert (await openai.client.models.retrieve("openrouter/auto")).id == "openrouter/auto"
    assert (await anthropic.client.models.retrieve("openrouter/auto")).id == "openrouter/auto"
    assert (await google.client.aio.models.get(model="openrouter/auto")).name == "models/openrouter/auto"
    for one in clients:
        await one.close()


@every_vendor
@pytest.mark.parametrize("client", ["anthropic", "google-genai"], indirect=True)
async def test_tokens_are_counted_by_the_vendor_that_counts_and_else_by_the_router(
    client: Driver, vendor: Vendor
) -> None:
    words = "How many tokens has this? " * 20
    vendor.play(json_script(COUNTS.get(vendor.name, {})))
    match client:
        case AnthropicMessages(client=anthropic):
            messages: Any = [{"role": "user", "content": words}]
            counted = (await anthropic.messages.count_tokens(model=vendor.model, messages=messages)).input_tokens
        case GoogleGenai(client=google):
            counted = (await google.aio.models.count_tokens(model=vendor.model, contents=words)).total_tokens
        case _:
            pytest.fail("these two clients count")
    if vendor.name in COUNTS:
        assert counted == 42
    else:
        assert counted is not None
        assert 50 < counted < 500
        assert vendor.asked == 0
