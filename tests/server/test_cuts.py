"""However the bytes of requests are cut, they are the same requests, and their answers the same bytes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from server.hostile import corpus
from server.wire import answer, body_of, get, heard, post, serving, without_date
from sizes import CUTS

CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST") + b"3;a=b\r\nabc\r\n70\r\n" + b"x" * 112 + b"\r\n0\r\n"
KINDS = (
    get("/plain"),
    get("/head", method="HEAD"),
    post(b"hello"),
    post(b"x" * 200_000),
    CHUNKED + b"\r\n",
    CHUNKED + b"X-Trailer: 1\r\n\r\n",
    b"\r\n" + get("/after-an-empty-line"),
    get("/upgrade", "Connection: Upgrade", "Upgrade: websocket"),
    post(b"hello", "Connection: Upgrade", "Upgrade: h2c"),
)
ENDS = (
    b"",
    get("/last", "Connection: close") + get("/unread"),
    get("/old", version="1.0"),
    *corpus("/hidden").values(),
)


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """What was asked, and how much came with it."""
    body = await body_of(receive)
    await answer(send, b"<%b %d>" % (scope["raw_path"], len(body)))


@pytest.mark.parametrize("seed", range(CUTS))
async def test_cuts_change_nothing(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same cuts every time
    data = b"".join(dice.choices(KINDS, k=dice.randrange(1, 5))) + dice.choice(ENDS)
    cuts = sorted(dice.randrange(1, len(data)) for _ in range(dice.choice([1, 2, 5, 20])))
    answers: list[bytes] = []
    async with serving(tell) as it:
        for places in ([], cuts):
            async with it.client() as client:
                hearing = asyncio.create_task(heard(client))
                for begin, end in zip([0, *places], [*places, len(data)], strict=True):
                    client.writer.write(data[begin:end])
                    await asyncio.sleep(0.002 if dice.random() < 0.5 else 0)
                answers.append(without_date(await hearing))
    assert answers[0] == answers[1]
