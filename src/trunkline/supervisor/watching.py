"""`serve --reload`: tells which file changed, of the source and of the configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchfiles import (
    Change,
    PythonFilter,
    awatch,  # pyright: ignore[reportUnknownVariableType] - one of its types is trio's, which is not here
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    Changed = Callable[[Path], Awaitable[None]]

QUIET_MS: Final = 100
"""An editor writes more than once: changes count when none came for this long."""

MOST_MS: Final = 1000


async def watch(paths: Iterable[Path], changed: Changed) -> None:
    """Call `changed` with one path of each batch of changes, one batch at a time, until cancelled.

    Folders are watched with all their Python and TOML files. A file need not exist; it is watched by its name,
    because editors replace files rather than write to them.
    """
    resolved = [path.resolve() for path in paths]
    folders = [path for path in resolved if path.is_dir()]
    files = {str(path) for path in resolved if not path.is_dir() and path.parent.is_dir()}
    parents = sorted({Path(file).parent for file in files})
    python = PythonFilter(extra_extensions=(".toml",))
    lock = asyncio.Lock()

    async def one_at_a_time(path: Path) -> None:
        async with lock:
            await changed(path)

    async with asyncio.TaskGroup() as tasks:
        if folders:
            tasks.create_task(_follow(folders, python, one_at_a_time, recursive=True))
        if parents:
            tasks.create_task(_follow(parents, lambda _, path: path in files, one_at_a_time, recursive=False))


async def _follow(
    paths: Sequence[Path], keep: Callable[[Change, str], bool], changed: Changed, *, recursive: bool
) -> None:
    async for batch in awatch(
        *paths, watch_filter=keep, debounce=MOST_MS, step=QUIET_MS, recursive=recursive, raise_interrupt=False
    ):
        _, path = min(batch, key=lambda change: change[1])
        await changed(Path(path))
