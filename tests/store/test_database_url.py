"""Database URLs as people and hosts write them, and what the drivers get."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qs, urlsplit

import pytest

from trunkline.core.problem import Problem
from trunkline.store.database_url import Address, translate


def query(address: Address) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address.connect_args["dsn"]).query).items()}


NEON = (
    "postgres://owner:npg_Secret1@ep-cool-pond-123456-pooler.eu-central-1.aws.neon.tech/neondb"
    "?sslmode=require&channel_binding=require"
)


def test_a_pooled_neon_url_works_as_it_is_copied() -> None:
    address = translate(NEON)
    assert address.engine_url.drivername == "postgresql+asyncpg"
    assert query(address) == {"sslmode": "require", "application_name": "trunkline"}
    assert urlsplit(address.connect_args["dsn"]).hostname == "ep-cool-pond-123456-pooler.eu-central-1.aws.neon.tech"


def test_nothing_prepared_outlives_its_transaction() -> None:
    arguments = translate(NEON).connect_args
    assert arguments["statement_cache_size"] == 0
    assert arguments["prepared_statement_cache_size"] == 0
    assert arguments["prepared_statement_name_func"]() == ""


def test_a_url_is_named_to_people_without_its_password() -> None:
    address = translate(NEON)
    assert address.label == "PostgreSQL at ep-cool-pond-123456-pooler.eu-central-1.aws.neon.tech/neondb"
    assert "npg_Secret1" not in repr(address)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", None),
        ("?sslmode=disable", "disable"),
        ("?sslmode=verify-full", "verify-full"),
        ("?channel_binding=require", "require"),
        ("?channel_binding=require&sslmode=prefer", "require"),
        ("?channel_binding=require&sslmode=verify-ca", "verify-ca"),
        ("?channel_binding=prefer", None),
        ("?channel_binding=", None),
        ("?sslmode=", None),
    ],
)
def test_channel_binding_becomes_tls(written: str, expected: str | None) -> None:
    assert query(translate(f"postgresql://u@h/d{written}")).get("sslmode") == expected


def test_the_machines_own_authorities_are_used_where_the_url_says_so() -> None:
    address = translate("postgresql://u@h/d?sslmode=verify-full&sslrootcert=system")
    context = address.connect_args["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert "sslrootcert" not in query(address)


def test_parameters_of_other_clients_do_not_reach_the_server() -> None:
    written = "?pgbouncer=true&connect_timeout=15&connection_limit=1&application_name=mine&options=endpoint%3Dx"
    assert query(translate(f"postgresql://u@h/d{written}")) == {"application_name": "mine", "options": "endpoint=x"}


def test_a_password_may_hold_anything() -> None:
    parts = urlsplit(translate("postgresql://us%2Fer:p@ss%3Aw%25rd@h:6543/d").connect_args["dsn"])
    assert (parts.username, parts.password, parts.hostname, parts.port) == ("us%2Fer", "p%40ss%3Aw%25rd", "h", 6543)


def test_a_sqlite_path_is_relative_or_absolute() -> None:
    relative, absolute = (
        translate("sqlite:///chat.sqlite3"),
        translate("sqlite:////var/lib/a b?.sqlite3".replace("?", "")),
    )
    assert relative.file is not None
    assert relative.file.is_absolute()
    assert relative.file.name == "chat.sqlite3"
    assert str(absolute.file) == "/var/lib/a b.sqlite3"
    assert relative.label == "the SQLite file chat.sqlite3"


def test_a_sqlite_file_is_made_only_where_that_is_asked_for() -> None:
    assert translate("sqlite:///chat.sqlite3").engine_url.query["mode"] == "rw"
    assert translate("sqlite:///chat.sqlite3", may_create=True).engine_url.query["mode"] == "rwc"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/d", "must begin with"),
        ("chat.sqlite3", "must begin with"),
        ("sqlite:chat.sqlite3", "must begin with"),
        ("sqlite://", "must name a file"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite://chat.sqlite3", "must name a file"),
        ("postgresql://u@h/d?sslmode=maybe", "sslmode"),
        ("postgresql://u@h/d?channel_binding=perhaps", "channel_binding"),
        ("postgresql://u@h/d?nonsense=1", "nonsense"),
        ("postgresql://u@[::1/d", "cannot be read"),
        ("postgresql://u@h/d?a=%FF", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason_and_without_the_url(url: str, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        translate(url)
    assert "u@h" not in caught.value.message
