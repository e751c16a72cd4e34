"""The `llm` command: starting it is slow, so each run asks for much at once, and two run side by side."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import pytest_asyncio

from acceptance.sdk.drivers.llm_cli import APIS, Llm, Ran
from acceptance.sdk.stage import VENDORS
from acceptance.sdk.talk import CALLS, HELLO, PIXEL, RESULTS, Picture, Spent
from acceptance.sdk.vendors.vendor import Answer, Told, halves
from trunkline.upstream.journal import Ending
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from pathlib import Path

    from acceptance.sdk.stage import Stage, Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

FUNCTIONS: Final = f"""
def get_weather(city: str, unit: str) -> str:
    "The weather in a city"
    return {RESULTS[0]!r}

def get_time(city: str, unit: str) -> str:
    "The time in a city"
    return {RESULTS[1]!r}
"""
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
PARIS: Final = {"city": "Paris"}
PICTURES: Final = (Picture(data=PIXEL).address, "https://example.test/a/cat.png")
SPENT: Final = Spent(input=120, output=75, cached=96, reasoning=32)
DEADLINE_S: Final = 2.0
OBJECTS: Final = [*product(("chat",), VENDORS), ("responses", "gemini")]
"""Where an object is asked for; the library inside is OpenAI's, which is asked for objects everywhere."""

every_api = pytest.mark.parametrize("api", APIS)
each_vendor = pytest.mark.parametrize("name", VENDORS)


class Run(msgspec.Struct, frozen=True):
    """One run, and what reached the vendor in it, oldest first."""

    ran: Ran
    told: list[Told]


class Runs(msgspec.Struct, frozen=True):
    """What was run before the tests: a conversation with tools that streams, an object that comes whole, and more."""

    talks: dict[tuple[str, str], Run]
    objects: dict[tuple[str, str], Run]
    unknown: Ran
    listed: Ran


def answered(told: Told) -> Answer:
    """What a vendor answers: an object where a schema is given, calls where tools are, words after their results."""
    if told.schema is not None:
        return Answer(text=(json.dumps(PARIS),), spent=SPENT)
    if told.tools and not told.results:
        return Answer(thoughts=("Two ", "cities."), calls=CALLS, finish="tools")
    return Answer(text=halves(HELLO), spent=SPENT)


def talk(picture: Path) -> list[str]:
    """The arguments of a conversation with tools, pictures and some thinking."""
    pictures = ["-a", str(picture), "--at", PICTURES[1], "image/png"]
    return ["-n", "-u", *pictures, "-o", "reasoning_effort", "low", "--functions", FUNCTIONS, "Which weather?"]


def installed(stage: Stage, directories: pytest.TempPathFactory) -> Llm:
    """An installation that knows all of these tests' models."""
    names = [f"{name}/{kind}-{api}" for name in VENDORS for kind in ("talk", "object", "other") for api in APIS]
    return Llm(directories.mktemp("llm"), stage.router.url, [*names, "nobody-serves-this"])


