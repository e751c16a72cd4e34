"""What every test of the walk needs: providers that are scripted upstreams, a request, a gateway, its records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from trunkline.access.quota import Quota, Unlimited
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Model, Provider, Target, split_base_url
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.gateway.attempt import Attempter
from trunkline.gateway.exchange import Exchange
from trunkline.gateway.failover import Failover
from trunkline.gateway.gateway import Gateway
from trunkline.routing.health import FRESH, Health
from trunkline.routing.plan import Plan, Step

if TYPE_CHECKING:
    from trunkline.core.record import Record
    from trunkline.dialects.dialect import Ingress
    from trunkline.gateway.relay import Outflow
    from trunkline.routing.breaker import State
    from trunkline.upstream.client import Client
    from trunkline.upstream.scripted import ScriptedUpstream


def target(name: str, upstream: ScriptedUpstream, **more: Any) -> Target:
    """A model of a provider that is this upstream."""
    origin, path = split_base_url(upstream.base_url)
    provider = Provider(
        name=name,
        label=name.title(),
        dialect="openai_chat",
        origin=origin,
        path=path,
        allow_private=True,
        **more,
    )
    return Target(provider, Model(id="m"))


def exchange_of(ingress: Ingress, body: bytes, *, route: str = "/api/chat", limit_s: float | None = None) -> Exchange:
    """One request, just arrived, of an anonymous caller."""
    return Exchange(
        id="r1",
        route=route,
        ingress=ingress,
        body=body,
        envelope=ingress.peek(body),
        caller=Caller(),
        catalog=Catalog(providers=()),
        clock=asyncio.get_running_loop().time,
        started=asyncio.get_running_loop().time(),
        limit_s=limit_s,
    )


class Reading:
    """A client that takes everything at once."""

    def __init__(self) -> None:
        self.is_full = False
        self.read = b""

    def write(self, data: bytes) -> None:
        self.read += data

    async def room(self) -> None:
        pass


class Walks:
    """A gateway whose plan is these targets, in this order; it keeps its records. `plan` is the plan's other fields."""

    def __init__(
        self,
        client: Client,
        *targets: Target,
        limits: RetryLimits | None = None,
        chance: float = 0.0,
        quota: Quota | None = None,
        max_event_bytes: int = 1 << 20,
        **plan: Any,
    ) -> None:
        self.targets = list(targets)
        self.plan = plan
        self.records: list[Record] = []
        self.health = Health(HealthLimits(), BreakerLimits(), chance=lambda: 0.0)
        attempter = Attempter(client, {"openai_chat": OpenAIChat()}, max_event_bytes=max_event_bytes)
        self.gateway = Gateway(
            planner=lambda _: Plan(tuple(Step(one, FRESH, None, "") for one in self.targets), **self.plan),
            quota=quota or Unlimited(),
            failover=Failover(attempter, self.health, limits or RetryLimits(), chance=lambda: chance),
            history=None,
            sinks=(self,),
        )

    def accept(self, record: Record) -> None:
        """A sink's part."""
        self.records.append(record)

    async def read(self, exchange: Exchange) -> bytes:
        """All that this request's client gets. Raises Problem."""
        client = Reading()
        await self.pour(exchange, client)
        return client.read

    async def pour(self, exchange: Exchange, client: Outflow) -> None:
        """The walk, to its end. Raises Problem; what the client got before it stays there."""
        async with self.gateway.open(exchange) as reply:
            if reply.body is not None:
                client.write(reply.body)
            else:
                await reply.pour(client)

    def state(self, place: int = 0) -> State:
        """Whether this target may be asked."""
        return self.health.standing(self.targets[place], asyncio.get_running_loop().time()).verdict.state

    def in_flight(self) -> list[int]:
        """How many attempts are under way at each target."""
        now = asyncio.get_running_loop().time()
        return [self.health.standing(one, now).in_flight for one in self.targets]
