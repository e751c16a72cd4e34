"""What OpenRouter's clients ask besides completions: their key and their credits, in its shape.

What nobody counts here is null, as OpenRouter has it for a key without a limit: no number is made up.
Source: https://openrouter.ai/docs/api-reference/limits, https://openrouter.ai/docs/api-reference/get-credits
(read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from trunkline.core.caller import Caller
    from trunkline.edge.request import Answer, Receive, Request

JSON = b"application/json"


async def key(_request: Request, caller: Caller | None, _receive: Receive, answer: Answer) -> None:
    """`GET /api/v1/key`: who asks, and with which limits."""
    assert caller is not None  # noqa: S101 - the route wants one
    data: dict[str, Any] = {
        "label": caller.user,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "usage": None,
        "usage_daily": None,
        "usage_weekly": None,
        "usage_monthly": None,
        "is_free_tier": False,
        "is_management_key": caller.is_admin,
        "expires_at": None,
    }
    await answer.whole(200, msgspec.json.encode({"data": data}), JSON)


async def credit(_request: Request, _caller: Caller | None, _receive: Receive, answer: Answer) -> None:
    """`GET /api/v1/credits`: none are sold here."""
    await answer.whole(200, msgspec.json.encode({"data": {"total_credits": None, "total_usage": None}}), JSON)
