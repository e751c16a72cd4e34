"""What a caller may ask for beyond the request itself: a provider's stored state, and tools that it runs.

All tenants share one upstream account, so each field that reaches into it is looked for before anything is dialled,
for callers who may not; where a caller may, it passes to targets of its own dialect alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.core.caller import Scope
from trunkline.core.problem import invalid
from trunkline.dialects.asked_models import ONLINE, PRESET

if TYPE_CHECKING:
    from trunkline.core.call import Envelope
    from trunkline.core.caller import Caller
    from trunkline.dialects.dialect import Ingress


def admit(ingress: Ingress, envelope: Envelope, caller: Caller) -> None:
    """Raise the Problem of the first field that this caller's key may not use; a 400 that names it."""
    if Scope.PROVIDER_STATE not in caller.scopes and (path := _state(ingress, envelope)) is not None:
        raise invalid(
            f"`{path}` names what a provider keeps for its account, which many share: send it whole, or use a key with"
            f" the scope `{Scope.PROVIDER_STATE}`.",
            param=path,
        )
    if Scope.PROVIDER_TOOLS not in caller.scopes and (path := _tool(ingress, envelope)) is not None:
        raise invalid(
            f"`{path}` has the provider run tools, which needs a key with the scope `{Scope.PROVIDER_TOOLS}`.",
            param=path,
        )


def refuse_what_cannot_be_translated(ingress: Ingress, envelope: Envelope) -> None:
    """Raise the Problem of a field that means something only to a provider of the client's own dialect."""
    path = ingress.provider_state(envelope)
    what = "names what a provider of this dialect keeps"
    if path is None:
        path, what = ingress.provider_tool(envelope), "is a tool that a provider of this dialect runs"
    if path is not None:
        raise invalid(f"`{path}` {what}; the model is served in another dialect, which cannot be told.", param=path)


def _state(ingress: Ingress, envelope: Envelope) -> str | None:
    return "model" if any(PRESET in name for name in _names(envelope)) else ingress.provider_state(envelope)


def _tool(ingress: Ingress, envelope: Envelope) -> str | None:
    return "model" if any(name.endswith(ONLINE) for name in _names(envelope)) else ingress.provider_tool(envelope)


def _names(envelope: Envelope) -> tuple[str, ...]:
    return (*(() if envelope.model is None else (envelope.model,)), *envelope.fallbacks)
