"""The variables of the environment: one row each, with what it means and how it is read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from trunkline.core.caller import Secret

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
MIN_SECRET: Final = 32
ADMIN_SECRET: Final = "TRUNKLINE_ADMIN_SECRET"  # noqa: S105 - the name of a variable, not its value
PLACEHOLDERS: Final = frozenset({"your_api_key_here", "changeme", "change-me", "sk-...", "sk-or-v1-...", "xxx"})


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the environment: its name, where it lives, how it is read, and what the docs say of it."""

    name: str
    field: str
    meaning: str
    parse: Callable[[str], Any]
    example: str = ""
    is_secret: bool = False
    shown_default: str = ""


def _port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise ValueError("must be a number from 0 (any free port) to 65535, such as 3001")
    return int(value)


def _count(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", value) or not 1 <= int(value) <= 256:
        raise ValueError("must be a number from 1 to 256")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise ValueError("must be a number of seconds, such as 30")
    return seconds


def _flag(value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0")


def _host(value: str) -> str:
    is_name = re.fullmatch(r"[A-Za-z0-9._-]{1,253}", value) is not None
    if not is_name and not _is_address(value):
        raise ValueError("must be a host name or an address without a port, such as localhost or 0.0.0.0")
    return value


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


_USUAL_PORT: Final = {"http": ":80", "https": ":443"}


def _origins(value: str) -> tuple[str, ...]:
    origins: list[str] = []
    for entry in (entry.strip() for entry in value.split(",")):
        if not entry:
            continue
        if entry == "*":
            raise ValueError("must name exact origins, not *; such as http://localhost:5173")
        if not all("!" <= character <= "~" for character in entry):
            raise ValueError("must hold only ASCII characters and no spaces; browsers write other names as xn--...")
        try:
            parts = urlsplit(entry)
            is_origin = (
                parts.scheme in {"http", "https"}
                and bool(parts.hostname)
                and parts.path in {"", "/"}
                and not (parts.query or parts.fragment or parts.username)
                and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            is_origin = False
        if not is_origin:
            raise ValueError("must be origins such as http://localhost:5173, separated by commas")
        origin = entry.rstrip("/").lower()
        # Browsers leave out the usual port of a scheme.
        origins.append(origin.removesuffix(_USUAL_PORT[origin.partition(":")[0]]))
    return tuple(origins)


def _hosts(value: str) -> tuple[str, ...]:
    hosts: list[str] = []
    for entry in (entry.strip().lower() for entry in value.split(",")):
        if not entry:
            continue
        bare = entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
        try:
            hosts.append(_host(bare))
        except ValueError:
            raise ValueError(
                "must be host names or addresses without a port, such as llm.example.com, separated by commas"
            ) from None
    return tuple(hosts)


def _directory(value: str) -> str:
    """In a file no shell has put the home directory in place of `~`."""
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise ValueError("begins with the home directory of nobody who is known here") from None


def _level(value: str) -> str:
    if value.lower() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return value.lower()


def _format(value: str) -> str:
    if value.lower() not in {"auto", "pretty", "json"}:
        raise ValueError("must be auto, pretty or json")
    return value.lower()


def _admin_secret(value: str) -> Secret:
    if len(value) < MIN_SECRET or len(set(value)) < 8:
        raise ValueError(
            f"must be a random string of at least {MIN_SECRET} characters;"
            " python3 -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        )
    return Secret(value)


def _database_url(value: str) -> Secret:
    scheme = value.partition("://")[0]
    if scheme not in {"postgres", "postgresql", "sqlite"} or "://" not in value:
        raise ValueError("must be postgresql://user:password@host/database or sqlite:///path/to/file")
    if scheme == "sqlite" and len(value) <= len("sqlite:///"):
        raise ValueError("must name a file: sqlite:///chat.sqlite3, or sqlite:////absolute/path")
    return Secret(value)


VARIABLES: Final[tuple[Variable, ...]] = (
    Variable(name="PORT", field="server.port", parse=_port, shown_default="3001", meaning="Server port."),
    Variable(
        name="FRONTEND_URL",
        field="server.frontend_urls",
        parse=_origins,
        shown_default="http://localhost:5173",
        meaning="Origins whose pages may call the router (CORS), exact, separated by commas.",
    ),
    Variable(
        name="CHAT_DATABASE_URL",
        field="chat_database_url",
        parse=_database_url,
        is_secret=True,
        example="sqlite:///chat.sqlite3",
        meaning="Chat history: PostgreSQL (a Neon URL as it is) or `sqlite:///path`. Unset: no history.",
    ),
    Variable(
        name="DATABASE_URL",
        field="database_url",
        parse=_database_url,
        is_secret=True,
        meaning="What `trunkline migrate` prepares when CHAT_DATABASE_URL is unset.",
    ),
    Variable(
        name="HOST",
        field="server.host",
        parse=_host,
        shown_default="localhost",
        meaning="Address to listen on; `localhost` is 127.0.0.1 and ::1. One that is not loopback needs"
        " TRUNKLINE_ADMIN_SECRET.",
    ),
    Variable(
        name="LOG_LEVEL",
        field="server.log_level",
        parse=_level,
        shown_default="info",
        meaning="debug, info, warning or error.",
    ),
    Variable(
        name="LOG_FORMAT",
        field="server.log_format",
        parse=_format,
        shown_default="auto",
        meaning="`pretty` for people, `json` for machines; `auto`: pretty on a terminal.",
    ),
    Variable(
        name=ADMIN_SECRET,
        field="server.admin_secret",
        parse=_admin_secret,
        is_secret=True,
        meaning="Secret of the administrator, 32 characters or more. Once set, requests need it (or TRUNKLINE_OPEN=1).",
    ),
    Variable(
        name="TRUNKLINE_OPEN",
        field="server.open",
        parse=_flag,
        shown_default="0",
        meaning="1: anyone who can reach the router may use its models, even with a secret set.",
    ),
    Variable(
        name="TRUNKLINE_ALLOWED_HOSTS",
        field="server.allowed_hosts",
        parse=_hosts,
        meaning="More names by which clients may call this server (the Host header), separated by commas.",
    ),
    Variable(
        name="TRUNKLINE_WORKERS",
        field="server.workers",
        parse=_count,
        shown_default="1",
        meaning="Worker processes.",
    ),
    Variable(
        name="TRUNKLINE_DRAIN_S",
        field="server.drain_s",
        parse=_seconds,
        shown_default="30",
        meaning="How long running streams may take after SIGTERM, in seconds.",
    ),
    Variable(
        name="TRUNKLINE_DATA_DIR",
        field="server.data_dir",
        parse=_directory,
        shown_default="~/.local/share/trunkline",
        meaning="Where the router keeps its own files: the control socket, and answers to an `Idempotency-Key`.",
    ),
    Variable(
        name="TRUNKLINE_CACHE_DIR",
        field="server.cache_dir",
        parse=_directory,
        shown_default="~/.cache/trunkline",
        meaning="Where the local model's weights and the price lists are kept.",
    ),
)
"""Every variable but the providers' own (their rows name them). `docs/configuration.md` is made from this table."""
