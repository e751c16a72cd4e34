"""What a client wishes of the walk itself, in headers: how long to wait, by which policy to choose, to walk once."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.catalog import Policy
from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from trunkline.edge.request import Request

TIMEOUT: Final = "x-trunkline-timeout"
POLICY: Final = "x-trunkline-policy"
RECEIPT: Final = "x-trunkline-receipt"
SESSION: Final = "x-session-id"
IDEMPOTENCY: Final = "idempotency-key"

MAX_CONVERSATION_CHARACTERS: Final = 256
_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of the walk. `policy`: by which policies to choose; `limit_s`: what it waits at most.

    `wants_receipt`: it wants one in the answer. `key`: by this name the request is answered once. `conversation` is its
    own name for that. None where it says nothing.
    """

    policy: tuple[Policy, ...] | None = None
    limit_s: float | None = None
    wants_receipt: bool = False
    key: str | None = None
    conversation: str | None = None


_NONE: Final = Wishes()
_HEADERS: Final = frozenset({TIMEOUT, POLICY, RECEIPT, SESSION, IDEMPOTENCY})


def read_wishes(request: Request) -> Wishes:
    """What this request's headers say. Raises Problem INVALID_REQUEST that names the header."""
    if _HEADERS.isdisjoint(request.headers):
        return _NONE
    return Wishes(
        policy=_policy(request),
        limit_s=_timeout(request),
        wants_receipt=_receipt(request),
        key=_idempotency_key(request),
        conversation=_conversation(request),
    )


def _timeout(request: Request) -> float | None:
    """How many seconds the client waits at most; None where it does not say. Raises Problem for what is no time."""
    value = request.headers.get(TIMEOUT)
    if value is None:
        return None
    try:
        seconds = float(value) if value.isascii() else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise invalid(f"The header `{TIMEOUT}` must be a number of seconds above 0.", param=TIMEOUT)
    return seconds


def _policy(request: Request) -> tuple[Policy, ...] | None:
    """The policies that the client names, best first; None where it names none. Raises Problem for another word."""
    value = request.headers.get(POLICY)
    if value is None:
        return None
    try:
        return tuple(Policy(name.strip()) for name in value.split(","))
    except ValueError:
        raise invalid(f"The header `{POLICY}` must name one of {', '.join(Policy)}.", param=POLICY) from None


def _receipt(request: Request) -> bool:
    """Whether the client wants a receipt in its answer. Raises Problem for what says neither."""
    value = request.headers.get(RECEIPT, "0")
    if value not in {"0", "1"}:
        raise invalid(f"The header `{RECEIPT}` must be 1 or 0.", param=RECEIPT)
    return value == "1"


def _idempotency_key(request: Request) -> str | None:
    """By which name the request is to be answered once; None where it has none. Raises Problem for what is no key."""
    value = request.headers.get(IDEMPOTENCY)
    if value is not None and not _IDEMPOTENCY_KEY.fullmatch(value):
        raise invalid("The header `Idempotency-Key` must be 1 to 255 printable ASCII characters.", param=IDEMPOTENCY)
    return value


def _conversation(request: Request) -> str | None:
    """The client's own name for the conversation; None where it has none."""
    value = request.headers.get(SESSION)
    return value[:MAX_CONVERSATION_CHARACTERS] if value else None
