"""One vendor's price list: what it asks for each model, by every name that the model goes by."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from trunkline.core.price import Price

MAX_NAME: Final = 200
"""Characters. No model's name is longer; what a client makes up is not compared with every rule."""


class Rest(StrEnum):
    """What may follow the beginning of a name."""

    ANYTHING = "anything"
    DATE = "date"
    """A day, as vendors add one: `-20260131`, `@20260131` or `-2026-01-31`; nothing else."""
    NUMBER = "number"
    """A digit, and then anything."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Names that mean one price: those of which everything here holds. All in lower case.

    `number` is that of the price. `has` are pieces of the name, `lacks` are none.
    """

    number: int
    begins: str = ""
    rest: Rest = Rest.ANYTHING
    ends: str = ""
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    def holds(self, name: str) -> bool:
        """Whether it means this name."""
        return (
            name.startswith(self.begins)
            and name.endswith(self.ends)
            and _may_follow(self.rest, name[len(self.begins) :])
            and all(piece in name for piece in self.has)
            and not any(piece in name for piece in self.lacks)
        )


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`names`, in lower case, have the numbers of their `prices`; other names are looked for by `rules`.

    The first rule that holds counts. A price that is None is not known.
    """

    prices: tuple[Price | None, ...] = ()
    names: dict[str, int] = {}
    rules: tuple[Rule, ...] = ()

    def price_of(self, model_id: str) -> Price | None:
        """What this model costs; None where nobody knows."""
        name = model_id.lower()
        number = self.names.get(name)
        if number is None and len(name) <= MAX_NAME:
            number = next((rule.number for rule in self.rules if rule.holds(name)), None)
        return None if number is None else self.prices[number]


def _may_follow(rest: Rest, text: str) -> bool:
    match rest:
        case Rest.ANYTHING:
            return True
        case Rest.NUMBER:
            return text[:1].isdecimal()
        case Rest.DATE:
            digits = text[1:]
            if text[:1] == "-" and digits[4:5] == digits[7:8] == "-":
                digits = digits[:4] + digits[5:7] + digits[8:]
            return text[:1] in {"-", "@"} and len(digits) == 8 and digits.isascii() and digits.isdecimal()
