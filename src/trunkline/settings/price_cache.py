"""The vendors' price lists as the cache directory keeps them, made anew when the package that has them changes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.price_list import PriceList
from trunkline.settings import price_snapshot
from trunkline.settings.price_snapshot import DatedList

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

SNAPSHOT: Final = "prices.json"
MAKE_S: Final = 60.0
"""How long making it may take; it takes about a second."""

Stamp = tuple[tuple[int, int], ...]


class PriceLists(msgspec.Struct, frozen=True, kw_only=True):
    """Price lists by name, and what the operator should know of them."""

    lists: dict[str, PriceList] = {}
    warnings: tuple[str, ...] = ()


class _Kept(msgspec.Struct, frozen=True):
    """The snapshot as it is kept. `stamp` says of which data it was made, and by which code."""

    stamp: Stamp
    lists: msgspec.Raw


def price_lists(names: Collection[str], cache_dir: Path, day: date) -> PriceLists:
    """The lists of these names, as they are on this day.

    They are read from `cache_dir`, and made where they are not there yet. Nothing is asked over the network.
    """
    wanted = sorted(set(names))
    if not wanted:
        return PriceLists()
    path, stamp, warnings = cache_dir / SNAPSHOT, _stamp(), list[str]()
    try:
        read = _read(path, stamp, wanted)
        if read is None:
            made = _made()
            read = _parts(made, wanted)
            warnings += _keep(path, msgspec.json.encode(_Kept(stamp, msgspec.Raw(made))))
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        return PriceLists(warnings=(f"What models cost is not known: {_reason(error)}.",))
    warnings += [
        f"There is no price list {name!r}: what its models cost is not known." for name in wanted if name not in read
    ]
    return PriceLists(lists={name: dated.on(day) for name, dated in read.items()}, warnings=tuple(warnings))


def _read(path: Path, stamp: Stamp, wanted: list[str]) -> dict[str, DatedList] | None:
    """The lists that are kept; None where there are none, or none of this stamp."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        return _parts(kept.lists, wanted) if kept.stamp == stamp else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _parts(lists: bytes | msgspec.Raw, wanted: list[str]) -> dict[str, DatedList]:
    parts = msgspec.json.decode(lists, type=dict[str, msgspec.Raw])
    return {name: msgspec.json.decode(parts[name], type=DatedList) for name in wanted if name in parts}


def _stamp() -> Stamp:
    """Which data there are, and which code makes lists of them; the package is found without being imported."""
    package = find_spec("genai_prices")
    origin = package.origin if package is not None else None
    files = (*((Path(origin).with_name("data.py"),) if origin is not None else ()), Path(price_snapshot.__file__))
    with contextlib.suppress(OSError):  # within a zip file: then the lists are never kept for long
        return tuple((found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files))
    return ()


def _made() -> bytes:
    """The lists, made by a process of its own: what it imports has no place in one that serves."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", price_snapshot.__name__],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=MAKE_S,
        check=True,
    )
    return done.stdout


def _keep(path: Path, data: bytes) -> list[str]:
    """Write it, whole or not at all, also where several start at once. Returns what kept it from that."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            file = Path(folder) / path.name
            file.write_bytes(data)
            file.replace(path)
    except OSError as error:
        return [f"Prices cannot be kept in {path.parent}, so each start makes them anew: {error.strerror}."]
    return []


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return last[:200] or f"{price_snapshot.__name__} ended with {error.returncode}"
    return str(error)[:200]
