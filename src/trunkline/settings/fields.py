"""A table of trunkline.toml, read field by field, so that every mistake is found in one go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline.core.caller import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read_fields(
    table: Mapping[str, Any], struct: type[msgspec.Struct], where: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The fields that are right. Each mistake is told as a sentence; `where` is what a field's name follows."""
    fields = {field.name: field for field in msgspec.structs.fields(struct) if field.type != Secret | None}
    for name in sorted(set(table) - set(fields)):
        tell(f"trunkline.toml: {where}{name} is not a setting.")
    read: dict[str, Any] = {}
    for name, value in table.items():
        if name not in fields:
            continue
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            tell(f"trunkline.toml: {where}{name} must be a number that is not negative.")
            continue
        try:
            read[name] = msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            tell(f"trunkline.toml: {where}{name}: {_plain(error)}.")
    return read


def _plain(error: msgspec.ValidationError) -> str:
    """What is wrong, without msgspec's own sign for the value that it was given."""
    return str(error).replace(" - at `$`", "")
