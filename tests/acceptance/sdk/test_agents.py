"""What runs tools and keeps conversations by itself: pydantic-ai's agents, LangChain's models, Google's own SDK."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, Final

import pydantic
import pytest

from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import CALLS, HELLO, RESULTS, Ask, Called
from acceptance.sdk.vendors.vendor import Answer, halves

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google.genai import types
    from pydantic_ai import Agent, NativeOutput, ToolOutput

if TYPE_CHECKING:
    from acceptance.sdk.drivers.google_genai import GoogleGenai
    from acceptance.sdk.drivers.langchain import LangchainChat
    from acceptance.sdk.drivers.pydantic_ai import PydanticAI
    from acceptance.sdk.stage import Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Weather(pydantic.BaseModel):
    """The weather somewhere."""

    city: str
    celsius: int


PARIS: Final = Weather(city="Paris", celsius=18)
AS_TEXT: Final = Answer(text=halves(PARIS.model_dump_json()))
ASKS: Final = Answer(calls=CALLS, finish="tools")
SAYS: Final = Answer(text=halves(HELLO))

agents = pytest.mark.parametrize(
    "client", ["pydantic-chat", "pydantic-responses", "pydantic-anthropic", "pydantic-google"], indirect=True
)
chains = pytest.mark.parametrize("client", ["langchain-chat", "langchain-responses"], indirect=True)
google = pytest.mark.parametrize("client", ["google-genai"], indirect=True)


def get_weather(city: str, unit: str) -> str:
    """The weather in a city.

    Args:
        city: Where.
        unit: c or f.
    """
    assert {"city": city, "unit": unit} == CALLS[0].arguments
    return RESULTS[0]


def get_time(city: str, unit: str) -> str:
    """The time in a city.

    Args:
        city: Where.
        unit: c or f.
    """
    assert {"city": city, "unit": unit} == CALLS[1].arguments
    return RESULTS[1]


def results(vendor: Vendor) -> tuple[str, ...]:
    """What the tools gave, as the vendor was told: Google's clients put it into an object, which goes on as JSON."""
    said = [text for _, text in vendor.told.results]
    return tuple(next(iter(json.loads(text).values())) if text.startswith("{") else text for text in said)


def as_call(name: str) -> Answer:
    """The object as the arguments of a tool that is called for nothing else."""
    return Answer(calls=(Called(name, PARIS.model_dump(), "call_1"),), finish="tools")


@google
@every_vendor
async def test_googles_sdk_runs_the_callers_functions(client: GoogleGenai, vendor: Vendor) -> None:
    vendor.play(ASKS, SAYS)
    config = types.GenerateContentConfig(tools=[get_weather, get_time])
    answer = await client.client.aio.models.generate_content(model=vendor.model, contents="Hi", config=config)
    assert answer.text == HELLO
    assert results(vendor) == RESULTS


@google
@every_vendor
async def test_googles_chat_keeps_the_conversation(client: GoogleGenai, vendor: Vendor) -> None:
    vendor.play(SAYS)
    chat = client.client.aio.chats.create(model=vendor.model)
    async for _ in await chat.send_message_stream("One"):
        pass
    await chat.send_message("Two")
    assert vendor.told.texts == ("One", "Two")


@both_ways
@every_vendor
@agents
async def test_an_agent_runs_its_tools(client: PydanticAI, vendor: Vendor, stream: bool) -> None:
    vendor.play(ASKS, SAYS)
    agent = Agent(client.model(vendor.model), tools=[get_weather, get_time], instructions="Be brief.")
    if stream:
        async with agent.run_stream("Which weather?") as run:
            said = await run.get_output()
    else:
        said = (await agent.run("Which weather?")).output
    assert said == HELLO
    assert results(vendor) == RESULTS
    assert vendor.told.system.endswith("Be brief.")  # some of its models say more


@pytest.mark.parametrize(
    ("way", "answer"), [(NativeOutput, AS_TEXT), (ToolOutput, as_call("final_result"))], ids=["native", "tool"]
)
@every_vendor
@agents
async def test_an_agent_gives_an_object(client: PydanticAI, vendor: Vendor, way: Any, answer: Answer) -> None:
    vendor.play(answer)
    agent = Agent(client.model(vendor.model), output_type=way(Weather))
    assert (await agent.run("Which weather?")).output == PARIS


@pytest.mark.parametrize(("method", "answer"), [("json_schema", AS_TEXT), ("function_calling", as_call("Weather"))])
@every_vendor
@chains
async def test_a_model_of_langchain_gives_an_object(
    client: LangchainChat, vendor: Vendor, method: str, answer: Answer
) -> None:
    vendor.play(answer)
    model = client.model(Ask(model=vendor.model)).with_structured_output(Weather, method=method)
    assert await model.ainvoke("Which weather?") == PARIS
