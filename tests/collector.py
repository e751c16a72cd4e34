"""What is let go too late: by the garbage collector, and not when nobody needs it any more."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def left_to_the_collector(*classes: type) -> Generator[list[str]]:
    """The names of those objects of these classes that become garbage in the block, once it has ended."""
    left: list[str] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left += [type(one).__qualname__ for one in gc.garbage if isinstance(one, classes)]
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
