"""Requests as they are let in: by a key without scopes, and to be told to a provider of another dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.caller import Caller
from trunkline.gateway.admission import admit, refuse_what_cannot_be_translated

if TYPE_CHECKING:
    from trunkline.core.call import Call, Envelope
    from trunkline.dialects.dialect import Ingress

NARROW = Caller(scopes=frozenset())
"""A tenant's key."""


def shallow(ingress: Ingress, body: bytes) -> Envelope:
    """What is read for planning, less the keys themselves."""
    return msgspec.structs.replace(ingress.peek(body), keys={})


def admitted(ingress: Ingress, body: bytes) -> Envelope:
    """The request, if a key without scopes may make it. Raises Problem."""
    envelope = ingress.peek(body)
    admit(ingress, envelope, NARROW)
    return envelope


def translated(ingress: Ingress, body: bytes) -> Call:
    """The request, if another dialect can be told of it. Raises Problem."""
    refuse_what_cannot_be_translated(ingress, ingress.peek(body))
    return ingress.read_call(body)
