"""New signers for a client that runs: requests from now on are signed by them, and nobody who waits is let down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trunkline.core.catalog import Origin, Timeouts
from trunkline.dialects.dialect import WireRequest
from trunkline.upstream import script
from trunkline.upstream.client import Client

if TYPE_CHECKING:
    from trunkline.upstream.auth import Sender
    from trunkline.upstream.scripted import ScriptedUpstream


class Signer:
    """Signs with its name, once it may."""

    def __init__(self, name: str, *, may_sign: bool = True) -> None:
        self._name = name
        self.is_asked = asyncio.Event()
        self.may_sign = asyncio.Event()
        self.is_closed = False
        if may_sign:
            self.may_sign.set()

    async def headers(self, request: WireRequest, sender: Sender, deadline: float) -> tuple[tuple[str, str], ...]:
        """The name."""
        del request, sender, deadline
        self.is_asked.set()
        await self.may_sign.wait()
        return (("x-signed-by", self._name),)

    async def aclose(self) -> None:
        """Remember that."""
        self.is_closed = True


async def ask(client: Client, port: int, account: str = "a") -> None:
    deadline = asyncio.get_running_loop().time() + 5
    request = WireRequest(
        method="POST",
        origin=Origin("http", "127.0.0.1", port, account),
        path="/v1/chat/completions",
        headers=(),
        body=b"{}",
        allow_private=True,
    )
    stream = await client.send(request, timeouts=Timeouts(), deadline=deadline)
    await stream.read_all(deadline, 10_000)
    stream.close()


async def test_a_request_that_waits_for_the_old_signer_still_gets_its_signature(upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_whole("a"))
    old, new = Signer("old", may_sign=False), Signer("new")
    client = Client(authenticators={"a": old})
    waiting = asyncio.create_task(ask(client, upstream.port))
    await old.is_asked.wait()
    client.renew({"a": new})
    await ask(client, upstream.port)
    old.may_sign.set()
    await waiting
    await client.aclose()
    assert [request.headers["x-signed-by"] for request in upstream.requests] == ["new", "old"]
    assert (old.is_closed, new.is_closed) == (True, True)


async def test_an_account_that_is_gone_still_serves_the_requests_that_were_planned_for_it(
    upstream: ScriptedUpstream,
) -> None:
    upstream.play(script.chat_whole("a"))
    gone = Signer("gone")
    client = Client(authenticators={"a": gone})
    client.renew({"b": Signer("b")})
    await ask(client, upstream.port, "a")
    await ask(client, upstream.port, "b")
    await client.aclose()
    assert [request.headers["x-signed-by"] for request in upstream.requests] == ["gone", "b"]
