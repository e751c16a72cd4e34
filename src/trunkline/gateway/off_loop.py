"""Pure work on a large body, in a thread of its own: the event loop, on which every stream moves, never waits for it.

The interpreter takes turns between threads every millisecond (`app.py` sets it), and no single step of the work holds
it for much longer: so the stall is bounded, however large the body.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

SHALLOW_BYTES: Final = 512 * 1024
"""From here on even a look at the top level is made elsewhere: on the loop it takes about half a millisecond a MiB."""

DEEP_BYTES: Final = 16 * 1024
"""From here on a translation is made elsewhere: a MiB of it takes 10 ms, and of many short messages 300."""


async def off_loop(is_large: bool, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:  # noqa: FBT001 - read as `off_loop if`
    """What `work` gives: in a thread where it is large, else at once.

    What every request passes asks that itself, and calls `asyncio.to_thread` or the work: this coroutine costs as much
    as small work does.
    """
    if is_large:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
