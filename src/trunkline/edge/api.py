"""The routes that are not hot, on Litestar, and the OpenAPI document: made when one of them is first asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import msgspec

from trunkline.edge import docs_page, openapi

if TYPE_CHECKING:
    from trunkline.core.caller import Caller
    from trunkline.edge.request import Answer, App, Receive, Request, Scope, Send
    from trunkline.store.history import History

CACHED: Final = (b"cache-control", b"no-cache")


@dataclass(frozen=True)
class _Built:
    app: App
    document: bytes
    page: bytes


class Api:
    """Sessions, `/openapi.json` and `/docs`. Owns the Litestar app: one, made in a thread of its own."""

    def __init__(self, history: History | None, *, max_body_bytes: int) -> None:
        self._history = history
        self._max_body_bytes = max_body_bytes
        self._building: asyncio.Task[_Built] | None = None

    async def sessions(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The session routes, as an ASGI app."""
        if scope["method"] == "HEAD":
            # The framework knows GET only; the server leaves out the body.
            scope = {**scope, "method": "GET"}
        await (await self._built()).app(scope, receive, send)

    async def document(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """The OpenAPI document."""
        await answer.whole(200, (await self._built()).document, b"application/json", CACHED)

    async def page(self, _request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """The document as a page."""
        headers = ((b"content-security-policy", docs_page.POLICY), (b"x-content-type-options", b"nosniff"), CACHED)
        await answer.whole(200, (await self._built()).page, b"text/html; charset=utf-8", *headers)

    async def _built(self) -> _Built:
        if self._building is None:
            self._building = asyncio.get_running_loop().create_task(asyncio.to_thread(self._build))
        return await asyncio.shield(self._building)

    def _build(self) -> _Built:
        # Importing the framework takes longer than starting the server: completions do not wait for it.
        from litestar import Litestar  # noqa: PLC0415
        from litestar.openapi.config import OpenAPIConfig  # noqa: PLC0415

        from trunkline.edge.problem_response import EXCEPTION_HANDLERS  # noqa: PLC0415
        from trunkline.edge.sessions import session_routes  # noqa: PLC0415

        app = Litestar(
            route_handlers=session_routes(self._history),
            exception_handlers=dict(EXCEPTION_HANDLERS),
            openapi_config=OpenAPIConfig(title="Trunkline", version="", path="/_unused", render_plugins=[]),
            request_max_body_size=self._max_body_bytes,
            logging_config=None,
        )
        document = openapi.document(app.openapi_schema.to_schema())
        return _Built(cast("App", app), msgspec.json.encode(document), docs_page.render(document))
