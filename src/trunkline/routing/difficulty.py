"""How much a request asks of a model, for the policy `auto`: a rule on what one scan tells, to be read and measured.

Points are added up: one for more than 2,000 bytes of text, and one more from 20,000; one for code in the last message;
one for tools; one for an answer by a schema; one for words that ask for an argument, such as "prove" or "step by
step", in some of the world's languages; one for pictures, files or sound. Tier 0 is up to one point, tier 1 up to
three, tier 2 is above that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trunkline.core.call import Need

if TYPE_CHECKING:
    from trunkline.core.call import Facts

LONG_BYTES: Final = 2_000
VERY_LONG_BYTES: Final = 20_000

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
_SENSES: Final = frozenset({Need.IMAGES, Need.FILES, Need.AUDIO})


def points_of(facts: Facts) -> int:
    """The points of a request, from 0 to 7."""
    return sum(
        (
            facts.text_bytes > LONG_BYTES,
            facts.text_bytes > VERY_LONG_BYTES,
            _CODE.search(facts.last_text) is not None,
            _ARGUE.search(facts.last_text) is not None,
            Need.TOOLS in facts.needs,
            Need.SCHEMA in facts.needs,
            not _SENSES.isdisjoint(facts.needs),
        )
    )


def tier_of(facts: Facts) -> int:
    """The tier of target that a request asks for: 0, 1 or 2."""
    points = points_of(facts)
    return 0 if points <= 1 else 1 if points <= 3 else 2
