"""The router's own place on this machine: port, database, origins, page, descriptors."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from trunkline.core.catalog import LOOPBACK_NAMES, Origin, Timeouts
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.dialect import WireRequest
from trunkline.doctor.answers import ask
from trunkline.doctor.finding import failed, ok, settings_first, skipped, warning
from trunkline.store.db import Database
from trunkline.store.migrate import NotMigrated, check_migrated
from trunkline.supervisor.failure import CannotStart, PortTaken
from trunkline.supervisor.sockets import listen

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.doctor.finding import Finding
    from trunkline.doctor.sources import Reading
    from trunkline.settings.values import Server
    from trunkline.upstream.client import Client

HEALTH_S: Final = 3.0
"""How long whoever holds our port may take to say that it is a router."""

CLOSE_S: Final = 1.0
"""How long the database's connections may take to end."""

FEW_DESCRIPTORS: Final = 4096
"""A stream takes two, so fewer are felt at two thousand streams."""

LOOPBACK: Final = ("127.0.0.1", "::1")
EVERYWHERE: Final = frozenset({"localhost", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound
EXAMPLE: Final = "http://localhost:5173"


async def check_port(reading: Reading, client: Client) -> Finding:
    """Whether the router can listen where it should; a router that does so already is no fault."""
    settings = reading.knows("HOST", "PORT")
    if settings is None:
        return settings_first("port")
    server = settings.server
    try:
        (await listen(server.host, server.port)).close()
    except CannotStart as why:
        if isinstance(why, PortTaken) and await _is_router(server, client):
            return ok("port", f"Trunkline is already running on port {server.port}.")
        # Its message is what is the matter, then what to do.
        says, _, fix = str(why).partition(". ")
        fix = fix or "Choose another address or port: HOST=localhost PORT=3001"
        return failed("port", f"{says.rstrip('.')}.", fix)
    return ok("port", f"Port {server.port} of {server.host} is free." if server.port else "PORT=0: any free port.")


class _Health(msgspec.Struct):
    status: str
    timestamp: str
    uptime: float


async def _is_router(server: Server, client: Client) -> bool:
    """Whether everybody who answers on the port is a router of ours, and somebody does."""
    hosts = LOOPBACK if server.host in EVERYWHERE else (server.host,)
    answers = await asyncio.gather(*(_answers_as_router(Origin("http", host, server.port), client) for host in hosts))
    return True in answers and False not in answers


async def _answers_as_router(origin: Origin, client: Client) -> bool | None:
    """Whether a router answers here; None where nobody does."""
    request = WireRequest(method="GET", origin=origin, path="/health", headers=(), allow_private=True)
    try:
        status, headers, body = await ask(client, request, Timeouts(), HEALTH_S)
        health = msgspec.json.decode(body, type=_Health)
    except Problem as problem:
        return None if problem.kind is Kind.UNREACHABLE else False
    except (TimeoutError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    # The seed's server answers in this form as well; the request's id is ours.
    return status == 200 and health.status == "ok" and "x-request-id" in headers


async def check_history(reading: Reading) -> Finding:
    """Whether chat history's database answers, and has its tables."""
    check, variable = "history database", "CHAT_DATABASE_URL"
    settings = reading.knows(variable)
    if settings is None:
        return settings_first(check)
    if settings.chat_database_url is None:
        return skipped(check, f"Chat history is off; {variable} switches it on.")
    database = Database(settings.chat_database_url)
    try:
        return await _judge_database(database, check, variable)
    finally:
        await database.aclose(CLOSE_S)


async def _judge_database(database: Database, check: str, variable: str) -> Finding:
    try:
        label = database.address.label
    except Problem as problem:
        return failed(check, problem.message, f"Correct {variable}.")
    try:
        await check_migrated(database)
    except NotMigrated as why:
        return failed(check, why.message.removesuffix(" Run `trunkline migrate`."), "trunkline migrate")
    except Problem as problem:
        says = f"{label[0].upper()}{label[1:]} cannot be used ({problem.detail})."
        fix = f"Check that the server runs, and host, user, password, database and sslmode in {variable}."
        if database.is_sqlite:
            fix = f"Check that {variable} names a SQLite file that this user may read and write."
        return failed(check, says, fix)
    return ok(check, f"Chat history is on: {label} has its tables.")


def check_frontend(reading: Reading) -> list[Finding]:
    """Whether the origins of FRONTEND_URL can be what is meant."""
    check = "frontend"
    settings = reading.knows("FRONTEND_URL")
    if settings is None:
        return [settings_first(check)]
    origins = settings.server.frontend_urls
    doubts = [doubt for origin in origins if (doubt := _judge_origin(origin, settings.server)) is not None]
    if doubts:
        return [warning(check, f"FRONTEND_URL: {says}", fix) for says, fix in doubts]
    if not origins:
        return [ok(check, "In a browser, only the router's own page may call it.")]
    return [ok(check, f"Pages from {', '.join(origins)} may call the router.")]


def _judge_origin(origin: str, server: Server) -> tuple[str, str] | None:
    """What is doubtful about it, and what to do; None where nothing is."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if not host or not port:
        return f"{origin!r} is not an origin.", f"Write one such as {EXAMPLE}."
    if origin != f"{parts.scheme}://{parts.netloc}".lower():
        says = f"{origin} is more than an origin, so no page's origin equals it."
        return says, f"Write scheme, host and port in small letters and nothing else, such as {EXAMPLE}."
    is_here = host in LOOPBACK_NAMES or host.endswith(".localhost")
    if port == server.port and (is_here or host == server.host):
        says = f"{origin} is the router's own address, which needs no permission."
        return says, f"Name the address of the page that calls the router, such as {EXAMPLE}."
    if parts.scheme == "http" and not is_here:
        says = f"{origin} is plain http, so what is typed there can be read on its way."
        return says, f"Serve the page by https, and write https://{parts.netloc}."
    return None


def check_page(folder: Path) -> Finding:
    """Whether the page was built."""
    if (folder / "index.html").is_file():
        return ok("page", "The page is built.")
    return warning(
        "page", "The page is not built; the API works without it.", "Install Node 20.19 or newer, then: make web"
    )


def check_descriptors(hard: int) -> Finding:
    """Whether a worker may open enough files. Workers raise their own soft limit to the hard one, `hard`."""
    if hard == resource.RLIM_INFINITY or hard >= FEW_DESCRIPTORS:
        return ok("limits", "A worker may open enough connections.")
    says = f"A worker may open only {hard} files, enough for about {hard // 2} streams."
    return warning("limits", says, f"Raise the hard limit before the start: ulimit -n {FEW_DESCRIPTORS * 4}")
