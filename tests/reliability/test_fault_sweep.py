"""T54: whatever await of a request's path is cut short, there is exactly one end, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import types
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from reliability.scene import records, routing, until
from trunkline.core.resilience import RetryLimits
from trunkline.routing.health import MAX_FIRST_TOKENS
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, MutableMapping
    from pathlib import Path

    from served import Router
    from trunkline.upstream.script import Script

BUSY = script.openrouter_error(503, "busy")
STREAM = script.chat_stream(["one ", "two"]).but(delay_first_s=0.005, delay_between_s=0.005)
SLOW = STREAM.but(delay_first_s=0.03)
WHOLE = script.chat_whole("one two").but(delay_headers_s=0.005, delay_first_s=0.005)
BROKEN = script.chat_stream(["one "], finish=None, done=False).but(end=script.End.RST, delay_between_s=0.005)

MOST_AWAITS = 400
"""A sweep that has not come to its end by then never will."""


class Fault:
    """Breaks a coroutine at its `at`th await: before it has waited, or after."""

    def __init__(self, at: int, error: BaseException, *, has_waited: bool) -> None:
        self.at = at
        self.error = error
        self.has_waited = has_waited
        self.awaits = 0

    @types.coroutine
    def inject(self, running: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Drive it, as a task does."""
        thrown: BaseException | None = None
        while True:
            try:
                waiting = running.send(None) if thrown is None else running.throw(thrown)
            except StopIteration:
                return
            self.awaits += 1
            thrown = None
            if self.awaits != self.at or self.has_waited:
                try:
                    yield waiting
                except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                    thrown = error
                    continue
            elif waiting is not None:
                waiting._asyncio_future_blocking = False  # nobody waits for it after all
            if self.awaits == self.at:
                thrown = self.error


def scope_of(path: str) -> dict[str, Any]:
    """A request as an ASGI server hands it on."""
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}


class Client:
    """The ASGI server's side of one request, whose every call takes a turn of the loop."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body: bytes | None = json.dumps(body).encode()
        self.sent = b""

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.sent += message.get("body", b"")


def ends(router: Router) -> int:
    """How many requests have come to an end that somebody is told of: in a Record or, before it is one, a response."""
    return len(records(router)) + sum(router.app._meter._responses.values())


def left_behind(router: Router, *upstreams: ScriptedUpstream) -> dict[str, int]:
    """What is still held for requests that are over."""
    app = router.app
    client, health = app._client, app._inference._gateway.failover._health
    return {
        "places": app._inference._places.taken,
        "exchanges": len(app._running),
        "bodies": app._ops._bodies.held_bytes,
        "connections in use": client.open_connections - client.idle_connections,
        "plays": sum(upstream.active for upstream in upstreams),
        "attempts": sum(known.in_flight for known in health._targets.values()),
    }


SCENES: dict[str, tuple[dict[str, Any], str, list[Script], list[Script]]] = {
    "a stream": ({"stream": True}, "", [STREAM], []),
    "a whole answer": ({"stream": False}, "", [WHOLE], []),
    "a fallback": ({"stream": True}, "", [BUSY], [STREAM]),
    "a retry after a pause": ({"stream": False}, "", [BUSY, BUSY, WHOLE], [BUSY]),
    "a resumption": ({"stream": True}, "resume = true", [BROKEN], [STREAM]),
    "a hedge": ({"stream": True}, "hedge = true", [SLOW], [STREAM]),
    "a hedge that loses": ({"stream": True}, "hedge = true", [STREAM], [SLOW]),
}


def teach(router: Router) -> None:
    """Let the router have seen so many quick answers that it asks a second target as soon as it may."""
    failover, now = router.app._inference._gateway.failover, asyncio.get_running_loop().time()
    for known in failover._health._targets.values():
        known.first_tokens.extend([0.001] * MAX_FIRST_TOKENS)
    _, hedges = failover._budgets(now)
    for _ in range(20):
        hedges.earn(now)


@pytest.mark.parametrize("has_waited", [False, True], ids=["before it waits", "after"])
@pytest.mark.parametrize("error", [asyncio.CancelledError, OSError])
@pytest.mark.parametrize("scene", SCENES)
async def test_every_await_of_a_request_may_fail(
    tmp_path: Path, scene: str, error: type[BaseException], *, has_waited: bool
) -> None:
    more, route, first, second = SCENES[scene]
    body = {"model": "r", "messages": [{"role": "user", "content": "Hi"}], **more}
    retries = RetryLimits(attempts=3, backoff_s=0.002, reserve_per_s=1e6, concurrent=100)
    # A connection whose wait was broken is asked for in vain until its time is up: that need not be long.
    never = "[breaker]\nconsecutive = 100000\nleast = 100000\n[timeouts]\nconnect_s = 0.2\n"
    async with (
        AsyncExitStack() as logs,
        ScriptedUpstream() as p0,
        ScriptedUpstream() as p1,
        routing(tmp_path, p0, p1, retries=retries, toml=never, route=route) as router,
    ):
        logs.enter_context(capture_logs())  # a fault of ours is logged with its traceback, which takes its time
        tasks = len(asyncio.all_tasks())
        at, client = 0, Client(body)
        for at in range(1, MOST_AWAITS):
            p0.play(*first)
            p1.play(*second)
            teach(router)
            client = Client(body)
            fault = Fault(at, error(), has_waited=has_waited)
            running = router.app(scope_of("/v1/chat/completions"), client.receive, client.send)
            (outcome,) = await asyncio.gather(asyncio.create_task(driven(fault, running)), return_exceptions=True)
            assert outcome is None or isinstance(outcome, error), f"await {at} of {scene}"
            assert ends(router) == at, f"await {at} of {scene}"
            try:
                await until(lambda: not any(left_behind(router, p0, p1).values()), 5)
                await until(lambda: len(asyncio.all_tasks()) - p0.active - p1.active <= tasks, 5)
            except TimeoutError:
                pytest.fail(f"await {at} of {scene} left {left_behind(router, p0, p1)}")
            if fault.awaits < at:
                break
        assert 5 < at < MOST_AWAITS - 1
        assert client.sent
        if "hedge" in scene:
            assert max(len(record.attempts) for record in records(router)) >= 2


async def driven(fault: Fault, running: Coroutine[Any, Any, None]) -> None:
    """The request's task."""
    await fault.inject(running)
