"""Every path there is, with who may use it and what answers: the one table. A path that is not in it is 404."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from trunkline.edge import openrouter
from trunkline.edge.gemini_paths import ModelPaths
from trunkline.edge.middleware import Access, Handler, Route, asgi_handler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.admin import Admin
    from trunkline.edge.api import Api
    from trunkline.edge.gemini_paths import PathIngress
    from trunkline.edge.inference import Inference
    from trunkline.edge.models import Models
    from trunkline.edge.ops import Ops
    from trunkline.edge.request import App
    from trunkline.edge.requests import Requests

GET: Final = frozenset({"GET", "HEAD"})
POST: Final = frozenset({"POST"})

V1: Final = ("/v1", "/api/v1")
"""Where the dialects' paths begin: OpenAI's base, and OpenRouter's."""


MODEL_BASES: Final = (*V1, "/v1beta")
"""Below which models are listed, and Gemini's actions are."""


def public(handler: Handler) -> Route:
    """A route that anybody may read."""
    return Route(methods=GET, access=Access.PUBLIC, handler=handler, is_quiet=True)


def completion(inference: Inference, ingress: Ingress, *, errors_stream: bool = False) -> Route:
    """A route that completes, for clients of one dialect."""
    return Route(
        methods=POST,
        access=Access.CALLER,
        handler=partial(inference.answer, ingress),
        write_problem=ingress.write_problem,
        errors_stream=errors_stream,
    )


def seed_routes(inference: Inference, ingress: Ingress, ops: Ops, api: Api, page: App) -> dict[str, Route]:
    """The seed's paths, the operators' and the page's. Those that end in a slash are prefixes."""
    served = asgi_handler(page)
    sessions = asgi_handler(api.sessions)
    return {
        "/api/chat": completion(inference, ingress, errors_stream=True),
        "/api/chat/sessions": Route(methods=GET | POST, access=Access.CALLER, handler=sessions),
        "/api/chat/sessions/": Route(methods=GET | {"PUT", "DELETE"}, access=Access.CALLER, handler=sessions),
        "/health": public(ops.health),
        "/livez": public(ops.live),
        "/readyz": public(ops.ready),
        "/metrics": Route(methods=GET, access=Access.ADMIN, handler=ops.metrics, is_quiet=True),
        "/auth/login": Route(methods=POST, access=Access.PUBLIC, handler=ops.log_in),
        "/openapi.json": public(api.document),
        "/docs": public(api.page),
        "/favicon.svg": public(served),
        "/assets/": public(served),
    }


def admin_routes(admin: Admin) -> dict[str, Route]:
    """The administrator's paths."""
    return {
        "/admin/explain": Route(methods=POST, access=Access.ADMIN, handler=admin.explain),
        "/admin/reload": Route(methods=POST, access=Access.ADMIN, handler=admin.reload),
    }


def dialect_routes(
    inference: Inference, models: Models, requests: Requests, ingresses: Mapping[str, Ingress], gemini: PathIngress
) -> dict[str, Route]:
    """The dialects' paths. `ingresses` gives each one's path below a base; the first one's errors are the lists'."""
    errors = next(iter(ingresses.values())).write_problem
    routes: dict[str, Route] = {}
    for base in V1:
        for path, ingress in ingresses.items():
            routes[base + path] = completion(inference, ingress)
        routes[f"{base}/requests/"] = Route(
            methods=GET, access=Access.CALLER, handler=requests.one, write_problem=errors
        )
    for path, handler in (("key", openrouter.key), ("auth/key", openrouter.key), ("credits", openrouter.credit)):
        routes[f"/api/v1/{path}"] = Route(methods=GET, access=Access.CALLER, handler=handler, write_problem=errors)
    for base in MODEL_BASES:
        write_problem = gemini.write_problem if base == "/v1beta" else errors
        index = f"{base}/models"
        routes[index] = Route(methods=GET, access=Access.CALLER, handler=models.index, write_problem=write_problem)
        below = ModelPaths(f"{index}/", gemini, inference, models)
        routes[f"{index}/"] = Route(
            methods=GET | POST, access=Access.CALLER, handler=below.answer, write_problem=write_problem
        )
    return routes
