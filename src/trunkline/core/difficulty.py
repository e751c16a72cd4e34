"""How difficult a request is taken to be, for the policy `auto`: the operator's figures. The rule is routing's."""

from __future__ import annotations

from typing import Annotated

import msgspec

Points = Annotated[int, msgspec.Meta(ge=0, le=100)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]


class Scale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where each sign of difficulty begins, how many points it gives, and how many of them ask for which tier.

    `long` is given from more than `long_bytes` of text on, `very_long` beside it from more than `very_long_bytes`;
    `script` where more than `script_share` of the letters of the last message are not Latin ones. A sign that gives no
    points is not looked for. From `tier_1` points on, a request asks for tier 1, from `tier_2` on for tier 2.
    """

    long_bytes: Bytes = 2_000
    very_long_bytes: Bytes = 20_000
    script_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    long: Points = 1
    very_long: Points = 1
    code: Points = 1
    argument: Points = 1
    script: Points = 1
    thinking: Points = 2
    tools: Points = 1
    schema: Points = 1
    media: Points = 1
    tier_1: Points = 2
    tier_2: Points = 4
