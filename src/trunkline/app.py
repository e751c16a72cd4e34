"""The composition root: settings -> objects -> one process's ASGI app. The only place that names concrete classes."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from base64 import b64decode
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.access.keys import Keys
from trunkline.access.quota import Unlimited
from trunkline.core.call import Operation
from trunkline.core.problem import Kind, Problem
from trunkline.core.record import Record
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress
from trunkline.dialects.gemini.embeddings import GeminiEmbeddings
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress
from trunkline.dialects.openai_chat.completions import OpenAICompletionsIngress
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_chat.embeddings import OpenAIEmbeddings
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.simple import Simple
from trunkline.edge.admin import Admin, Reloaded
from trunkline.edge.api import Api
from trunkline.edge.body import Bodies, BodyLimits
from trunkline.edge.explain import Explain
from trunkline.edge.idempotency import Idempotency
from trunkline.edge.inference import SHUTTING_DOWN, Inference, Running, StreamTimes
from trunkline.edge.middleware import Front, Neighbours, asgi_handler
from trunkline.edge.models import Models
from trunkline.edge.ops import Ops
from trunkline.edge.page import page_app
from trunkline.edge.places import Places, idle_for, places_for
from trunkline.edge.problem_response import problem_json
from trunkline.edge.requests import Requests
from trunkline.edge.routes import MODEL_BASES, V1, admin_routes, dialect_routes, public, seed_routes
from trunkline.gateway.attempt import Attempter
from trunkline.gateway.failover import Failover
from trunkline.gateway.gateway import Gateway
from trunkline.gateway.off_loop import SHALLOW_BYTES, off_loop
from trunkline.routing.health import Health, Standing
from trunkline.routing.plan import Rules, plan
from trunkline.settings.reading import SettingsError
from trunkline.settings.values import compile_catalog, from_bytes
from trunkline.settings.waiting import Waiting, waiting_of, with_catalogue_of
from trunkline.telemetry import LogSink, Meter, Recent, Snapshot, Together, configure_logging, render
from trunkline.upstream.auth import authenticators
from trunkline.upstream.client import Client, ClientLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trunkline.core.catalog import Catalog, Target
    from trunkline.core.record import Sink
    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.middleware import Route
    from trunkline.edge.request import Receive, Scope, Send
    from trunkline.routing.explanation import Explanation
    from trunkline.routing.plan import Plan, Wanted
    from trunkline.settings.values import Server, Settings
    from trunkline.store.db import Database
    from trunkline.store.history import History
    from trunkline.store.saved_answers import SavedAnswers

    Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]

SWITCH_S: Final = 0.001
"""How often threads take turns: what a large body costs in another thread delays the event loop by no more than this
and one step of that work."""

STOP_S: Final = 5.0
"""How long what is still to be written may take once everything else has ended."""

EMBEDDERS: Final = {"openai_chat": OpenAIEmbeddings(), "gemini": GeminiEmbeddings()}
"""By the dialect of the providers that have them."""

COUNTERS: Final = {egress.name: egress for egress in (AnthropicMessages(), Gemini())}
EGRESSES: Final = {**{egress.name: egress for egress in (OpenAIChat(), OpenAIResponses())}, **COUNTERS}

INGRESSES: Final[Mapping[str, Ingress]] = {
    "/chat/completions": OpenAIChatIngress(),
    "/responses": OpenAIResponses(),
    "/completions": OpenAICompletionsIngress(),
    "/embeddings": OpenAIEmbeddings(),
    "/messages": AnthropicMessagesIngress(),
    "/messages/count_tokens": AnthropicMessagesIngress(Operation.COUNT),
}
"""By their paths below a base."""

MAX_SESSION_BODY: Final = 1024 * 1024

DESCRIPTORS: Final = 1_000_000
"""What a process is taken to have where the system sets no limit."""


class Application:
    """One process's router. Owns every object of it, and whether it is draining.

    `start` before the first request; to end: `begin_drain`, wait for `drained`, `cut` what is left, `stop`. `reread`
    gives the settings as they are now, for a process that has no parent to ask; it raises SettingsError.
    """

    def __init__(
        self, settings: Settings, *, keys: Keys | None = None, reread: Callable[[], Settings] | None = None
    ) -> None:
        server = settings.server
        self._settings = settings
        self._catalog = compile_catalog(settings)
        self._reread = reread
        self._is_draining = False
        self._active = 0
        self._idle = asyncio.Event()
        self._ask: Ask | None = None
        most = _most_at_once(server)
        self._client = Client(
            limits=ClientLimits(connections_per_origin=most, idle=idle_for(most)),
            authenticators=authenticators(settings.providers),
        )
        self._meter = Meter()
        self._recent = Recent()
        self._running = Running()
        self._database, self._history = _remembering(settings)
        keys = keys or Keys(server.admin_secret, is_open=server.open, clock=time.time)
        log = LogSink()
        sinks: tuple[Sink, ...] = (Together(self._meter, log, self._recent),)
        health = Health(settings.health, settings.breaker, chance=random.random)
        planner = _planner(settings, health)
        gateway = _gateway(settings, self._client, health, planner, history=self._history, sinks=sinks)
        bodies = _bodies(server)
        self._idempotency = _keeping_answers(server)
        self._inference = Inference(
            gateway,
            self._current,
            bodies,
            self._running,
            StreamTimes(early_headers_s=server.early_headers_s, keep_alive_s=server.keep_alive_s),
            places=Places(most),
            idempotency=self._idempotency,
            now=time.time,
        )
        self._ops = Ops(
            clock=time.monotonic,
            now=time.time,
            is_draining=lambda: self._is_draining,
            metrics=self._metrics,
            keys=keys,
            bodies=bodies,
        )
        self._explain = _explain(planner, self._current)
        self._admin = Admin(self._explain, self._reloaded, bodies)
        self._front = Front(
            routes=self._routes(server),
            neighbours=_neighbours(server),
            keys=keys,
            responses=(self._meter, log),
            is_draining=lambda: self._is_draining,
            write_problem=problem_json,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        if self._is_draining:
            # Not counted: a flood of requests that are refused must not hold up the end.
            await self._front(scope, receive, send)
            return
        self._active += 1
        try:
            await self._front(scope, receive, send)
        finally:
            self._active -= 1
            if self._is_draining and not self._active:
                self._idle.set()

    def attach(self, ask: Ask) -> None:
        """Give the way to ask the whole router for something: this process is one of several."""
        self._ask = ask

    async def answer(self, op: str, args: Mapping[str, Any]) -> Any:
        """What is asked of this process alone, by way of its parent: JSON-able. Raises Problem."""
        match op:
            case "record":
                record = self._recent.find(args["id"], args["user"])
                return None if record is None else msgspec.to_builtins(record)
            case "explain":
                body = args["body"].encode()
                explanation = await off_loop(len(body) >= SHALLOW_BYTES, self._explain.explain, args["route"], body)
                return msgspec.to_builtins(explanation)
            case "reload":
                return msgspec.to_builtins(self.take(from_bytes(b64decode(args["settings"]))))
            case _:
                raise Problem(Kind.INTERNAL, f"A worker does not know {op[:100]}.")

    def take(self, settings: Settings, *, is_replaceable: bool = True) -> Waiting:
        """Swap the catalogue for that of these settings, unless a new worker can come and would take more of them.

        Requests that are under way keep theirs; connections and what is known of the targets stay.
        """
        waiting = waiting_of(self._settings, settings)
        if is_replaceable and waiting.new_worker:
            return waiting
        catalog = compile_catalog(settings)
        kept = {provider.name for provider in self._settings.providers if provider in settings.providers}
        self._client.renew(authenticators(one for one in settings.providers if one.name not in kept))
        self._catalog = catalog
        self._settings = with_catalogue_of(self._settings, settings)
        return waiting

    async def start(self) -> None:
        """Open what needs opening. Raises Problem UNAVAILABLE for a database that is not migrated."""
        sys.setswitchinterval(SWITCH_S)
        if self._history is not None and self._database is not None:
            from trunkline.store.migrate import check_migrated  # noqa: PLC0415

            await check_migrated(self._database)
            await self._history.start()
        if self._idempotency is not None and await asyncio.to_thread(_answers_file(self._settings.server).exists):
            await self._idempotency.start()

    def begin_drain(self) -> None:
        """From now on new requests are refused; running ones go on."""
        self._is_draining = True

    async def drained(self) -> None:
        """Return when no request is running."""
        if self._active:
            await self._idle.wait()

    def cut(self) -> None:
        """End every running stream with an error event that says why."""
        self._running.interrupt(SHUTTING_DOWN)

    async def stop(self) -> None:
        """Write what is still to be written, for a bounded time, and close everything."""
        self._is_draining = True
        if self._idempotency is not None:
            await self._idempotency.aclose(STOP_S)
        if self._history is not None:
            await self._history.aclose(STOP_S)
        if self._database is not None:
            await self._database.aclose()
        await self._client.aclose()

    def snapshot(self) -> dict[str, Any]:
        """This process's numbers, as plain JSON values."""
        gauges: dict[str, float] = {
            "in_flight": len(self._running),
            "upstream_connections": self._client.open_connections,
            "upstream_connections_idle": self._client.idle_connections,
            "history_pending": self._history.pending if self._history else 0,
        }
        counters = {"history_lost": self._history.lost if self._history else 0}
        return msgspec.to_builtins(self._meter.snapshot(gauges, counters))

    async def _metrics(self) -> bytes:
        answers = await self._ask("metrics", {}) if self._ask else [self.snapshot()]
        snapshots = [msgspec.convert(answer, Snapshot) for answer in answers]
        # Not here: a thousand series take 0.2 s, in which no stream would move.
        return await asyncio.to_thread(render, snapshots)

    def _current(self) -> Catalog:
        return self._catalog

    async def _find(self, request_id: str, user: str | None) -> Record | None:
        """The Record of a recent request, whichever worker answered it."""
        record = self._recent.find(request_id, user)
        if record is not None or self._ask is None:
            return record
        answers = await self._ask("record", {"id": request_id, "user": user})
        return next((msgspec.convert(answer, Record) for answer in answers if answer is not None), None)

    async def _reloaded(self) -> Reloaded:
        """Take over the configuration as it is now: in every worker, or in the one process that there is."""
        if self._ask is not None:
            return msgspec.convert(await self._ask("reload", {}), Reloaded)
        if self._reread is None:
            raise Problem(
                Kind.UNAVAILABLE, "This process was given its settings, and knows no place to read them anew."
            )
        try:
            waiting = self.take(await asyncio.to_thread(self._reread), is_replaceable=False)
        except SettingsError as error:
            return Reloaded(mistakes=tuple(error.mistakes))
        return Reloaded(needs_restart=(*waiting.new_worker, *waiting.restart))

    def _routes(self, server: Server) -> dict[str, Route]:
        api = Api(self._history, max_body_bytes=min(server.max_body_bytes, MAX_SESSION_BODY))
        page = page_app(Path(str(resources.files("trunkline.web"))))
        models, requests = Models(self._current), Requests(self._find)
        return {
            "/": public(asgi_handler(page)),
            **seed_routes(self._inference, Simple(), self._ops, api, page),
            **admin_routes(self._admin),
            **dialect_routes(self._inference, models, requests, INGRESSES, GeminiIngress()),
        }

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """For ASGI servers that have no supervisor of ours around them."""
        await receive()
        try:
            await self.start()
        except Problem as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _gateway(
    settings: Settings,
    client: Client,
    health: Health,
    planner: Callable[[Wanted], Plan],
    *,
    history: History | None,
    sinks: tuple[Sink, ...],
) -> Gateway:
    attempter = Attempter(
        client, EGRESSES, counters=COUNTERS, embedders=EMBEDDERS, max_event_bytes=settings.server.max_event_bytes
    )
    return Gateway(
        planner=planner,
        quota=Unlimited(),
        failover=Failover(attempter, health, settings.retries, chance=random.random),
        history=history,
        sinks=sinks,
    )


