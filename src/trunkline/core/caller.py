"""Who asks: a value that the walk carries, and the type that keeps secrets out of sight."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

import msgspec

ANONYMOUS = "anonymous"
"""The owner of everything on an open router; once keys are on, these sessions are the administrator's."""

ADMINISTRATOR = "administrator"
"""The administrator's own sessions, where a router with a secret is open to guests, too."""


class Secret:
    """A string that shows itself only when asked: `repr`, `str`, formatting and logs give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Call this where it goes onto the wire, and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")


class Scope(StrEnum):
    """What a key may do that costs, or reaches, more than its own requests show."""

    PROVIDER_STATE = "provider-state"
    """Name what a provider keeps for the account that all tenants share: files, stored prompts, containers."""
    PROVIDER_TOOLS = "provider-tools"
    """Have the provider run tools: a web search, code."""


ALL_SCOPES = frozenset(Scope)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `user` owns sessions; `is_admin` opens the administrator's routes.

    `models` are the names that it may ask for: a model as `provider/model`, an alias, or `provider/*`; None means
    all. `tags` open a route's targets that want one. On an open router everybody has every scope.
    """

    user: str = ANONYMOUS
    is_admin: bool = False
    scopes: frozenset[Scope] = ALL_SCOPES
    tags: frozenset[str] = frozenset()
    models: frozenset[str] | None = None

    def may_use(self, *names: str) -> bool:
        """Whether it may ask for a model that goes by these names. A suffixed name is another name."""
        if self.models is None:
            return True
        return any(name in self.models or f"{name.partition('/')[0]}/*" in self.models for name in names)
