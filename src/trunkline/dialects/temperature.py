"""Whether a target is told a temperature: models that think sample as they see fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem

OWN: Final = 1.0
"""What a model samples at that takes no other temperature: to ask for it changes nothing, so it is left out."""


def temperature_for(call: Call, target: Target, *, is_free_without_thought: bool = False) -> float | None:
    """The temperature to ask for; None where none is to be said.

    `is_free_without_thought`: the vendor takes one from such a model while its thinking is switched off. Raises
    Problem INVALID_REQUEST where the client insists on one that this target does not take.
    """
    wanted = call.temperature
    if wanted is None or target.takes_temperature:
        return wanted
    is_off = call.thinking is not None and not call.thinking.is_on and not target.model.always_thinks
    if is_free_without_thought and is_off:
        return wanted
    if "temperature" in call.defaulted or wanted == OWN:
        return None
    raise no_temperature(target)


def no_temperature(target: Target) -> Problem:
    """The refusal of an explicit temperature."""
    return invalid(f"{target.name} does not take a temperature: leave it out.", param="temperature")
