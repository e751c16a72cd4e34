"""Google's own form of a schema, a subset of OpenAPI's -> JSON Schema.

Source: `Schema` in the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, cast

import msgspec

MAX_DEPTH: Final = 64
"""Google itself takes far less."""

_ONE: Final = ("items", "additionalProperties")
_MANY: Final = ("anyOf", "prefixItems")
_NAMED: Final = ("properties", "$defs")
_NUMBERS: Final = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minimum", "maximum"}
)
_SPELLED: Final = {
    "any_of": "anyOf",
    "prefix_items": "prefixItems",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "additional_properties": "additionalProperties",
    "property_ordering": "propertyOrdering",
    "defs": "$defs",
    "ref": "$ref",
}
_NOT_JSON_SCHEMA: Final = ("nullable", "propertyOrdering", "example")


def to_json_schema(raw: bytes) -> bytes | None:
    """The schema as JSON Schema; None for what is no schema, or too deep."""
    try:
        value = msgspec.json.decode(raw)
        return msgspec.json.encode(_schema(value, 0))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        return None


def _schema(value: Any, depth: int) -> Any:
    if isinstance(value, bool):
        return value  # additionalProperties
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        raise ValueError
    given = {_SPELLED.get(name, name): inner for name, inner in cast("dict[str, Any]", value).items()}
    schema = {
        name: _keyword(name, inner, depth + 1)
        for name, inner in given.items()
        if inner is not None and name not in _NOT_JSON_SCHEMA and (name, inner) != ("format", "enum")
    }
    return _nullable(schema) if given.get("nullable") is True else schema


def _keyword(name: str, value: Any, depth: int) -> Any:
    if name == "type":
        return _type(value)
    if name in _ONE:
        return _schema(value, depth)
    if name in _MANY and isinstance(value, list):
        return [_schema(one, depth) for one in cast("list[Any]", value)]
    if name in _NAMED and isinstance(value, dict):
        return {key: _schema(one, depth) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, str) and name in _NUMBERS:
        return _number(value)  # 64-bit integers are strings in Google's JSON
    return value.replace("#/defs/", "#/$defs/") if isinstance(value, str) and name == "$ref" else value


def _type(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, list):
        return [_type(one) for one in cast("list[Any]", value)]
    raise ValueError


def _number(text: str) -> int | float:
    """Raises ValueError for what is no number that JSON can hold."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not isfinite(number):
        raise ValueError
    return int(number) if number.is_integer() else number


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]}
    schema["type"] = [kind, "null"]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]
    return schema
