"""How much a request asks of a model, for the policy `auto`: a rule on what one scan tells, to be read and measured.

Each sign that is seen gives its points, and their sum asks for a tier of target; the figures are those of `Scale`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from trunkline.core.call import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.core.call import Facts
    from trunkline.core.difficulty import Scale

_CODE: Final = re.compile(
    r"```|^\s{4}\S|[{};]\s*$|\bdef \w+\(|\bfunction \w+\(|#include|SELECT .{1,200} FROM", re.MULTILINE
)
_ARGUE: Final = re.compile(
    r"step by step|prove|proof|derive|explain why|compare|trade-?offs?|analy[sz]e|optimi[sz]e|refactor|debug"
    r"|beweise|begründe|schritt für schritt|vergleiche|analysiere"
    r"|démontre|étape par étape|explique pourquoi|compare"
    r"|demuestra|paso a paso|explica por qué|compara"
    r"|证明|逐步|为什么|分析|比较|なぜ|証明|段階的に|比較",
    re.IGNORECASE,
)
_MEDIA: Final = frozenset({Need.IMAGES, Need.FILES, Need.AUDIO})
_LAST_LATIN: Final = "\u024f"
"""The last letter of Latin Extended-B: https://www.unicode.org/charts/PDF/U0180.pdf."""

_SIGNS: Final[Mapping[str, Callable[[Facts, Scale], bool]]] = {
    "long": lambda facts, scale: facts.text_bytes > scale.long_bytes,
    "very_long": lambda facts, scale: facts.text_bytes > scale.very_long_bytes,
    "code": lambda facts, _: _CODE.search(facts.last_text) is not None,
    "argument": lambda facts, _: _ARGUE.search(facts.last_text) is not None,
    "script": lambda facts, scale: _share_of_other_script(facts.last_text) > scale.script_share,
    "thinking": lambda facts, _: facts.thinks,
    "tools": lambda facts, _: Need.TOOLS in facts.needs,
    "schema": lambda facts, _: Need.SCHEMA in facts.needs,
    "media": lambda facts, _: not _MEDIA.isdisjoint(facts.needs),
}

_SAMPLE: Final = 1_000
"""Characters that are enough to tell a script by."""


class Difficulty(NamedTuple):
    """The tier of target that a request asks for, 0, 1 or 2, and the signs that say so."""

    tier: int = 0
    signs: tuple[str, ...] = ()


def difficulty(facts: Facts, scale: Scale) -> Difficulty:
    """How difficult a request with these facts is, by this scale."""
    points: dict[str, int] = {name: getattr(scale, name) for name in _SIGNS}
    signs = tuple(name for name, is_seen in _SIGNS.items() if points[name] and is_seen(facts, scale))
    total = sum(points[name] for name in signs)
    return Difficulty(2 if total >= scale.tier_2 else 1 if total >= scale.tier_1 else 0, signs)


def _share_of_other_script(text: str) -> float:
    """Which part of a text's first letters are not Latin ones; 0 where it has none."""
    letters = [char for char in text[:_SAMPLE] if char.isalpha()]
    return sum(char > _LAST_LATIN for char in letters) / len(letters) if letters else 0.0
