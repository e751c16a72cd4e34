"""Where a request would go, and why: a plan is made of it as of any other, and nothing is dialled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trunkline.core.caller import Caller
from trunkline.core.problem import Kind, invalid
from trunkline.edge.gemini_paths import ingress_at
from trunkline.gateway.admission import admit
from trunkline.gateway.exchange import Exchange
from trunkline.routing.explanation import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.core.call import Envelope
    from trunkline.core.catalog import Catalog, Policy
    from trunkline.dialects.dialect import Ingress
    from trunkline.edge.gemini_paths import PathIngress
    from trunkline.routing.explanation import Explanation
    from trunkline.routing.plan import Plan, Wanted

DEFAULT_ROUTE: Final = "/v1/chat/completions"
ADMINISTRATOR: Final = Caller(is_admin=True)


class Explain:
    """Explains plans. `planner` makes them, `catalog` gives the catalogue of the moment.

    `ingresses` are those of each path; below `gemini_bases`, `gemini` has one for every model and action.
    """

    def __init__(
        self,
        planner: Callable[[Wanted], Plan],
        catalog: Callable[[], Catalog],
        ingresses: Mapping[str, Ingress],
        gemini: PathIngress,
        gemini_bases: tuple[str, ...],
    ) -> None:
        self._planner = planner
        self._catalog = catalog
        self._ingresses = ingresses
        self._gemini = gemini
        self._gemini_bases = gemini_bases

    def ingress(self, route: str) -> Ingress:
        """The ingress of a completion's path. Raises Problem INVALID_REQUEST for any other path."""
        if (ingress := self._ingresses.get(route)) is not None:
            return ingress
        for base in self._gemini_bases:
            if route.startswith(base):
                return ingress_at(self._gemini, route.removeprefix(base), is_sse=True)
        paths = ", ".join(self._ingresses)
        raise invalid(f"`route` must be the path of a completion: {paths}.", param="route", kind=Kind.INVALID_REQUEST)

    def explain(
        self,
        route: str,
        body: bytes,
        caller: Caller = ADMINISTRATOR,
        *,
        read: Callable[[Ingress], Envelope] | None = None,
        policy: tuple[Policy, ...] | None = None,
    ) -> Explanation:
        """The plan of this body, as if it came to this path. Raises the Problem that it would be answered with.

        `read` peeks into the body, where there is more to the request than that, such as its headers.
        """
        ingress = self.ingress(route)
        exchange = Exchange(
            id="",
            route=route,
            ingress=ingress,
            body=body,
            envelope=ingress.peek(body) if read is None else read(ingress),
            caller=caller,
            catalog=self._catalog(),
            clock=time.monotonic,
            started=0.0,
            policy=policy,
        )
        admit(ingress, exchange.envelope, caller)
        return explained(self._planner(exchange.wanted(explains=True)))
