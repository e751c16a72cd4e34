"""The fields of a JSON object in a client's request, read one by one: strict on types, no field forgotten.

What nobody asked for is left over as raw JSON, for targets of the same dialect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import Extras
from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trunkline.core.problem import Problem

MAX_INTEGER: Final = 2**53
"""Beyond it, readers of JSON no longer agree on what a number is."""

MAX_ITEMS: Final = 10_000
"""No conversation has so many messages; a body of nothing but short ones would keep everybody waiting (S09)."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS = msgspec.json.Decoder(list[str])
_NULL = msgspec.Raw(b"null")


class JsonFields:
    """One object's fields. Each reader below takes its field; `extras` is what none has taken.

    A field that is null counts as absent. Every reader raises Problem INVALID_REQUEST naming the field's path.
    """

    __slots__ = ("_fields", "_path", "_taken")  # a request has thousands of them

    def __init__(self, fields: Mapping[str, msgspec.Raw], path: str = "") -> None:
        self._fields = fields
        self._taken: set[str] = set()
        self._path = path

    def path(self, name: str) -> str:
        """How the client would find this field: `input[0].content`."""
        return f"{self._path}.{name}" if self._path else name

    def wrong(self, name: str, what: str) -> Problem:
        """A problem with this field: `what` goes on after its name."""
        path = self.path(name)
        return invalid(f"`{path}` {what}.", param=path)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        raw = self._fields.get(name)
        return raw is not None and raw != _NULL

    def has_none_of(self, names: frozenset[str]) -> bool:
        """Whether none of these fields is there, not even as null."""
        return names.isdisjoint(self._fields)

    def whole(self) -> bytes:
        """The object itself, each value as it came."""
        return msgspec.json.encode(self._fields)

    def drop(self, *names: str) -> None:
        """These fields mean nothing here: they are no extras."""
        self._taken.update(names)

    def raw(self, name: str) -> bytes | None:
        """The field's JSON as it came."""
        raw = self._fields.get(name)
        if raw is None:
            return None
        self._taken.add(name)
        return None if raw == _NULL else bytes(raw)

    def starts_with(self, name: str, start: bytes) -> bool:
        """Whether the field is a value that begins so: `{`, `[` or a quote."""
        raw = self._fields.get(name)
        return raw is not None and bytes(memoryview(raw)[: len(start)]) == start

    def text(self, name: str) -> str | None:
        """A string."""
        value = self._value(name)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "must be a string")

    def needed_text(self, name: str) -> str:
        """A string that must be there; it may be empty."""
        value = self.text(name)
        if value is None:
            raise self.wrong(name, "is missing")
        return value

    def integer(self, name: str, least: int = -MAX_INTEGER) -> int | None:
        """An integer of at least this much."""
        value = self._value(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "must be an integer")
        if value < least:
            raise self.wrong(name, f"must be at least {least:,}")
        if value > MAX_INTEGER:
            raise self.wrong(name, "is out of range")
        return value

    def number(self, name: str) -> float | None:
        """A number."""
        value = self._value(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "must be a number")
        try:
            return float(value)
        except OverflowError:
            raise self.wrong(name, "is out of range") from None

    def flag(self, name: str) -> bool | None:
        """True or false."""
        value = self._value(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "must be true or false")

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty where the field is absent."""
        raw = self.raw(name)
        try:
            return [] if raw is None else _TEXTS.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self.wrong(name, "must be a list of strings") from None

    def object(self, name: str) -> JsonFields | None:
        """An object."""
        raw = self.raw(name)
        return None if raw is None else self._object(raw, self.path(name))

    def raw_object(self, name: str) -> bytes | None:
        """An object, as it came."""
        raw = self.raw(name)
        if raw is not None and not raw.startswith(b"{"):
            raise self.wrong(name, "must be an object")
        return raw

    def objects(self, name: str) -> Iterator[JsonFields]:
        """A list of objects, one by one: thousands at once would be much to collect. None where the field is absent."""
        raw = self.raw(name)
        if raw is None:
            return iter(())
        try:
            items = _LIST.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise self.wrong(name, "must be a list of objects") from None
        if len(items) > MAX_ITEMS:
            raise self.wrong(name, f"must hold at most {MAX_ITEMS:,} objects")
        path = self.path(name)
        return (self._object(bytes(item), f"{path}[{place}]") for place, item in enumerate(items))

    def untaken(self, within: str = "") -> list[tuple[str, bytes]]:
        """What nobody has taken; by its path, where this is the object `within` another one."""
        before = f"{within}." if within else ""
        return [
            (before + name, bytes(raw))
            for name, raw in self._fields.items()
            if name not in self._taken and self.has(name)
        ]

    def extras(self, dialect: str, more: Iterable[tuple[str, bytes]] = ()) -> Extras | None:
        """What nobody has taken, and `more` that has no place of its own."""
        left = (*self.untaken(), *more)
        return Extras(dialect, left) if left else None

    def extras_within(self, name: str, inner: JsonFields, dialect: str) -> Extras | None:
        """What nobody has taken of this object, and of the one in it under this name, there by its path: `name.field`.

        Raises Problem INVALID_REQUEST for a field of this one that calls itself so: it would come out in the other
        one, past whoever looks there for what a caller may not name.
        """
        for other, _ in self.untaken():
            if other.startswith(f"{name}."):
                raise self.wrong(other[:100], f"is no field of its own: write it into `{name}`")
        return self.extras(dialect, inner.untaken(name))

    @staticmethod
    def _object(raw: bytes, path: str) -> JsonFields:
        try:
            return JsonFields(_OBJECT.decode(raw), path)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise invalid(f"`{path}` must be an object.", param=path) from None

    def _value(self, name: str) -> Any:
        raw = self._fields.get(name)
        if raw is None:
            return None
        self._taken.add(name)
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            # The body was seen to be JSON, so it is a number with too many digits, or nesting too deep.
            raise self.wrong(name, "is out of range") from None
