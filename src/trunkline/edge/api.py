"""The routes that are not hot, on Litestar; it is imported when the first of them is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from trunkline.edge.request import App, Receive, Scope, Send
    from trunkline.store.history import History


class Api:
    """Sessions, the OpenAPI document and its page. Owns the Litestar app, built once, in a thread of its own."""

    def __init__(self, history: History | None, *, max_body_bytes: int) -> None:
        self._history = history
        self._max_body_bytes = max_body_bytes
        self._building: asyncio.Task[App] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app."""
        if self._building is None:
            self._building = asyncio.get_running_loop().create_task(asyncio.to_thread(self._build))
        app = await asyncio.shield(self._building)
        await app(scope, receive, send)

    def _build(self) -> App:
        # Importing the framework takes longer than starting the server: completions do not wait for it.
        from litestar import Litestar, MediaType, Response, get  # noqa: PLC0415
        from litestar.openapi.config import OpenAPIConfig  # noqa: PLC0415

        from trunkline.edge import docs_page, openapi  # noqa: PLC0415
        from trunkline.edge.problem_response import EXCEPTION_HANDLERS  # noqa: PLC0415
        from trunkline.edge.sessions import session_routes  # noqa: PLC0415

        document: dict[str, object] = {}

        @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
        def openapi_document() -> Response[bytes]:
            """The document."""
            return Response(msgspec.json.encode(document), media_type=MediaType.JSON)

        @get("/docs", include_in_schema=False, sync_to_thread=False)
        def docs() -> Response[bytes]:
            """The document as a page."""
            headers = {"content-security-policy": docs_page.POLICY.decode(), "x-content-type-options": "nosniff"}
            return Response(docs_page.render(document), media_type=MediaType.HTML, headers=headers)

        app = Litestar(
            route_handlers=[*session_routes(self._history), openapi_document, docs],
            exception_handlers=EXCEPTION_HANDLERS,
            openapi_config=OpenAPIConfig(title="Trunkline", version="", path="/_unused", render_plugins=[]),
            request_max_body_size=self._max_body_bytes,
            logging_config=None,
        )
        document.update(openapi.document(app.openapi_schema.to_schema()))
        return app
