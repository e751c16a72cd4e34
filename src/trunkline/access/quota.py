"""Limits, all by one idea: what a request may cost at worst is reserved; the Hold is settled or released, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.caller import Caller


class Hold(Protocol):
    """What is reserved for one request. Exactly one of `settle` and `release` is called, once, and neither waits."""

    def extend(self) -> bool:
        """Reserve as much again, for another attempt that may be billed, too; False where that is not to be had."""
        ...

    def settle(self, cost_nano: int | None) -> None:
        """The request was served: charge this, in nano-dollars, and give the rest back. None: nobody knows the cost."""
        ...

    def release(self) -> None:
        """The request was not served: give all of it back."""
        ...


class Quota(Protocol):
    """Owns what every caller may still spend."""

    async def reserve(self, caller: Caller, worst_case_nano: Callable[[], int | None], /) -> Hold:
        """A Hold for a request that costs at most so much. Raises Problem where the caller has less left.

        `worst_case_nano` is computed only where somebody asks; it gives None where there is no bound.
        """
        ...


class _Free:
    """A Hold of nothing."""

    def extend(self) -> bool:
        return True

    def settle(self, cost_nano: int | None) -> None:
        pass

    def release(self) -> None:
        pass


FREE: Hold = _Free()


class Unlimited:
    """The quota of a router without limits: everybody may spend anything."""

    async def reserve(self, _: Caller, _worst_case_nano: Callable[[], int | None], /) -> Hold:
        """A Hold of nothing."""
        return FREE
