"""Which models a request names, and how it narrows the choice.

`model` is everybody's; `models`, `fallbacks` and `provider` are OpenRouter's, and the planner consumes them. Sources: https://openrouter.ai/docs/features/provider-routing,
https://openrouter.ai/docs/features/model-routing (read 2026-11-25).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import Preferences
from trunkline.core.price import MAX_DOLLARS, NANO
from trunkline.dialects.json_fields import JsonFields

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_MODEL_CHARACTERS: Final = 256
MAX_FALLBACKS: Final = 16

ONLINE: Final = ":online"
"""The suffix that adds a web search to a model. OpenRouter's others (`:nitro`, `:floor`, `:exacto`) choose among its
providers: they are part of the name, and a key that may use a model by name may not use its suffixed names."""

PRESET: Final = "@preset/"
"""How a model's name calls a prompt that OpenRouter stores."""

SORTS: Final = ("price", "throughput", "latency")

_LISTS: Final = ("order", "only", "ignore")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXTS = msgspec.json.Decoder(list[str] | None)

CONVERSATION_NAMES: Final = ("session_id", "prompt_cache_key")

PLANNED: Final = ("models", "fallbacks", "provider", "route")
"""The planner's fields: they never go upstream as they came."""


def read_model(fields: JsonFields) -> str:
    """The model that is asked for, where no other is. Raises Problem INVALID_REQUEST naming the field."""
    return _name(fields, "model", fields.needed_text("model"))


def read_models(fields: JsonFields) -> tuple[str, tuple[str, ...]]:
    """The model that is asked for and those to follow it, each once. `models` alone names both.

    Raises Problem INVALID_REQUEST naming the field.
    """
    named = [_name(fields, "models", name) for name in fields.texts("models")]
    named += [_name(fallback, "model", fallback.needed_text("model")) for fallback in fields.objects("fallbacks")]
    if len(named) > MAX_FALLBACKS:
        raise fields.wrong("models", f"must name at most {MAX_FALLBACKS} models")
    first = fields.text("model")
    if first is None and not named:
        raise fields.wrong("model", "is missing")
    if first is not None:
        named.insert(0, _name(fields, "model", first))
    model, *rest = dict.fromkeys(named)
    return model, tuple(rest)


def _name(fields: JsonFields, field: str, name: str) -> str:
    if not name.strip() or len(name) > MAX_MODEL_CHARACTERS or not name.isprintable():
        raise fields.wrong(field, f"must be a name of 1 to {MAX_MODEL_CHARACTERS} printable characters")
    return name


def read_preferences(fields: JsonFields) -> Preferences | None:
    """How the request narrows the plan; None where it does not. Raises Problem INVALID_REQUEST naming the field."""
    told = fields.object("provider")
    if told is None:
        return None
    allows = told.flag("allow_fallbacks")
    order, only, ignore = (tuple(told.texts(name)) for name in _LISTS)
    most = told.object("max_price") or JsonFields({})
    by = told.object("sort") if told.starts_with("sort", b"{") else told
    sort = by.text("by" if by is not told else "sort") if by is not None else None
    if sort not in {None, *SORTS}:
        raise told.wrong("sort", f"must be one of {', '.join(SORTS)}")
    most_input, most_output = _nano(most, "prompt"), _nano(most, "completion")
    left = told.extras("")
    return Preferences(
        order=order,
        only=only,
        ignore=ignore,
        allow_fallbacks=allows is not False,
        sort=sort,
        max_input_nano=most_input,
        max_output_nano=most_output,
        beyond=tuple(f"provider.{name}" for name, _ in left.fields) if left is not None else (),
    )


def _nano(prices: JsonFields, name: str) -> int | None:
    """Dollars for a million tokens, which OpenRouter takes as a number or as a string, in nano-dollars."""
    try:
        told = Decimal(prices.needed_text(name)) if prices.starts_with(name, b'"') else prices.number(name)
        dollars = None if told is None else Decimal(str(told))
    except InvalidOperation:
        raise prices.wrong(name, "must be a number") from None
    if dollars is None:
        return None
    if not dollars.is_finite() or not 0 <= dollars <= MAX_DOLLARS:
        raise prices.wrong(name, f"must be from 0 to {MAX_DOLLARS:,} dollars for a million tokens")
    return int(dollars * NANO)


def conversation_name(fields: JsonFields) -> str | None:
    """The client's own name for the conversation, by which OpenRouter or OpenAI would keep a prompt cache warm."""
    for name in CONVERSATION_NAMES:
        if fields.starts_with(name, b'"'):
            return fields.text(name)
    return None


def without_names(provider: msgspec.Raw, names: Collection[str]) -> bytes:
    """A raw `provider` object that `read_preferences` has read, less these names in its lists."""
    told: dict[str, msgspec.Raw] = _OBJECT.decode(provider)
    for field in _LISTS:
        given: list[str] | None = _TEXTS.decode(told[field]) if field in told else None
        if given is None:
            continue
        kept = [name for name in given if name not in names]
        if kept:
            told[field] = msgspec.Raw(msgspec.json.encode(kept))
        else:
            del told[field]
    return msgspec.json.encode(told)
