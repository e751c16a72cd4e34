"""A database's URL, as people write it, in the words of the drivers: aiosqlite for SQLite, asyncpg for PostgreSQL."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from sqlalchemy.engine import URL

from trunkline.core.problem import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CHANNEL_BINDINGS: Final = frozenset({"disable", "prefer", "require"})

TAKEN_BY_ASYNCPG: Final = frozenset(
    {
        "application_name",
        "dbname",
        "gsslib",
        "host",
        "krbsrvname",
        "options",
        "passfile",
        "password",
        "port",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "target_session_attrs",
        "user",
    }
)
"""https://magicstack.github.io/asyncpg/current/api/index.html#connection"""

WITHOUT_MEANING_HERE: Final = frozenset(
    {
        "client_encoding",
        "connect_timeout",
        "connection_limit",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "pgbouncer",
        "pool_timeout",
        "tcp_user_timeout",
    }
)
"""Parameters of libpq and of other clients that ask for what happens here anyway, or is ours to bound."""


@dataclass(frozen=True)
class Address:
    """Where a database is, as SQLAlchemy takes it. `label` names it for people, without a password.

    `file` is the SQLite file; None for a server.
    """

    label: str
    file: Path | None
    engine_url: URL = field(repr=False)
    connect_args: Mapping[str, Any] = field(repr=False)


def translate(url: str, *, may_create: bool = False) -> Address:
    """The address that this URL means. Raises Problem UNAVAILABLE saying what is wrong with it.

    `may_create`: a SQLite file that is not there is made; else using it fails.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return _sqlite(rest, may_create=may_create)
    if scheme in {"postgres", "postgresql"}:
        return _postgres(url)
    raise _wrong("must begin with postgresql:// or sqlite:///")


def _sqlite(rest: str, *, may_create: bool) -> Address:
    path = rest.removeprefix("/")
    if path == rest or not path or path == ":memory:" or "?" in path or "\0" in path:
        raise _wrong("must name a file: sqlite:///chat.sqlite3, or sqlite:////absolute/path")
    file = Path(path).absolute()
    mode = "rwc" if may_create else "rw"
    return Address(
        label=f"the SQLite file {path}",
        file=file,
        engine_url=URL.create(
            "sqlite+aiosqlite", database=f"file:{quote(str(file))}", query={"uri": "true", "mode": mode}
        ),
        # Transactions begin where `Database` says so, not where the driver guesses.
        connect_args={"isolation_level": None},
    )


def _postgres(url: str) -> Address:
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
    except ValueError:
        raise _wrong("cannot be read as a URL") from None
    unknown = sorted(query.keys() - TAKEN_BY_ASYNCPG - WITHOUT_MEANING_HERE - {"channel_binding"})
    if "@" in parts.path + parts.fragment or (unknown and "@" in parts.query):
        # The password ends at the first of them, and what follows is no name to print.
        raise _wrong("holds / ? or # in its user name or password: write %2F, %3F or %23 instead")
    if unknown:
        raise _wrong(f"has the parameter {unknown[0][:50]!r}, which is not known here")
    credentials, at, hosts = parts.netloc.rpartition("@")
    user, colon, password = credentials.partition(":")
    if not all(_port(host).isdecimal() for host in hosts.split(",") if _port(host)):
        raise _wrong("has a port that is not a number")
    # asyncpg splits at the first `@`; a password may hold one.
    netloc = f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}{at}{hosts}"
    context = _encryption(query)
    # asyncpg hands what it does not know to the server as a setting, which poolers refuse; empty values fail to parse.
    passed = {name: value for name, value in query.items() if name in TAKEN_BY_ASYNCPG and value}
    passed.setdefault("application_name", "trunkline")
    return Address(
        label=f"PostgreSQL at {hosts or query.get('host') or 'localhost'}{parts.path}",
        file=None,
        engine_url=URL.create("postgresql+asyncpg"),
        connect_args={
            "dsn": f"postgresql://{netloc}{parts.path}?{urlencode(passed)}",
            # Through a pooler every transaction may get another server connection, so nothing prepared outlives its
            # transaction: no cache, and only the unnamed statement, which the next one replaces.
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": _unnamed,
            **({} if context is None else {"ssl": context}),
        },
    )


def _port(host: str) -> str:
    return host.rpartition("]")[2].partition(":")[2]


def _encryption(query: dict[str, str]) -> ssl.SSLContext | None:
    """Settle `sslmode` and `channel_binding` in `query`; a context of our own where asyncpg has no word for it.

    asyncpg logs in without channel binding. Where the URL requires it, TLS at least is required.
    """
    mode = query.get("sslmode") or None
    if mode is not None and mode not in SSL_MODES:
        raise _wrong(f"has an sslmode that is not one of {', '.join(SSL_MODES)}")
    binding = query.pop("channel_binding", "") or "prefer"
    if binding not in CHANNEL_BINDINGS:
        raise _wrong(f"has a channel_binding that is not one of {', '.join(sorted(CHANNEL_BINDINGS))}")
    if binding == "require" and mode in {None, "allow", "prefer"}:
        query["sslmode"] = "require"
    if query.get("sslrootcert") != "system":
        return None
    # libpq's word for the machine's own list of authorities.
    del query["sslrootcert"]
    query["sslmode"] = "verify-full"
    return ssl.create_default_context()


def _unnamed() -> str:
    return ""


def _wrong(what: str) -> Problem:
    return Problem(Kind.UNAVAILABLE, f"The URL of the database {what}.")
