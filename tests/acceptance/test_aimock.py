"""The Python clients against aimock, a mock of the vendors that others wrote, in each of the dialects that it speaks.

The scripted vendors of `acceptance.sdk` show every feature; here somebody else's reading of the dialects has the word.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

from acceptance.aimock import BASE_PATHS, aimock, is_npm_there
from acceptance.sdk.clients import CLIENTS
from acceptance.sdk.talk import CALLS, CITY, HELLO, PIXEL, RESULTS, TOOLS, Ask, Picture
from conftest import require
from served import openrouter, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from acceptance.aimock import Aimock
    from acceptance.sdk.drivers.driver import Driver

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # aimock's word for a finish, passed on as it came; Google's own is STOP.
    pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason"),
]

DEADLINE_S: Final = 2.0
"""Four times what the router promises."""

SILENT: Final = "langchain-chat"
"""The client that shows no thoughts."""

CALLED: Final = [call.what for call in CALLS]

every_client = pytest.mark.parametrize("name", CLIENTS)
every_dialect = pytest.mark.parametrize("dialect", BASE_PATHS)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mock() -> AsyncGenerator[Aimock]:
    require("node", present=is_npm_there())
    async with aimock() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(mock: Aimock, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """A router in front of it, with a row for each dialect."""
    directory = tmp_path_factory.mktemp("router")
    rows = [
        f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{mock.url}{path}"\napi_key = "env:KEY"\n'
        for name, path in BASE_PATHS.items()
    ]
    (directory / "trunkline.toml").write_text("\n".join(rows))
    async with serving(openrouter(f"{mock.url}/v1", directory, {"KEY": "k"})) as router:
        yield router.url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(url: str) -> AsyncGenerator[dict[str, Driver]]:
    made = {name: make(url) for name, make in CLIENTS.items()}
    yield made
    for one in made.values():
        await one.close()


def ask(name: str, dialect: str, scenario: str, **more: Any) -> Ask:
    """What one of aimock's fixtures answers. Each client has models of its own: none sees another's bad health."""
    return Ask(model=f"{dialect}/{name}-{scenario}", text=f"scenario={scenario};", **more)


def plain(result: str) -> str:
    """A tool's words, which Google's form puts into an object."""
    (words,) = json.loads(result).values() if result.startswith("{") else [result]
    return words


@both_ways
@every_dialect
@every_client
async def test_text_arrives_with_its_usage(clients: dict[str, Driver], name: str, dialect: str, stream: bool) -> None:
    said = await clients[name].ask(ask(name, dialect, "stream", stream=stream))
    assert (said.text, said.finish) == (HELLO, "stop")
    assert said.spent is not None
    assert (said.spent.input, said.spent.output) == (21, 13)


@both_ways
@every_dialect
@every_client
async def test_parallel_calls_arrive_with_their_arguments(
    clients: dict[str, Driver], name: str, dialect: str, stream: bool
) -> None:
    said = await clients[name].ask(ask(name, dialect, "tools", stream=stream, tools=TOOLS))
    assert [call.what for call in said.calls] == CALLED


@every_dialect
@every_client
async def test_the_results_of_tools_are_understood_beside_their_calls(
    clients: dict[str, Driver], mock: Aimock, name: str, dialect: str
) -> None:
    asked = ask(name, dialect, "answered", tools=TOOLS)
    first = await clients[name].ask(asked)
    said = await clients[name].ask(ask(name, dialect, "answered", tools=TOOLS, after=first, results=RESULTS))
    assert (said.text, said.finish) == (HELLO, "stop")
    messages = (await mock.journal())[-1].body["messages"]
    called = [call for message in messages for call in message.get("tool_calls") or ()]
    results = [message for message in messages if message["role"] == "tool"]
    assert [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in called] == CALLED
    assert [one["tool_call_id"] for one in results] == [one["id"] for one in called]
    assert tuple(plain(one["content"]) for one in results) == RESULTS


@every_dialect
@every_client
async def test_an_answer_keeps_to_a_schema(clients: dict[str, Driver], name: str, dialect: str) -> None:
    said = await clients[name].ask(ask(name, dialect, "structured", schema=CITY))
    assert json.loads(said.text) == {"city": "Paris", "unit": "c"}


@every_dialect
@every_client
async def test_a_picture_is_answered(clients: dict[str, Driver], name: str, dialect: str) -> None:
    said = await clients[name].ask(ask(name, dialect, "image", picture=Picture(data=PIXEL)))
    assert said.text == HELLO


@both_ways
@every_dialect
@every_client
async def test_thoughts_are_shown(clients: dict[str, Driver], name: str, dialect: str, stream: bool) -> None:
    said = await clients[name].ask(ask(name, dialect, "reasoning", stream=stream, effort="low", shows=True))
    assert said.text == "Because of Rayleigh."
    assert said.thoughts == ("" if name == SILENT else "First, the light…")


@every_dialect
@every_client
async def test_a_rate_limit_says_when_to_come_back(clients: dict[str, Driver], name: str, dialect: str) -> None:
    client = clients[name]
    with pytest.raises(client.error(429)) as caught:
        await client.ask(ask(name, dialect, "limited"))
    assert client.status(caught.value) == 429
    assert client.tap.headers["retry-after"] == "3"


@every_dialect
@every_client
async def test_a_stream_that_is_cut_is_never_taken_for_an_answer(
    clients: dict[str, Driver], name: str, dialect: str
) -> None:
    with pytest.raises(clients[name].broken):
        await clients[name].ask(ask(name, dialect, "cut"))


@every_dialect
@every_client
async def test_a_stream_that_the_client_closes_is_closed_at_aimock(
    url: str, mock: Aimock, name: str, dialect: str
) -> None:
    before = len(mock.unfinished)
    client = CLIENTS[name](url)
    async with client.begun(ask(name, dialect, "leave")) as stream:
        await anext(aiter(stream))
        if client.dialect == "gemini":
            await client.close()  # a stream that is left holds its connection until its garbage is collected
    await mock.wait_for_unfinished(before + 1, DEADLINE_S)
    await client.close()
