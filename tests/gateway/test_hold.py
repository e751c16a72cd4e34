"""What a request may cost is held from its plan to its end: settled where it was served, released where it was not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.walks import Reading, Walks, exchange_of, target
from trunkline.core.catalog import Model, Resume, Target
from trunkline.core.price import Price
from trunkline.core.problem import Kind, Problem, invalid
from trunkline.core.resilience import RetryLimits
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.upstream import script
from trunkline.upstream.script import End
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.access.quota import Hold
    from trunkline.core.caller import Caller
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client

PRICE = Price(input_nano=1_000_000, output_nano=2_000_000_000)
DEARER = Price(input_nano=1_000_000, output_nano=5_000_000_000)
ASKED: dict[str, Any] = {"model": "r", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}


class Book:
    """A quota, and its one hold, that writes down what is asked of it; `extensions` is how often it may be extended."""

    def __init__(self, extensions: int = 0) -> None:
        self.lines: list[object] = []
        self.extensions = extensions

    async def reserve(self, _: Caller, worst_case_nano: Callable[[], int | None], /) -> Hold:
        self.lines.append(("reserved", worst_case_nano()))
        return self

    def extend(self) -> bool:
        self.extensions -= 1
        self.lines.append("extended" if self.extensions >= 0 else "refused")
        return self.extensions >= 0

    def settle(self, cost_nano: int | None) -> None:
        self.lines.append(("settled", cost_nano))

    def release(self) -> None:
        self.lines.append("released")


def priced(one: Target, price: Price | None) -> Target:
    return msgspec.structs.replace(one, model=Model(id="m", price=price))


def asking(**more: Any) -> Exchange:
    body = msgspec.json.encode({**ASKED, **more})
    return exchange_of(OpenAIChatIngress(), body, route="/v1/chat/completions")


async def test_an_answer_is_settled_at_its_cost(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"], usage=(1_000, 10)))
    book = Book()
    await Walks(client, priced(target("one", upstream), PRICE), quota=book).read(asking(stream=True))
    assert book.lines == [("reserved", 2 + 200_000), ("settled", 1_000 + 20_000)]


async def test_the_worst_case_is_that_of_the_dearest_target(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"], usage=(1, 1)))
    book = Book()
    targets = [priced(target(name, upstream), price) for name, price in (("one", PRICE), ("two", DEARER))]
    await Walks(client, *targets, quota=book).read(asking(stream=True))
    assert book.lines[0] == ("reserved", 2 + 500_000)


async def test_without_a_price_the_worst_case_has_no_bound(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"], usage=(1, 1)))
    book = Book()
    await Walks(client, priced(target("one", upstream), None), quota=book).read(asking(stream=True))
    assert book.lines == [("reserved", None), ("settled", None)]


async def test_a_request_that_nobody_served_is_released(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_error(500, "down"))
    book = Book()
    walks = Walks(client, target("one", upstream), quota=book, limits=RetryLimits(attempts=0))
    with pytest.raises(Problem):
        await walks.read(asking(stream=True))
    assert book.lines[1:] == ["released"]


async def test_a_client_that_leaves_in_the_middle_pays_for_what_was_written(
    client: Client, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["12345678"], finish=None, done=False, usage=None).but(end=End.STALL))
    book = Book()
    walks = Walks(client, priced(target("one", upstream), PRICE), quota=book)
    reading = Reading()
    leaving = asyncio.create_task(walks.pour(asking(stream=True), reading))
    while b"12345678" not in reading.read:  # noqa: ASYNC110 - a client has no event for that
        await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert book.lines[1:] == [("settled", 1 + 4_000)]  # a token of "Hi", two of eight letters


async def test_what_may_not_be_reserved_is_asked_of_nobody(client: Client, upstream: ScriptedUpstream) -> None:
    class Spent(Book):
        async def reserve(self, _: Caller, worst_case_nano: Callable[[], int | None], /) -> Hold:
            raise invalid("The key has spent its budget.", kind=Kind.RATE_LIMITED)

    book = Spent()
    with pytest.raises(Problem):
        await Walks(client, target("one", upstream), quota=book).read(asking())
    assert (upstream.received, book.lines) == (0, [])


@pytest.mark.parametrize("extensions", [0, 1])
async def test_an_answer_goes_on_elsewhere_only_where_that_can_be_paid_for(
    client: Client, upstream: ScriptedUpstream, extensions: int
) -> None:
    upstream.play(script.chat_stream(["One "], finish=None, done=False, usage=None).but(end=End.RST))
    book = Book(extensions)
    async with ScriptedUpstream() as second:
        second.play(script.chat_stream(["two"], usage=(5, 1)))
        targets = [priced(target(name, one), PRICE) for name, one in (("one", upstream), ("two", second))]
        walks = Walks(client, *targets, quota=book, resume=Resume.INSTRUCT)
        try:
            await walks.read(asking(stream=True))
        except Problem:
            assert not extensions
        assert second.received == extensions
    assert book.lines[1] == ("extended" if extensions else "refused")
    assert [line for line in book.lines[2:] if line != "refused"] == [book.lines[-1]]
    assert book.lines[-1] not in {"released", "refused"}