def _bodies(server: Server) -> Bodies:
    return Bodies(
        BodyLimits(max_bytes=server.max_body_bytes, budget_bytes=server.body_budget_bytes, stall_s=server.body_read_s)
    )


def _planner(settings: Settings, health: Health) -> Callable[[Wanted], Plan]:
    def standing(target: Target) -> Standing:
        return health.standing(target, time.monotonic())

    rules = Rules(
        offers={name: egress.offers for name, egress in EGRESSES.items()},
        standing=standing,
        chance=random.random,
        panic_share=settings.breaker.panic_share,
    )
    return partial(plan, rules=rules)


def _explain(planner: Callable[[Wanted], Plan], catalog: Callable[[], Catalog]) -> Explain:
    paths = {"/api/chat": Simple(), **{base + path: one for base in V1 for path, one in INGRESSES.items()}}
    return Explain(planner, catalog, paths, GeminiIngress(), tuple(f"{base}/models/" for base in MODEL_BASES))


def explain_unasked(settings: Settings, route: str, body: bytes) -> Explanation:
    """The plan of a request by the settings alone: no server is asked, and no target has been seen yet."""
    catalog = compile_catalog(settings)
    planner = _planner(settings, Health(settings.health, settings.breaker, chance=random.random))
    return _explain(planner, lambda: catalog).explain(route, body)


