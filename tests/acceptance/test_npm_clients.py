"""The clients that npm has, each against vendors of every dialect: our scripted ones, and aimock, which others wrote.

One batch runs everything, each client in a process of its own; each test looks at what came of one thing. Node and the
packages are optional: without them the tests are skipped, by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio

from acceptance.aimock import is_npm_there
from acceptance.npm_batch import (
    AIMOCK,
    BECAUSE,
    CLIENTS,
    COST,
    PICTURE,
    RETRY_AFTER_S,
    SCRIPTED,
    SPENT,
    SYSTEM,
    THOUGHTS,
    Seen,
    run,
)
from acceptance.sdk.talk import CALLS, CITY, HELLO, RESULTS, TOOLS, Spent
from conftest import require

if TYPE_CHECKING:
    from acceptance.npm_batch import Batch

CANCEL_S = 4 * 0.5
"""T03: an upstream is closed 500 ms after its client left; a test gives it four times as long."""

READS_REASONING_DETAILS = "ai_openrouter"
"""It knows OpenRouter's fields for reasoning alone, and not the `reasoning_content` of other chat completions."""

NAMES_REASONING_CONTENT = ("scripted_openai_chat", "aimock_openai_chat")

every_client = pytest.mark.parametrize("client", CLIENTS)
every_upstream = pytest.mark.parametrize("upstream", [*SCRIPTED, *AIMOCK])
every_scripted = pytest.mark.parametrize("upstream", SCRIPTED)
every_aimock = pytest.mark.parametrize("upstream", AIMOCK)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    require("node", present=is_npm_there())
    return await run(tmp_path_factory.mktemp("npm"))


def of(batch: Batch, client: str, upstream: str, scenario: str) -> Seen:
    """What this client saw, where nothing was to go wrong."""
    seen = batch.seen[client, upstream, scenario]
    assert seen.error is None
    return seen


def spent(upstream: str) -> Spent:
    """What this upstream tells of what it spent: aimock only the sums."""
    return Spent(SPENT.input, SPENT.output) if upstream in AIMOCK else SPENT


def known(usage: Spent | None) -> Spent | None:
    """The usage, with None for the zeros that Vercel's packages put in an unknown's place."""
    return usage and Spent(usage.input, usage.output, usage.cached or None, usage.reasoning or None)


