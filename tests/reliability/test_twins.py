"""T16: of the requests that share an `Idempotency-Key` one asks, and all are told the same, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from raw_http import ask
from reliability.scene import completion, routing
from sizes import TWINS
from trunkline.core.problem import Kind, Problem
from trunkline.core.saved_answer import SavedAnswer
from trunkline.store.saved_answers import SavedAnswers, make_file
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

NAME, REQUEST = b"n" * 32, b"r" * 32
ANSWER = SavedAnswer(200, (("content-type", "application/json"),), b"{}")
KEYED = ("Idempotency-Key: k",)


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def kept(directory: Path, clock: Clock, **bounds: int) -> AsyncGenerator[SavedAnswers]:
    """The store as one worker has it."""
    file = directory / "answers.sqlite3"
    make_file(file)
    store = SavedAnswers(file, keep_s=24 * 3600, clock=clock, **bounds)
    await store.prepare()
    try:
        yield store
    finally:
        await store.aclose()


async def kind_of(store: SavedAnswers, name: bytes, request: bytes, claim: str) -> Kind:
    with pytest.raises(Problem) as caught:
        await store.claim(name, request, claim)
    return caught.value.kind


async def test_of_fifty_twins_one_is_answered_and_the_others_hear_that_it_is_under_way(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_whole("Hello").but(delay_headers_s=1.5))
    async with routing(tmp_path, upstream) as router:
        twin = completion(stream=False, headers=KEYED)
        answers = await asyncio.gather(*(ask(router, twin) for _ in range(TWINS)))
        assert Counter(status for status, _, _ in answers) == {200: 1, 409: TWINS - 1}
        assert {headers["retry-after"] for status, headers, _ in answers if status == 409} == {"1"}
        first = next(body for status, _, body in answers if status == 200)
        again = await asyncio.gather(*(ask(router, twin) for _ in range(TWINS)))
        assert {(status, body) for status, _, body in again} == {(200, first)}
    assert upstream.received == 1


async def test_of_twins_at_two_workers_one_has_the_claim(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock) as one, kept(tmp_path, clock) as other:
        claims = (store.claim(NAME, REQUEST, f"{number}") for number, store in enumerate([one, other] * 10))
        results = await asyncio.gather(*claims, return_exceptions=True)
        assert results.count(None) == 1
        assert all(isinstance(one, Problem) and one.kind is Kind.CONFLICT for one in results if one is not None)


async def test_the_claim_of_a_process_that_was_killed_is_free_within_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock) as store:
        assert await store.claim(NAME, REQUEST, "killed") is None
        clock.now += 30
        assert await kind_of(store, NAME, REQUEST, "twin") is Kind.CONFLICT
        clock.now += 30
        assert await store.claim(NAME, REQUEST, "next") is None
        assert not await store.save("killed", ANSWER)
        assert await store.save("next", ANSWER)


async def test_a_claim_that_is_renewed_stands_for_as_long_as_its_request_runs(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock) as store:
        await store.claim(NAME, REQUEST, "long")
        for _ in range(100):
            clock.now += 15
            await store.renew(["long"])
        assert await kind_of(store, NAME, REQUEST, "twin") is Kind.CONFLICT
        assert await kind_of(store, NAME, b"another", "twin") is Kind.UNPROCESSABLE


async def test_an_answer_is_kept_for_a_day_and_then_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    async with kept(tmp_path, clock) as store:
        await store.claim(NAME, REQUEST, "first")
        await store.save("first", SavedAnswer(200, (), b"canary of the body" * 100))
        clock.now += 24 * 3600 - 1
        assert await store.prune() == 0
        found = await store.claim(NAME, REQUEST, "later")
        assert found is not None
        assert found.status == 200
        clock.now += 2
        await store.prune()
        assert await store.claim(NAME, REQUEST, "after") is None
    assert b"canary of the body" not in (tmp_path / "answers.sqlite3").read_bytes()


@pytest.mark.parametrize("bounds", [{"max_answers": 3}, {"max_bytes": 300}])
async def test_beyond_the_bounds_the_oldest_go_first_and_claims_stay(tmp_path: Path, bounds: dict[str, int]) -> None:
    clock = Clock()
    async with kept(tmp_path, clock, **bounds) as store:
        await store.claim(b"under way", REQUEST, "live")
        for number in range(5):
            clock.now += 1
            await store.claim(b"%d" % number, REQUEST, f"{number}")
            await store.save(f"{number}", SavedAnswer(200, (), b"x" * 100))
        assert await store.prune() == 2
        assert await store.claim(b"2", REQUEST, "again") is not None
        assert await store.claim(b"1", REQUEST, "again") is None
        assert await kind_of(store, b"under way", REQUEST, "twin") is Kind.CONFLICT
