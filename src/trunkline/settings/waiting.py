"""What of new settings a running process cannot take over: all that is not the catalogue's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.settings.values import Server

if TYPE_CHECKING:
    from trunkline.settings.values import Settings


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, by name, that have changed and that a running process cannot take over.

    `new_worker`: a new process has them. `restart`: they are the parent's, and wait for its end.
    """

    new_worker: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


RESTART: Final = frozenset({"server.host", "server.port", "server.workers", "server.data_dir", "server.drain_s"})
"""What the parent process has from its start."""

BUILT_IN: Final = ("retries", "breaker", "health", "chat_database_url", "database_url")
"""What else than the server's settings a process is built with; all that is not named here is the catalogue's."""


def waiting_of(old: Settings, new: Settings) -> Waiting:
    """What of the new settings cannot be taken over by a process that runs with the old ones."""
    names = (field.name for field in msgspec.structs.fields(Server))
    changed = [f"server.{name}" for name in names if getattr(old.server, name) != getattr(new.server, name)]
    changed += [name for name in BUILT_IN if getattr(old, name) != getattr(new, name)]
    return Waiting(
        new_worker=tuple(name for name in changed if name not in RESTART),
        restart=tuple(name for name in changed if name in RESTART),
    )


def with_catalogue_of(old: Settings, new: Settings) -> Settings:
    """The new settings, less what a process that runs with the old ones cannot take over."""
    return msgspec.structs.replace(new, server=old.server, **{name: getattr(old, name) for name in BUILT_IN})
