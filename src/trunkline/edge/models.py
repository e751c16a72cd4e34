"""What can be asked for: the model lists, in the shape of each client's own dialect. From the catalogue, no call."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Need
from trunkline.core.catalog import Target
from trunkline.core.problem import Kind, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.caller import Caller
    from trunkline.core.catalog import Catalog, Model
    from trunkline.edge.request import Answer, Receive, Request

JSON: Final = b"application/json"
CREATED: Final = 1_767_225_600
"""No model's own date is known here; clients only want a number. 2026-01-01."""

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
            body = {"models": [_gemini(name, model) for name, model in entries]}
        else:
            body = {"object": "list", "data": [_openai(name, model) for name, model in entries]}
        await answer.whole(200, msgspec.json.encode(body), JSON)

    async def one(self, name: str, request: Request, caller: Caller, answer: Answer) -> None:
        """`GET .../models/{name}`: any name that resolves, also one that has no row.

        Raises Problem NOT_FOUND, also for one that the caller may not use.
        """
        if not name:
            raise invalid("Name a model.", param="model", kind=Kind.NOT_FOUND)
        target = self._catalog().resolve(name)
        if not caller.may_use(name, target.name):
            raise invalid(f"This key knows no model {name[:200]!r}.", param="model", kind=Kind.NOT_FOUND)
        model = target.model
        if "anthropic-version" in request.headers:
            body = _anthropic(name)
        elif _wants_gemini(request):
            body = _gemini(name, model)
        else:
            body = _openai(name, model)
        await answer.whole(200, msgspec.json.encode(body), JSON)


def _wants_gemini(request: Request) -> bool:
    return request.path.startswith("/v1beta/") or "x-goog-api-key" in request.headers


def _entries(catalog: Catalog, caller: Caller) -> list[tuple[str, Model]]:
    """Every full name that is known and may be used, once, with what is known of its model."""
    named = [route.name for route in catalog.routes] + [alias for alias, _ in catalog.aliases]
    routes = [catalog.route(name) for name in named]
    shown = {
        name: route.legs[0].target.model
        for name, route in zip(named, routes, strict=True)
        if caller.may_use(name, route.name)
    }
    targets: dict[str, Target] = {}
    for provider in catalog.providers:
        listed = [model.id for model in provider.models]
        for model_id in [provider.default_model, *listed] if provider.default_model else listed:
            targets.setdefault(provider.full_name(model_id), Target(provider, provider.model(model_id)))
    plain = {name: target.model for name, target in targets.items() if caller.may_use(name, target.name)}
    return list({**plain, **shown}.items())


def _openai(name: str, model: Model) -> Json:
    """OpenAI's fields, and those that OpenRouter's clients read."""
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": name.partition("/")[0],
        "name": name,
        "canonical_slug": name,
        "context_length": model.context_tokens,
        "top_provider": {
            "context_length": model.context_tokens,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": False,
        },
        "architecture": {"input_modalities": _modalities(model), "output_modalities": ["text"]},
        "pricing": _pricing(model),
        "per_request_limits": None,
    }


def _modalities(model: Model) -> list[str]:
    """What it takes, in OpenRouter's words; text alone where no more is known."""
    words = {Need.IMAGES: "image", Need.FILES: "file", Need.AUDIO: "audio"}
    return ["text", *(word for need, word in words.items() if need in (model.offers or ()))]


def _pricing(model: Model) -> Json | None:
    """Dollars for a token, as strings; null where the price is not known."""
    price = model.price
    if price is None:
        return None
    each = {
        "prompt": Decimal(price.input_nano).scaleb(-15),
        "completion": Decimal(price.output_nano).scaleb(-15),
        "request": Decimal(price.request_nano).scaleb(-9),
    }
    return {name: f"{exact.normalize():f}" for name, exact in each.items()}


def _anthropic(name: str) -> Json:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _gemini(name: str, model: Model) -> Json:
    limits = {"inputTokenLimit": model.context_tokens, "outputTokenLimit": model.max_output_tokens}
    return {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        **{key: value for key, value in limits.items() if value is not None},
    }
