"""What the tests of the reliability plan share: a router over several scripted providers, and what it has recorded."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from raw_http import RawClient, connected, request
from served import openrouter, serving
from trunkline.core.record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from served import Router
    from trunkline.core.resilience import RetryLimits
    from trunkline.upstream.scripted import ScriptedUpstream

LENIENT: Final = 4
"""The machine may be busy: a time that must hold for the answer to be right is asserted at four times its figure."""

_RECORD: Final = msgspec.msgpack.Decoder(Record)


@asynccontextmanager
async def routing(
    directory: Path,
    *upstreams: ScriptedUpstream | int,
    retries: RetryLimits | None = None,
    dialect: str = "openai_chat",
    toml: str = "",
    route: str = "",
) -> AsyncGenerator[Router]:
    """A router with one provider for each upstream, p0, p1 and so on, and a route `r` over the model m of each.

    An upstream that is a number is a port. `toml` comes before them, `route` is more of the route's table.
    """
    tables = [toml]
    for number, upstream in enumerate(upstreams):
        url = f"http://127.0.0.1:{upstream}/v1" if isinstance(upstream, int) else upstream.base_url
        tables.append(
            f'[providers.p{number}]\ndialect = "{dialect}"\nbase_url = "{url}"\napi_key = "env:KEY"\n'
            'models = [{ id = "m" }]\nquirks = { prefill = true }\n'
        )
    targets = ", ".join(f'"p{number}/m"' for number in range(len(upstreams)))
    tables.append(f'[models.r]\ntargets = [{targets}]\n{route}\n[aliases]\nseed = "r"\n')
    (directory / "trunkline.toml").write_text("\n".join(tables))
    settings = openrouter("http://127.0.0.1:9/v1", directory, {"KEY": "k"})
    async with serving(settings, retries=retries) as router:
        yield router


def records(router: Router) -> list[Record]:
    """Every Record of this router, oldest first."""
    kept: dict[Any, bytes] = router.app._recent._records
    return [_RECORD.decode(data) for data in kept.values()]


async def recorded(router: Router, count: int, timeout_s: float = 10) -> list[Record]:
    """So many Records, as soon as they are there. Raises TimeoutError."""
    await until(lambda: len(router.app._recent) >= count, timeout_s)
    return records(router)


async def until(holds: Callable[[], bool], timeout_s: float = 10) -> float:
    """Wait until this holds; how many seconds that took. Raises TimeoutError."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
    return clock() - begun


def completion(model: str = "r", *, stream: bool = True, content: str = "Hi", headers: tuple[str, ...] = ()) -> bytes:
    """A chat completion's request, as bytes."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]}
    return request("POST", "/v1/chat/completions", json.dumps(body).encode(), *headers)


@asynccontextmanager
async def asking(router: Router, data: bytes) -> AsyncGenerator[RawClient]:
    """A client that has sent this request, and reads what it likes of the answer."""
    async with connected(router) as client:
        await client.send(data)
        yield client


def in_flight(router: Router) -> int:
    """Requests that are being answered."""
    return router.app.snapshot()["gauges"]["in_flight"]
