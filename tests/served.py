"""A router on a real socket, in the test's own event loop."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from trunkline.app import Application
from trunkline.core.resilience import RetryLimits
from trunkline.server import Server
from trunkline.settings.reading import load
from trunkline.supervisor.sockets import listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from trunkline.access.keys import Keys
    from trunkline.settings.values import Settings
    from trunkline.upstream.scripted import ScriptedUpstream

CLOSING_S = 2.0
KEY = "sk-or-v1-canary-key-of-the-router-0123456789"


def openrouter(
    upstream: ScriptedUpstream | str, directory: Path, environment: Mapping[str, str] | None = None
) -> Settings:
    """The seed's configuration, with a scripted upstream in OpenRouter's place."""
    base_url = upstream if isinstance(upstream, str) else upstream.base_url
    written = {"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": base_url, "TRUNKLINE_DATA_DIR": str(directory)}
    return load({**written, **(environment or {})}, directory)


class Router:
    """A running router. `url` has no slash at the end."""

    def __init__(self, app: Application, server: Server, port: int) -> None:
        self.app = app
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    keys: Keys | None = None,
    retries: RetryLimits | None = None,
    reread: Callable[[], Settings] | None = None,
) -> AsyncGenerator[Router]:
    """Serve the router as a worker does, without its parent; without retries, unless a test is about them."""
    settings = msgspec.structs.replace(settings, retries=retries or RetryLimits(attempts=0))
    app = Application(settings, keys=keys, reread=reread)
    await app.start()
    listening = await listen("127.0.0.1", 0)
    server = Server(app)
    await server.start(listening.sockets)
    try:
        yield Router(app, server, listening.port)
    finally:
        app.begin_drain()
        app.cut()
        await server.close(CLOSING_S)
        await app.stop()
        listening.close()
