"""The front: every request passes here. Host and Origin checks, request id, CORS, access, and Problem -> response."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from trunkline.core.catalog import LOOPBACK_NAMES
from trunkline.core.problem import Kind, Problem, Source, forget_frames, invalid
from trunkline.edge.request import Answer, ClientLeft, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trunkline.access.keys import Keys
    from trunkline.core.caller import Caller
    from trunkline.edge.request import App, Receive, Scope, Send

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
COOKIE: Final = "trunkline_session"
JSON: Final = "application/json"

MAX_REMEMBERED_HOSTS: Final = 64
"""Host headers that were found to be ours, each port a name of its own: the check need not be made again."""

ALLOW_METHODS: Final = b"GET, POST, PUT, DELETE, OPTIONS"
ALLOW_HEADERS: Final = (
    b"content-type, authorization, idempotency-key, x-api-key, x-request-id, x-session-id, x-trunkline-policy,"
    b" x-trunkline-receipt, x-trunkline-timeout,"
    b" anthropic-beta, anthropic-dangerous-direct-browser-access, anthropic-version, http-referer, openai-beta,"
    b" openai-organization, openai-project, user-agent, x-goog-api-client, x-goog-api-key, x-stainless-arch,"
    b" x-stainless-helper, x-stainless-helper-method, x-stainless-lang, x-stainless-os, x-stainless-package-version,"
    b" x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout, x-title"
)
"""Ours, and those that the vendors' clients send out of a page."""
EXPOSE_HEADERS: Final = (
    b"x-session-id, x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests,"
    b" x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens,"
    b" x-trunkline-model, x-trunkline-provider, x-trunkline-attempts, x-trunkline-cost,"
    b" x-trunkline-dropped, x-trunkline-estimated, idempotent-replayed"
)


class Access(Enum):
    """Who may use a route."""

    PUBLIC = auto()
    CALLER = auto()
    ADMIN = auto()


class Handler(Protocol):
    """What answers a route. May raise Problem as long as nothing was sent."""

    def __call__(self, request: Request, caller: Caller | None, receive: Receive, answer: Answer, /) -> Awaitable[None]:
        """Answer this request; `caller` is None on public routes."""
        ...


class ProblemWriter(Protocol):
    """How a route's clients are told of a Problem."""

    def __call__(self, problem: Problem, /, *, as_json: bool, request_id: str) -> bytes:
        """The body of the error response."""
        ...


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route: its methods, who may use it, and what answers.

    `write_problem` is set where errors have a form of their own; elsewhere they are the seed's, in JSON.
    `errors_stream`: an error is an event, unless the client accepts JSON alone. `is_quiet` keeps the route out of
    the log at its default level.
    """

    methods: frozenset[str]
    access: Access
    handler: Handler
    write_problem: ProblemWriter | None = None
    errors_stream: bool = False
    is_quiet: bool = False


class Responses(Protocol):
    """Is told of every response that no Record tells of."""

    def responded(
        self, request_id: str, method: str, route: str, status: int, total_ms: float, /, *, is_quiet: bool
    ) -> None:
        """Take one finished response."""
        ...


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """By which names this server may be called, and from which origins' pages."""

    hosts: frozenset[str]
    origins: frozenset[str]