@pytest.fixture(scope="module")
def llm(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Llm:
    return installed(stage, tmp_path_factory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(stage: Stage, llm: Llm, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    picture = tmp_path_factory.mktemp("pictures") / "pixel.png"
    picture.write_bytes(PIXEL)
    for vendor in stage.vendors.values():
        vendor.decide(answered)
    free: asyncio.Queue[Llm] = asyncio.Queue()
    for one in (llm, installed(stage, tmp_path_factory)):  # in one home, two runs at once would spoil its database
        free.put_nowait(one)

    async def run(*arguments: str) -> Ran:
        one = await free.get()
        ran = await one.run(*arguments)
        free.put_nowait(one)
        return ran

    async def cell(kind: str, api: str, name: str, *arguments: str) -> Run:
        ran = await run("-m", f"{api}:{name}/{kind}-{api}", *arguments)
        return Run(ran, stage.vendors[name].told_for(f"{kind}-{api}"))

    structured = ["-n", "-u", "--no-stream", "--schema", json.dumps(SCHEMA), "Which city?"]
    async with asyncio.TaskGroup() as tasks:
        talks = {at: tasks.create_task(cell("talk", *at, *talk(picture))) for at in product(APIS, VENDORS)}
        objects = {at: tasks.create_task(cell("object", *at, *structured)) for at in OBJECTS}
        unknown = tasks.create_task(run("-m", "chat:nobody-serves-this", "-n", "Hi"))
        listed = tasks.create_task(run("openai", "endpoint", f"{stage.router.url}/v1", "--models"))
    return Runs(
        {at: task.result() for at, task in talks.items()},
        {at: task.result() for at, task in objects.items()},
        unknown.result(),
        listed.result(),
    )


@each_vendor
@every_api
async def test_text_streams_to_the_terminal(runs: Runs, api: str, name: str) -> None:
    run = runs.talks[api, name]
    assert (run.ran.code, run.ran.out.strip()) == (0, HELLO)
    assert all(told.stream for told in run.told)


@each_vendor
@every_api
async def test_tools_are_called_and_their_results_reach_the_vendor(runs: Runs, api: str, name: str) -> None:
    first, second = runs.talks[api, name].told
    assert set(first.tools) == {"get_weather", "get_time"}
    assert [call.what for call in second.calls] == [call.what for call in CALLS]
    assert second.results == tuple(zip([call.id for call in second.calls], RESULTS, strict=True))


@each_vendor
@every_api
async def test_pictures_reach_the_vendor(runs: Runs, api: str, name: str) -> None:
    assert runs.talks[api, name].told[0].pictures == PICTURES


@each_vendor
@every_api
async def test_the_effort_reaches_the_vendor(runs: Runs, api: str, name: str) -> None:
    assert [told.effort for told in runs.talks[api, name].told] == ["low", "low"]


@pytest.mark.parametrize(("api", "name"), OBJECTS)
async def test_the_schema_reaches_the_vendor_and_the_object_the_terminal(runs: Runs, api: str, name: str) -> None:
    run = runs.objects[api, name]
    assert (run.ran.code, json.loads(run.ran.out)) == (0, PARIS)
    assert [told.schema for told in run.told] == [SCHEMA]
    assert not run.told[0].stream


@each_vendor
@every_api
async def test_usage_is_told_with_cached_and_reasoning_tokens(runs: Runs, api: str, name: str) -> None:
    run = runs.talks[api, name]
    counts = f"{SPENT.input} input, {SPENT.output} output"
    assert f"Token usage: {counts}" in run.ran.err
    assert f'"cached_tokens": {SPENT.cached}' in run.ran.err
    assert f'"reasoning_tokens": {SPENT.reasoning}' in run.ran.err


async def test_an_unknown_model_is_an_error_of_its_own(runs: Runs) -> None:
    assert runs.unknown.code == 1
    assert "No provider here serves the model" in runs.unknown.err


@pytest.mark.parametrize("vendor", ["gemini"], indirect=True)
async def test_an_answer_that_is_cut_is_an_error(llm: Llm, vendor: Vendor) -> None:
    vendor.play(vendor.dialect.stream(Answer(text=halves(HELLO), finish=None)).but(end=End.RST))
    ran = await llm.run("-m", f"responses:{vendor.name}/other-responses", "-n", "Hi")
    assert ran.code == 1
    assert "Error: " in ran.err


@pytest.mark.parametrize("vendor", ["anthropic_messages"], indirect=True)
async def test_an_interrupted_run_is_given_up_at_the_vendor(llm: Llm, vendor: Vendor) -> None:
    vendor.play(vendor.dialect.stream(Answer(text=("It rai", "ns."), finish=None)).but(end=End.STALL))
    async with llm.running("-m", f"chat:{vendor.name}/other-chat", "-n", "Hi") as process:
        assert process.stdout is not None
        assert (await process.stdout.read(6)).decode() == "It rai"
    (play,) = vendor.upstream.plays
    await vendor.upstream.wait_until(lambda: play.ending is not None, DEADLINE_S)
    assert play.ending is Ending.CANCELLED


async def test_the_models_are_listed(runs: Runs) -> None:
    assert runs.listed.code == 0
    assert "openrouter/auto" in runs.listed.out.splitlines()
