"""Which targets a request may go to, in order. Pure: facts in, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.catalog import Target

if TYPE_CHECKING:
    from trunkline.core.call import Envelope
    from trunkline.core.catalog import Catalog


class Plan(msgspec.Struct, frozen=True):
    """The targets to attempt, best first; never empty."""

    targets: tuple[Target, ...]


def plan(envelope: Envelope, catalog: Catalog) -> Plan:
    """The plan for this request. Raises Problem NOT_FOUND for a model that nobody serves."""
    return Plan((catalog.resolve(envelope.model),))
