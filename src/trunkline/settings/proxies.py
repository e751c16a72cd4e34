"""What the operator says of proxies: which one leads to a provider, and that a password does not stand in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trunkline.core.proxy import split_proxy_url
from trunkline.settings.values import ENV

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.proxy import Proxy

DIRECT: Final = "direct"
"""What a provider's row says that wants no proxy where the server has one."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def read_proxy(
    written: str, where: str, value: Callable[[str], str | None], tell: Callable[[str], None]
) -> Proxy | None:
    """The proxy at `http://host:port`, or at what the variable of `env:NAME` holds; None where it is `direct`.

    `value` gives a variable's value. Each mistake is told as a sentence, without what was written: it may be a secret.
    """
    if written == DIRECT:
        return None
    name = written.removeprefix(ENV)
    if name == written:
        if "@" in written:
            tell(
                f"{where} must not hold a user name or a password: write env:NAME, and the address into that variable."
            )
            return None
        return _split(written, where, tell)
    if _NAME.fullmatch(name) is None:
        tell(f"{where} must be http://host:port, or env:NAME with a variable's name.")
        return None
    url = value(name)
    if url is None:
        tell(f"{where}: set {name}, or leave it out.")
        return None
    return _split(url, name, tell)


def _split(url: str, where: str, tell: Callable[[str], None]) -> Proxy | None:
    try:
        return split_proxy_url(url)
    except ValueError as error:
        tell(f"{where} {error}.")
        return None
