"""Where a value comes from: flag, environment, .env, trunkline.toml, default; the first that has one."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import pytest

from trunkline.settings.reading import SettingsError, load
from trunkline.settings.values import Server, Settings, compile_catalog

if TYPE_CHECKING:
    from settings.written import Desk

SECRET = "canary-secret-of-the-administrator-0123456789"


def test_with_nothing_written_there_are_defaults_and_no_provider(desk: Desk) -> None:
    settings = desk.load(XDG_DATA_HOME="/data", XDG_CACHE_HOME="/cache")
    assert settings == Settings(server=Server(data_dir="/data/trunkline", cache_dir="/cache/trunkline"))
    assert (settings.server.port, settings.server.host) == (3001, "localhost")
    assert settings.server.frontend_urls == ("http://localhost:5173",)


def test_each_source_goes_before_the_next(desk: Desk) -> None:
    desk.write(toml="[server]\nport = 1004\n")
    assert desk.load().server.port == 1004
    desk.write(env="PORT=1003\n")
    assert desk.load().server.port == 1003
    assert desk.load(PORT="1002").server.port == 1002
    assert desk.load({"PORT": "1001"}, PORT="1002").server.port == 1001


def test_the_same_holds_for_a_providers_variables(desk: Desk) -> None:
    desk.write(toml='[providers.openrouter]\nbase_url = "https://toml.test/v1"\n', env="OPENROUTER_API_KEY=k\n")
    assert desk.load().providers[0].origin.host == "toml.test"
    desk.write(env="OPENROUTER_API_KEY=k\nOPENROUTER_BASE_URL=https://dotenv.test/v1\n")
    assert desk.load().providers[0].origin.host == "dotenv.test"
    assert desk.load(OPENROUTER_BASE_URL="https://real.test/v1").providers[0].origin.host == "real.test"


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_what_is_empty_counts_as_unset_with_a_warning(desk: Desk, empty: str) -> None:
    desk.write(toml="[server]\nport = 1004\n")
    settings = desk.load(PORT=empty, OPENROUTER_API_KEY=empty)
    assert settings.server.port == 1004
    assert settings.providers == ()
    assert settings.warnings == (
        "PORT is empty, so it counts as unset.",
        "OPENROUTER_API_KEY is empty, so it counts as unset.",
    )


def test_what_is_empty_in_the_environment_is_looked_for_in_the_file(desk: Desk) -> None:
    settings = desk.write(env="PORT=1003\n").load(PORT="")
    assert settings.server.port == 1003
    assert settings.warnings == ()


@pytest.mark.parametrize("placeholder", ["your_api_key_here", "YOUR_API_KEY_HERE", "changeme", " sk-... "])
def test_a_placeholder_counts_as_unset_with_a_warning(desk: Desk, placeholder: str) -> None:
    settings = desk.write(env=f"OPENROUTER_API_KEY='{placeholder}'\n").load()
    assert settings.providers == ()
    assert settings.warnings == ("OPENROUTER_API_KEY still has its placeholder, so it counts as unset.",)


def test_a_warning_comes_once_however_often_the_value_is_asked_for(desk: Desk) -> None:
    desk.write(toml='[providers.openrouter]\n[providers.second]\npreset = "openrouter"\napi_key = "env:SECOND"\n')
    with pytest.raises(SettingsError):
        desk.load(OPENROUTER_API_KEY="changeme", SECOND="k")
    desk.write(toml='[providers.second]\npreset = "openrouter"\napi_key = "env:SECOND"\n')
    assert len(desk.load(OPENROUTER_API_KEY="changeme", SECOND="k").warnings) == 1


def test_a_dotenv_file_may_hold_quotes_comments_exports_and_a_byte_order_mark(desk: Desk) -> None:
    text = "PORT=1003\n# a comment\nexport HOST='127.0.0.1'  # loopback\nLOG_LEVEL=\"debug\"\nnonsense\nX=$PORT\n"
    (desk.directory / ".env").write_bytes(codecs.BOM_UTF8 + text.encode())
    server = desk.load().server
    assert (server.port, server.host, server.log_level) == (1003, "127.0.0.1", "debug")


def test_a_value_with_a_dollar_is_taken_as_it_is(desk: Desk) -> None:
    secret = (
        desk.write(env="TRUNKLINE_ADMIN_SECRET=$HOME-${PORT}-canary-0123456789-abcdefgh\n").load().server.admin_secret
    )
    assert secret is not None
    assert secret.reveal() == "$HOME-${PORT}-canary-0123456789-abcdefgh"


def test_the_file_is_found_where_it_is_named(desk: Desk) -> None:
    other = desk.directory / "other.toml"
    other.write_text("[server]\nport = 1005\n")
    desk.write(toml="[server]\nport = 1004\n")
    assert desk.load(TRUNKLINE_CONFIG=str(other)).server.port == 1005
    assert load({}, desk.directory, config=other).server.port == 1005


def test_every_variable_lands_in_its_setting(desk: Desk) -> None:
    settings = desk.load(
        PORT="8080",
        HOST="::1",
        FRONTEND_URL="https://app.test, http://localhost:5173/",
        CHAT_DATABASE_URL="postgresql://u:p@h/db",
        DATABASE_URL="sqlite:///ledger.sqlite3",
        LOG_LEVEL="WARNING",
        LOG_FORMAT="JSON",
        TRUNKLINE_ADMIN_SECRET=SECRET,
        TRUNKLINE_OPEN="yes",
        TRUNKLINE_ALLOWED_HOSTS="Router.test,  other.test",
        TRUNKLINE_WORKERS="4",
        TRUNKLINE_DRAIN_S="2.5",
        TRUNKLINE_DATA_DIR="/d",
        TRUNKLINE_CACHE_DIR="/c",
    )
    server = settings.server
    assert (server.port, server.host, server.workers, server.drain_s) == (8080, "::1", 4, 2.5)
    assert server.frontend_urls == ("https://app.test", "http://localhost:5173")
    assert server.allowed_hosts == ("router.test", "other.test")
    assert (server.log_level, server.log_format, server.open) == ("warning", "json", True)
    assert (server.data_dir, server.cache_dir) == ("/d", "/c")
    assert server.admin_secret is not None
    assert server.admin_secret.reveal() == SECRET
    assert settings.chat_database_url is not None
    assert settings.chat_database_url.reveal() == "postgresql://u:p@h/db"
    assert settings.database_url is not None


def test_origins_are_those_that_browsers_name(desk: Desk) -> None:
    server = desk.load(FRONTEND_URL="https://app.test:443, http://app.test:80/, http://app.test:443").server
    assert server.frontend_urls == ("https://app.test", "http://app.test", "http://app.test:443")


def test_an_address_is_a_host_with_or_without_its_brackets(desk: Desk) -> None:
    server = desk.load(TRUNKLINE_ALLOWED_HOSTS="[2001:DB8::1],2001:db8::2,10.0.0.5,").server
    assert server.allowed_hosts == ("2001:db8::1", "2001:db8::2", "10.0.0.5")


def test_a_directory_may_begin_at_home(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    server = desk.write(env="TRUNKLINE_DATA_DIR=~/trunkline", toml='[server]\ncache_dir = "~/cache"').load().server
    assert (server.data_dir, server.cache_dir) == ("/home/ada/trunkline", "/home/ada/cache")


def test_the_file_is_read_as_the_environment_is(desk: Desk) -> None:
    desk.write(
        toml="""
        default_model = "fast"
        [aliases]
        fast = "openai/gpt-4o-mini"
        [server]
        frontend_urls = ["https://App.test/"]
        allowed_hosts = ["Router.test"]
        log_level = "DEBUG"
        drain_s = 5
        open = true
        max_body_bytes = 1024
        [timeouts]
        connect_s = 1
        total_s = 0.5
        """
    )
    settings = desk.load()
    assert settings.server.frontend_urls == ("https://app.test",)
    assert settings.server.allowed_hosts == ("router.test",)
    assert (settings.server.log_level, settings.server.drain_s, settings.server.open) == ("debug", 5.0, True)
    assert settings.server.max_body_bytes == 1024
    assert (settings.timeouts.connect_s, settings.timeouts.total_s) == (1.0, 0.5)
    catalog = compile_catalog(settings)
    assert catalog.aliases == (("fast", "openai/gpt-4o-mini"),)
    assert catalog.default_model == "fast"