def _remembering(settings: Settings) -> tuple[Database, History] | tuple[None, None]:
    """Chat history, where it is on; its libraries take longer to import than the rest of the start."""
    if settings.chat_database_url is None:
        return None, None
    from trunkline.store.db import Database  # noqa: PLC0415
    from trunkline.store.history import History  # noqa: PLC0415

    database = Database(settings.chat_database_url)
    return database, History(database)


def _answers_file(server: Server) -> Path:
    return Path(server.data_dir) / "idempotency.sqlite3"


def _keeping_answers(server: Server) -> Idempotency | None:
    """What answers a key's request once, where that is on; the file is made, and its libraries come, with the first."""
    if not (server.idempotency_hours and server.data_dir):
        return None

    def open_store() -> SavedAnswers:
        from trunkline.store.saved_answers import SavedAnswers, make_file  # noqa: PLC0415

        file = _answers_file(server)
        make_file(file)
        return SavedAnswers(file, keep_s=server.idempotency_hours * 3600)

    return Idempotency(open_store)


def _most_at_once(server: Server) -> int:
    """How many requests are answered at once: what the operator says, but no more than there are descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = DESCRIPTORS
    possible = places_for(soft)
    return possible if server.max_in_flight is None else min(possible, server.max_in_flight)


def _neighbours(server: Server) -> Neighbours:
    hosts = {*server.allowed_hosts}
    if not server.is_loopback:
        hosts.add(server.host.lower())
    return Neighbours(hosts=frozenset(hosts), origins=frozenset(server.frontend_urls))


def build(settings: bytes) -> Application:
    """The app of a worker process, from the settings that its parent sent."""
    decoded = from_bytes(settings)
    configure_logging(decoded.server.log_level, decoded.server.log_format)
    return Application(decoded)
