"""The fields of a Gemini request under one spelling: Google takes `topP` and `top_p`, and its own SDK sends both.

Source: https://protobuf.dev/programming-guides/json/, google-genai 3.4.0 on the wire (seen 2026-11-24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from trunkline.core.problem import invalid
from trunkline.dialects.json_fields import MAX_INTEGER, MAX_ITEMS, JsonFields

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNDERSCORE = re.compile(r"_([a-z0-9])")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def camel(name: str) -> str:
    """`top_p` -> `topP`; what is camel already stays."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def one_spelling(keys: Mapping[str, msgspec.Raw], path: str = "") -> dict[str, msgspec.Raw]:
    """The same keys in camel case. Raises Problem INVALID_REQUEST where a field comes in both spellings."""
    spelled: dict[str, msgspec.Raw] = {}
    for name, raw in keys.items():
        known = camel(name)
        if known in spelled:
            where = f"{path}.{known}" if path else known
            raise invalid(f"`{where}` comes twice, in two spellings.", param=where)
        spelled[known] = raw
    return spelled


class Fields(JsonFields):
    """One object's fields, by their names in camel case."""

    __slots__ = ()

    @classmethod
    def of(cls, raw: bytes, path: str) -> Fields:
        """The fields of an object that stands here as raw JSON."""
        try:
            keys = _OBJECT.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise invalid(f"`{path}` must be an object.", param=path) from None
        return cls(one_spelling(keys, path), path)

    def inner(self, name: str) -> Fields | None:
        """An object."""
        raw = self.raw(name)
        return None if raw is None else Fields.of(raw, self.path(name))

    def items(self, name: str) -> list[Fields]:
        """A list of objects, or one object in place of a list of one, as Google takes it; empty where absent."""
        raw = self.raw(name)
        if raw is None:
            return []
        path = self.path(name)
        if raw.startswith(b"{"):
            return [Fields.of(raw, path)]
        try:
            items = _LIST.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self.wrong(name, "must be a list of objects") from None
        if len(items) > MAX_ITEMS:
            raise self.wrong(name, f"must hold at most {MAX_ITEMS:,} objects")
        return [Fields.of(bytes(item), f"{path}[{place}]") for place, item in enumerate(items)]

    def whole_number(self, name: str) -> int | None:
        """A whole number, also where it is written `40.0`."""
        value = self.number(name)
        if value is None:
            return None
        if not value.is_integer():
            raise self.wrong(name, "must be an integer")
        if abs(value) > MAX_INTEGER:
            raise self.wrong(name, "is out of range")
        return int(value)

    def left(self) -> dict[str, msgspec.Raw]:
        """What nobody has taken, by name."""
        extras = self.extras("")
        return {} if extras is None else {name: msgspec.Raw(raw) for name, raw in extras.fields}
