"""What can be asked for: the model lists, in the shape of each client's own dialect. From the catalogue, no call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.problem import Kind, invalid
from trunkline.edge import openrouter

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.caller import Caller
    from trunkline.core.catalog import Catalog, Route, Target
    from trunkline.edge.request import Answer, Receive, Request

JSON: Final = b"application/json"
CREATED: Final = 1_767_225_600
"""No model's own date is known here; clients only want a number. 2026-01-01."""

OPENROUTERS: Final = "/api/v1/"
ENDPOINTS: Final = "/endpoints"
"""At OpenRouter's base a model's targets are told below its name."""

Json = dict[str, Any]


class Models:
    """The model routes. `catalog` gives the catalogue of the moment."""

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self._catalog = catalog

    async def index(self, request: Request, caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """`GET .../models`: every model that has a row, and the aliases, as far as the caller may use them."""
        assert caller is not None  # noqa: S101 - the route wants one
        entries = _entries(self._catalog(), caller)
        if "anthropic-version" in request.headers:
            shaped = [_anthropic(name) for name, _ in entries]
            body: Json = {
                "data": shaped,
                "has_more": False,
                "first_id": shaped[0]["id"] if shaped else None,
                "last_id": shaped[-1]["id"] if shaped else None,
            }
        elif _wants_gemini(request):
            body = {"models": [_gemini(name, target) for name, target in entries]}
        else:
            body = {"object": "list", "data": [_openai(name, target) for name, target in entries]}
        await answer.whole(200, msgspec.json.encode(body), JSON)

    async def one(self, name: str, request: Request, caller: Caller, answer: Answer) -> None:
        """`GET .../models/{name}`: any name that resolves, also one that has no row; its endpoints below it.

        Raises Problem NOT_FOUND, also for one that the caller may not use.
        """
        is_of_endpoints = request.path.startswith(OPENROUTERS) and name.endswith(ENDPOINTS)
        name = name.removesuffix(ENDPOINTS) if is_of_endpoints else name
        route = self._known(name, caller)
        if is_of_endpoints:
            body = openrouter.endpoints(name, CREATED, route, caller)
        elif "anthropic-version" in request.headers:
            body = _anthropic(name)
        elif _wants_gemini(request):
            body = _gemini(name, route.legs[0].target)
        else:
            body = _openai(name, route.legs[0].target)
        await answer.whole(200, msgspec.json.encode(body), JSON)

    def _known(self, name: str, caller: Caller) -> Route:
        if not name:
            raise invalid("Name a model.", param="model", kind=Kind.NOT_FOUND)
        route = self._catalog().route(name)
        if not caller.may_use(name, route.name):
            raise invalid(f"This key knows no model {name[:200]!r}.", param="model", kind=Kind.NOT_FOUND)
        return route


def _wants_gemini(request: Request) -> bool:
    return request.path.startswith("/v1beta/") or "x-goog-api-key" in request.headers


def _entries(catalog: Catalog, caller: Caller) -> list[tuple[str, Target]]:
    """Every full name that is known and may be used, once, with the target that is tried first."""
    named = [route.name for route in catalog.routes] + [alias for alias, _ in catalog.aliases]
    routes = [catalog.route(name) for name in named]
    shown = {
        name: route.legs[0].target
        for name, route in zip(named, routes, strict=True)
        if caller.may_use(name, route.name)
    }
    plain: dict[str, Target] = {}
    for provider in catalog.providers:
        listed = [model.id for model in provider.models]
        for model_id in [provider.default_model, *listed] if provider.default_model else listed:
            name = provider.full_name(model_id)
            if caller.may_use(name) and name not in plain:
                plain[name] = catalog.resolve(name)
    return list({**plain, **shown}.items())


def _openai(name: str, target: Target) -> Json:
    """OpenAI's fields, and those that OpenRouter's clients read."""
    own = {"id": name, "object": "model", "created": CREATED, "owned_by": name.partition("/")[0]}
    return own | openrouter.described(name, target)


def _anthropic(name: str) -> Json:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _gemini(name: str, target: Target) -> Json:
    limits = {"inputTokenLimit": target.model.context_tokens, "outputTokenLimit": target.model.max_output_tokens}
    return {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        **{key: value for key, value in limits.items() if value is not None},
    }
