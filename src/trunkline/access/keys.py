"""Who may ask. For now one secret, the administrator's; virtual keys join it here."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from trunkline.core.caller import ADMINISTRATOR, ANONYMOUS, Caller
from trunkline.core.problem import Kind, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.caller import Secret

COOKIE_S: Final = 12 * 3600

_OPEN: Final = Caller(user=ANONYMOUS, is_admin=True)
_GUEST: Final = Caller(user=ANONYMOUS)
_ADMINISTRATOR_AMONG_GUESTS: Final = Caller(user=ADMINISTRATOR, is_admin=True)


class Keys:
    """Turns what a request presents into a Caller.

    Without a secret the router is open: everybody is the same anonymous user and may administrate (the edge lets in
    only this machine's clients). With one, requests need it, unless `is_open` lets anybody use the models.
    `clock` gives the wall time in seconds.
    """

    def __init__(self, admin_secret: Secret | None, *, is_open: bool, clock: Callable[[], float]) -> None:
        self._secret = admin_secret
        self._digest = None if admin_secret is None else _digest(admin_secret.reveal())
        self._is_open = is_open
        self._clock = clock

    def authorise(self, credential: str | None, cookie: str | None = None) -> Caller:
        """The caller who presents this. Raises Problem UNAUTHENTICATED."""
        if self._secret is None:
            return _OPEN
        if (credential is not None and self._is_secret(credential)) or (
            cookie is not None and self._is_current(cookie)
        ):
            # The sessions of the router's open days are the administrator's, unless those days go on.
            return _ADMINISTRATOR_AMONG_GUESTS if self._is_open else _OPEN
        if self._is_open:
            return _GUEST
        what = "The key is not known here" if credential is not None else "This router wants a key"
        raise invalid(f"{what}: send `Authorization: Bearer ...`, or log in on the page.", kind=Kind.UNAUTHENTICATED)

    def log_in(self, credential: str) -> str:
        """The cookie that stands for this credential. Raises Problem UNAUTHENTICATED."""
        if self._secret is None or not self._is_secret(credential):
            raise invalid("The key is not known here.", param="key", kind=Kind.UNAUTHENTICATED)
        expires = str(int(self._clock()) + COOKIE_S)
        return f"{expires}.{self._signature(expires)}"

    def _is_secret(self, credential: str) -> bool:
        assert self._digest is not None  # noqa: S101 - asked only where there is one
        return hmac.compare_digest(_digest(credential), self._digest)

    def _is_current(self, cookie: str) -> bool:
        expires, _, signature = cookie.partition(".")
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        genuine = hmac.compare_digest(_digest(signature), _digest(self._signature(expires)))
        return genuine and self._clock() < int(expires)

    def _signature(self, expires: str) -> str:
        assert self._secret is not None  # noqa: S101 - asked only where there is one
        key = hashlib.sha256(b"trunkline cookie\0" + self._secret.reveal().encode()).digest()
        return hmac.new(key, expires.encode(), hashlib.sha256).hexdigest()


def _digest(value: str) -> bytes:
    """Equal lengths, so that comparing takes the same time whatever was sent."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
