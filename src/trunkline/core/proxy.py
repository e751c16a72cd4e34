"""An HTTP proxy between the router and a provider: its address, and what proves to it who asks."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

from trunkline.core.caller import Secret

_END: Final = re.compile(r"[/?#]")
"""Where a URL's authority ends: what is beyond has no place for an @."""
_HOST: Final = re.compile(r"[a-z0-9._:%-]+")


class Proxy(msgspec.Struct, frozen=True):
    """Where tunnels are asked for. `host` is without brackets; `credential` is `user:password`, None where none is.

    Connections through two proxies, or through one with two credentials, are never shared.
    """

    host: str
    port: int
    credential: Secret | None = None

    @property
    def name(self) -> str:
        """How messages name it: host and port, never the credential."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole address, as `split_proxy_url` reads it, for a library that asks on its own. It holds the secret."""
        if self.credential is None:
            return f"http://{self.name}"
        user, _, password = self.credential.reveal().partition(":")
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{self.name}"


def split_proxy_url(url: str) -> Proxy:
    """`http://host:port` or `http://user:password@host:port` -> the proxy. Raises ValueError, saying what is wrong.

    User and password may be percent-encoded. What is said never holds a part of the URL: it may be a secret.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must hold only ASCII characters and no spaces")
    _, *beyond = _END.split(url.partition("://")[2], maxsplit=1)
    if beyond and "@" in beyond[0]:
        raise ValueError("must have / ? and # percent-encoded in its user name and password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or a port that is not one") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("must be an HTTP proxy's address, http://host:port")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must end after the port: http://host:port")
    if _HOST.fullmatch(parts.hostname) is None or not port:
        raise ValueError("must have a host and a port that are one: http://host:port")
    user_info, at, _ = parts.netloc.rpartition("@")
    return Proxy(parts.hostname, port, Secret(_credential(user_info)) if at else None)


def _credential(user_info: str) -> str:
    """Source: https://www.rfc-editor.org/rfc/rfc7617#section-2: a user's name has no colon."""
    user, colon, password = user_info.partition(":")
    user = unquote(user)
    if not user or not colon or ":" in user:
        raise ValueError("must have both a user's name and a password before the @, or neither")
    return f"{user}:{unquote(password)}"