def words(message: dict[str, Any]) -> str:
    """A chat completion's message as text, which may come in parts."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@every_upstream
@every_client
def test_text_streams(batch: Batch, client: str, upstream: str) -> None:
    seen = of(batch, client, upstream, "stream")
    assert (seen.text, seen.finish) == (HELLO, "stop")


@every_upstream
@every_client
def test_text_comes_whole(batch: Batch, client: str, upstream: str) -> None:
    seen = of(batch, client, upstream, "whole")
    assert (seen.text, seen.finish) == (HELLO, "stop")


@every_upstream
@every_client
def test_parallel_tool_calls_stream_with_their_arguments(batch: Batch, client: str, upstream: str) -> None:
    seen = of(batch, client, upstream, "tools")
    assert [call.what for call in seen.calls] == [call.what for call in CALLS]
    assert seen.finish == "tool_calls"
    comes_whole = upstream.endswith("gemini")
    assert [call.pieces > (0 if comes_whole else 1) for call in seen.calls] == [True, True]


@every_upstream
@every_client
def test_tool_calls_come_whole(batch: Batch, client: str, upstream: str) -> None:
    seen = of(batch, client, upstream, "tools_whole")
    assert [call.what for call in seen.calls] == [call.what for call in CALLS]
    assert seen.finish == "tool_calls"


@every_scripted
@every_client
def test_the_tools_arrive(batch: Batch, client: str, upstream: str) -> None:
    assert batch.told[client, upstream, "tools"].tools == {tool.name: tool.schema for tool in TOOLS}


@every_scripted
@every_client
def test_the_results_of_tools_arrive_with_their_calls(batch: Batch, client: str, upstream: str) -> None:
    assert of(batch, client, upstream, "answered").text == HELLO
    told = batch.told[client, upstream, "answered"]
    assert (told.system, told.calls) == (SYSTEM, CALLS)
    assert told.results == tuple((call.id, result) for call, result in zip(CALLS, RESULTS, strict=True))


@every_aimock
@every_client
def test_a_conversation_is_understood_by_aimock(batch: Batch, client: str, upstream: str) -> None:
    assert of(batch, client, upstream, "answered").text == HELLO
    messages = batch.understood[client, upstream, "answered"].body["messages"]
    assert (messages[0]["role"], words(messages[0])) == ("system", SYSTEM)
    assert [call["id"] for message in messages for call in message.get("tool_calls", ())] == [call.id for call in CALLS]
    told = [(message["tool_call_id"], words(message)) for message in messages if message["role"] == "tool"]
    is_object = upstream == "aimock_gemini"  # Google's results are objects
    results = [msgspec.json.encode({"output": result}).decode() if is_object else result for result in RESULTS]
    assert told == list(zip([call.id for call in CALLS], results, strict=True))


@every_upstream
@every_client
def test_an_answer_keeps_to_a_schema(batch: Batch, client: str, upstream: str) -> None:
    assert of(batch, client, upstream, "structured").value == {"city": "Paris", "unit": "c"}


@every_scripted
@every_client
def test_the_schema_arrives(batch: Batch, client: str, upstream: str) -> None:
    told = batch.told[client, upstream, "structured"].schema
    assert {**CITY, **(told or {})} == CITY  # Vercel's `ai` leaves out what it cannot read
    assert told is not None


@every_upstream
@every_client
def test_a_picture_is_answered(batch: Batch, client: str, upstream: str) -> None:
    assert of(batch, client, upstream, "image").text == HELLO


@every_scripted
@every_client
def test_the_picture_arrives(batch: Batch, client: str, upstream: str) -> None:
    assert batch.told[client, upstream, "image"].pictures == (PICTURE.address,)


@pytest.mark.parametrize("scenario", ["reasoning", "reasoning_whole"])
@every_upstream
@every_client
def test_what_was_thought_is_shown(batch: Batch, client: str, upstream: str, scenario: str) -> None:
    seen = of(batch, client, upstream, scenario)
    is_unread = client == READS_REASONING_DETAILS and upstream in NAMES_REASONING_CONTENT
    assert (seen.reasoning, seen.text) == ("" if is_unread else THOUGHTS, BECAUSE)


@every_scripted
@every_client
def test_an_upstream_is_asked_to_reason(batch: Batch, client: str, upstream: str) -> None:
    told = batch.told[client, upstream, "reasoning"]
    assert told.effort is not None or told.budget is not None


@pytest.mark.parametrize("scenario", ["stream", "whole", "tools"])
@every_upstream
@every_client
def test_usage_is_told(batch: Batch, client: str, upstream: str, scenario: str) -> None:
    if (upstream, scenario) == ("scripted_openrouter", "stream"):
        expected = Spent(SPENT.input, SPENT.output)  # the one that tells its cost instead
    else:
        expected = spent(upstream)
    assert known(of(batch, client, upstream, scenario).usage) == expected


def test_openrouters_own_provider_package_reads_the_cost(batch: Batch) -> None:
    assert of(batch, "ai_openrouter", "scripted_openrouter", "stream").cost == COST


@pytest.mark.parametrize("scenario", ["stream", "whole"])
def test_openrouters_own_provider_package_reads_who_served_it(batch: Batch, scenario: str) -> None:
    """The row's name, which is its label where it has none."""
    assert of(batch, "ai_openrouter", "scripted_anthropic_messages", scenario).provider == "scripted_anthropic_messages"


@every_client
def test_a_model_that_nobody_serves_is_not_found(batch: Batch, client: str) -> None:
    error = batch.seen[client, "scripted_openai_chat", "unknown"].error
    assert error is not None
    assert error.status == 404
    assert error.request_id
    assert "nobody-serves-this" in error.message


@every_upstream
@every_client
def test_a_limit_is_told_with_when_to_come_back(batch: Batch, client: str, upstream: str) -> None:
    error = batch.seen[client, upstream, "limited"].error
    assert error is not None
    assert (error.status, error.retry_after) == (429, str(RETRY_AFTER_S))


@pytest.mark.parametrize(
    ("upstream", "scenario"),
    [
        *((upstream, scenario) for upstream in SCRIPTED for scenario in ("broken", "cut")),
        *((upstream, "cut") for upstream in AIMOCK),
    ],
)
@every_client
def test_an_answer_that_breaks_off_is_an_error_after_what_came_of_it(
    batch: Batch, client: str, upstream: str, scenario: str
) -> None:
    seen = batch.seen[client, upstream, scenario]
    assert seen.text.startswith("Bonjo")
    assert seen.finish == ""
    assert seen.error is not None
    assert seen.error.status is None
    assert upstream in seen.error.message or "was lost in the middle" in seen.error.message


@every_upstream
@every_client
def test_an_upstream_is_closed_when_its_client_leaves(batch: Batch, client: str, upstream: str) -> None:
    assert batch.seen[client, upstream, "leave"].text != ""
    assert 0 <= batch.closed[client, upstream, "leave"] < CANCEL_S
