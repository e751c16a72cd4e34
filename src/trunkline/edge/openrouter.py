"""What OpenRouter's clients read besides answers: models, their endpoints, the key and its credits, in its shape.

What nobody knows here is null: no number is made up, and no list is empty that might hold something.
Sources: https://openrouter.ai/docs/api-reference/list-available-models, .../models/list-endpoints, .../limits and
.../credits/get-credits (read 2026-11-25).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Need
from trunkline.core.catalog import ThinkingForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.caller import Caller
    from trunkline.core.catalog import Route, Target
    from trunkline.edge.request import Answer, Receive, Request

JSON: Final = b"application/json"

Json = dict[str, Any]

_INPUTS: Final[Mapping[Need, str]] = {Need.IMAGES: "image", Need.FILES: "file", Need.AUDIO: "audio"}
_PARAMETERS: Final[Mapping[Need, tuple[str, ...]]] = {
    Need.TOOLS: ("tools", "tool_choice"),
    Need.SCHEMA: ("response_format", "structured_outputs"),
}


async def key(_request: Request, caller: Caller | None, _receive: Receive, answer: Answer) -> None:
    """`GET /api/v1/key`: who asks, and with which limits. Nobody counts usage for a key yet: it is not known."""
    assert caller is not None  # noqa: S101 - the route wants one
    usage = [f"{kind}{period}" for kind in ("usage", "byok_usage") for period in ("", "_daily", "_weekly", "_monthly")]
    data: Json = {
        "label": caller.user,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        **dict.fromkeys(usage),
        "is_free_tier": False,
        "is_management_key": caller.is_admin,
        "is_provisioning_key": caller.is_admin,
        "expires_at": None,
        # Older clients insist on it. OpenRouter itself calls it deprecated, and -1 no limit.
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
    }
    await answer.whole(200, msgspec.json.encode({"data": data}), JSON)


async def credit(_request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
    """`GET /api/v1/credits`: none are sold here."""
    await answer.whole(200, msgspec.json.encode({"data": {"total_credits": None, "total_usage": None}}), JSON)


def described(name: str, target: Target) -> Json:
    """A model as the list tells it, but for `created`."""
    model = target.model
    return {
        "id": name,
        "canonical_slug": name,
        "name": name,
        "description": None,
        "context_length": model.context_tokens,
        "architecture": _architecture(target),
        "pricing": _pricing(target),
        "top_provider": {
            "context_length": model.context_tokens,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": None,
        },
        "per_request_limits": None,
        "supported_parameters": _parameters(target),
        "default_parameters": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{name}/endpoints"},
    }


def endpoints(name: str, created: int, route: Route, caller: Caller) -> Json:
    """A model's targets, as `GET /api/v1/models/{name}/endpoints` tells them; not how they fare.

    What the caller may use through the route alone is not named.
    """
    targets = [leg.target for leg in route.legs]
    named = [target for target in targets if caller.may_use(target.name)]
    data: Json = {
        "id": name,
        "name": name,
        "created": created,
        "description": None,
        "architecture": _architecture(targets[0]),
        "endpoints": [_endpoint(target) for target in named],
    }
    return {"data": data}


def _endpoint(target: Target) -> Json:
    model, provider = target.model, target.provider
    unknown = (
        "quantization", "max_prompt_tokens", "status", "uptime_last_5m", "uptime_last_30m", "uptime_last_1d",
        "latency_last_30m", "throughput_last_30m", "supports_implicit_caching",
    )  # fmt: skip
    return {
        "name": f"{provider.label} | {target.name}",
        "model_id": target.name,
        "model_name": target.name,
        "provider_name": provider.label,
        "tag": provider.name,
        "context_length": model.context_tokens,
        "max_completion_tokens": model.max_output_tokens,
        "pricing": _pricing(target),
        "supported_parameters": _parameters(target),
        **dict.fromkeys(unknown),
    }


def _architecture(target: Target) -> Json:
    """What goes in and out. Text is what every model takes; more is told where it is known."""
    offers = target.model.offers or frozenset()
    inputs = ["text", *(word for need, word in _INPUTS.items() if need in offers)]
    outputs = ["embeddings"] if Need.EMBEDDINGS in offers else ["text"]
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": None,
        "instruct_type": None,
    }


def _parameters(target: Target) -> list[str] | None:
    """Which parameters are worth sending, as far as the model is known at all."""
    offers = target.model.offers
    if offers is None:
        return None
    names = ["max_tokens", *(["temperature"] if target.takes_temperature else [])]
    names += [name for need, more in _PARAMETERS.items() if need in offers for name in more]
    if target.model.thinking not in {None, ThinkingForm.NEVER}:
        names += ["reasoning", "include_reasoning"]
    return names


def _pricing(target: Target) -> Json:
    """Dollars for a token, and for a request, as strings; null where a price is not known."""
    price = target.model.price
    if price is None:
        return {"prompt": None, "completion": None, "request": None}
    nano = {
        "prompt": price.input_nano,
        "completion": price.output_nano,
        "input_cache_read": price.cached_nano,
        "input_cache_write": price.cache_write_nano,
        "internal_reasoning": price.reasoning_nano,
    }
    told = {name: _dollars(number, -15) for name, number in nano.items() if number is not None}
    return {**told, "request": _dollars(price.request_nano, -9)}


def _dollars(nano: int, scale: int) -> str:
    return f"{Decimal(nano).scaleb(scale).normalize():f}"