class Front:
    """The outermost ASGI app. Deny by default: a path that no route names is 404.

    Owns the names by which it was rightly called. In `routes` a path that ends in `/` stands for all below it; the
    longest that fits counts.
    """

    def __init__(
        self,
        *,
        routes: Mapping[str, Route],
        neighbours: Neighbours,
        keys: Keys,
        responses: tuple[Responses, ...],
        is_draining: Callable[[], bool],
        write_problem: ProblemWriter,
    ) -> None:
        self._routes = routes
        prefixes = [(path, route) for path, route in routes.items() if path.endswith("/") and path != "/"]
        self._prefixes = sorted(prefixes, key=lambda item: -len(item[0]))
        self._neighbours = neighbours
        self._called: set[str] = set()
        self._keys = keys
        self._responses = responses
        self._is_draining = is_draining
        self._write_problem = write_problem
        self._log = structlog.get_logger("trunkline.edge")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, whatever happens."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        request = Request(scope, loop)
        answer = Answer(send, request.channel)
        request_id = request.id.encode()
        # Anthropic's clients read the second name.
        answer.headers += ((b"x-request-id", request_id), (b"request-id", request_id), (b"vary", b"Origin"))
        route, name = self._find(request.path)
        try:
            self._check_call(request)
            if "origin" not in request.headers or not await self._check_origin(request, answer):
                await self._handled(request, route, receive, answer)
        except Problem as problem:
            await self._tell(problem, request, route, answer)
            forget_frames(problem)
        except ClientLeft:
            answer.status = 499
        except Exception:  # noqa: BLE001 - the one blanket: a fault of ours is told, not dropped
            self._log.exception("unexpected fault", request_id=request.id, route=name)
            problem = Problem(Kind.INTERNAL, f"The router failed. Its log tells why, under {request.id}.")
            await self._tell(problem, request, route, answer)
        finally:
            if not request.is_recorded:
                total_ms = (loop.time() - request.started) * 1000
                is_quiet = route is not None and route.is_quiet
                for sink in self._responses:
                    sink.responded(request.id, request.method, name, answer.status or 499, total_ms, is_quiet=is_quiet)

    def _find(self, path: str) -> tuple[Route | None, str]:
        """The route of this path, and its name for log and metrics (never the client's own words)."""
        if (route := self._routes.get(path)) is not None:
            return route, path
        for prefix, route in self._prefixes:
            if path.startswith(prefix):
                return route, prefix + "*"
        return None, "unknown"

    def _check_call(self, request: Request) -> None:
        """Whether it is meant for us."""
        if request.repeated:
            raise invalid(f"The header `{request.repeated}` comes more than once.")
        host = request.headers.get("host", "")
        if host not in self._called:
            self._check_host(host)

    def _handled(self, request: Request, route: Route | None, receive: Receive, answer: Answer) -> Awaitable[None]:
        """The answer of the route's handler, where the route takes such a request, and from this caller."""
        if route is None:
            raise invalid("There is no such path here. /docs lists what there is.", kind=Kind.NOT_FOUND)
        if request.method not in route.methods:
            answer.headers.append((b"allow", ", ".join(sorted(route.methods)).encode()))
            raise invalid(f"{request.method[:20]} is not a method of this path.", kind=Kind.METHOD_NOT_ALLOWED)
        if request.method not in BODILESS:
            media_type = request.headers.get("content-type", "")
            if media_type != JSON and media_type.partition(";")[0].strip().lower() != JSON:
                raise invalid(
                    "Send the body as JSON: `content-type: application/json`.", kind=Kind.UNSUPPORTED_MEDIA_TYPE
                )
            if request.headers.get("content-encoding", "identity").lower() != "identity":
                raise invalid("Send the body without a content-encoding.", kind=Kind.UNSUPPORTED_MEDIA_TYPE)
        return route.handler(request, self._admit(request, route), receive, answer)

    def _admit(self, request: Request, route: Route) -> Caller | None:
        if route.access is Access.PUBLIC:
            return None
        caller = self._keys.authorise(request.credential, request.cookie(COOKIE))
        if route.access is Access.ADMIN and not caller.is_admin:
            raise invalid("This is for the administrator.", kind=Kind.FORBIDDEN)
        if route.access is Access.CALLER and self._is_draining():
            raise Problem(
                Kind.DRAINING, "The router is shutting down. Try again.", source=Source.ROUTER, retry_after_s=1
            )
        return caller

    def _check_host(self, host: str) -> None:
        """S04, S11: a page of a foreign name that resolves to this address must not reach us."""
        try:
            parts = urlsplit(f"//{host}")
            name, is_plain = parts.hostname, not (parts.path or parts.query or parts.fragment or parts.username)
            is_plain = is_plain and (parts.port is None or parts.port > 0)
        except ValueError:
            name, is_plain = None, False
        if not is_plain or name is None or (name not in LOOPBACK_NAMES and name not in self._neighbours.hosts):
            raise invalid(
                "This server is not called by that name. TRUNKLINE_ALLOWED_HOSTS lists more names.",
                kind=Kind.MISDIRECTED,
            )
        if len(self._called) < MAX_REMEMBERED_HOSTS:
            self._called.add(host)

    async def _check_origin(self, request: Request, answer: Answer) -> bool:
        """CORS. Whether the request was a preflight, and is answered."""
        origin = request.headers["origin"]
        is_neighbour = origin.lower() in self._neighbours.origins
        if is_neighbour:
            answer.headers += (
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", EXPOSE_HEADERS),
            )
        is_ours = _place_of(origin) == request.headers.get("host", "").lower()
        is_preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        if (is_preflight or request.method not in SAFE) and not (is_neighbour or is_ours):
            raise invalid(
                "Pages of this origin may not call the router. FRONTEND_URL lists those that may.", kind=Kind.FORBIDDEN
            )
        if not is_preflight:
            return False
        await answer.whole(
            204,
            b"",
            b"",
            (b"access-control-allow-methods", ALLOW_METHODS),
            (b"access-control-allow-headers", ALLOW_HEADERS),
            (b"access-control-max-age", b"600"),
        )
        return True

    async def _tell(self, problem: Problem, request: Request, route: Route | None, answer: Answer) -> None:
        if answer.status is not None:
            return  # headers have left: the connection's end has to tell
        write = self._write_problem
        as_json = True
        if route is not None and route.write_problem is not None:
            write, as_json = route.write_problem, request.wants_json or not route.errors_stream
        if request.write_problem is not None:
            write = request.write_problem
        headers: list[tuple[bytes, bytes]] = [(b"cache-control", b"no-store")]
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, round(problem.retry_after_s))).encode()))
        if problem.kind is Kind.UNAUTHENTICATED:
            headers.append((b"www-authenticate", b"Bearer"))
        if problem.kind is Kind.DRAINING or not (request.is_read or request.method in BODILESS):
            # There is nothing more to be had here, or the rest of the body is still to come.
            headers.append((b"connection", b"close"))
        media_type = b"application/json" if as_json else b"text/event-stream"
        body = write(problem, as_json=as_json, request_id=request.id)
        await answer.whole(problem.status, body, media_type, *headers)


def _place_of(origin: str) -> str:
    """Host and port of an origin; nowhere for what is none, such as `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def asgi_handler(app: App) -> Handler:
    """A handler that hands the request on to an ASGI app; its state carries the Caller."""

    async def handle(request: Request, caller: Caller | None, receive: Receive, answer: Answer, /) -> None:
        scope = {**request.scope, "state": {**request.scope.get("state", {}), "caller": caller}}
        await app(scope, receive, answer.send)

    return handle
