"""A wrong value stops the start: one line that names it and the fix, all of them together, and never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.settings.reading import SettingsError
from trunkline.settings.variables import VARIABLES

if TYPE_CHECKING:
    from settings.written import Desk

CANARY = "canary"


A_PORT = "must be a number from 0 (any free port) to 65535, such as 3001"
A_SERVER = "dialect = 'openai_chat'\nbase_url = 'http://localhost:1/v1'"
A_HOST = "must be a host name or an address without a port, such as localhost or 0.0.0.0"
HOSTS = "must be host names or addresses without a port, such as llm.example.com, separated by commas"
ORIGINS = "must be origins such as http://localhost:5173, separated by commas"
IN_ASCII = "must hold only ASCII characters and no spaces; browsers write other names as xn--..."
SECONDS = "must be a number of seconds, such as 30"


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("PORT", "-1", A_PORT),
        ("PORT", "65536", A_PORT),
        ("PORT", "00000000099999", A_PORT),
        ("PORT", "http", A_PORT),
        ("PORT", "٣٠٠١", A_PORT),
        ("HOST", "localhost:3001", A_HOST),
        ("HOST", "http://localhost", A_HOST),
        ("HOST", "[::1]", A_HOST),
        ("FRONTEND_URL", "*", "must name exact origins, not *; such as http://localhost:5173"),
        ("FRONTEND_URL", "http://a.test/path", ORIGINS),
        ("FRONTEND_URL", "http://localhost:5173,localhost:5174", ORIGINS),
        ("FRONTEND_URL", "ftp://a.test", ORIGINS),
        ("FRONTEND_URL", "http://", ORIGINS),
        ("FRONTEND_URL", "http://a.test?x", ORIGINS),
        ("FRONTEND_URL", "http://a.test:0", ORIGINS),
        ("FRONTEND_URL", "http://[", ORIGINS),
        ("FRONTEND_URL", "null", ORIGINS),
        ("FRONTEND_URL", "http://a.test,https://例え.test", IN_ASCII),
        ("FRONTEND_URL", "http://a.test http://b.test", IN_ASCII),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "must be auto, pretty or json"),
        ("TRUNKLINE_OPEN", "maybe", "must be 1 or 0"),
        ("TRUNKLINE_ALLOWED_HOSTS", "a.test, llm.example.com:3001", HOSTS),
        ("TRUNKLINE_ALLOWED_HOSTS", "https://llm.example.com", HOSTS),
        ("TRUNKLINE_ALLOWED_HOSTS", "*.example.com", HOSTS),
        ("TRUNKLINE_ALLOWED_HOSTS", "[2001:db8::1]:3001", HOSTS),
        ("TRUNKLINE_DATA_DIR", "~nobody-here/x", "begins with the home directory of nobody who is known here"),
        ("TRUNKLINE_WORKERS", "0", "must be a number from 1 to 256"),
        ("TRUNKLINE_WORKERS", "257", "must be a number from 1 to 256"),
        ("TRUNKLINE_DRAIN_S", "-1", SECONDS),
        ("TRUNKLINE_DRAIN_S", "nan", SECONDS),
        ("TRUNKLINE_DRAIN_S", "1e999", SECONDS),
    ],
)
def test_a_wrong_value_is_one_line_with_its_name_and_the_fix(desk: Desk, name: str, value: str, fix: str) -> None:
    assert desk.mistakes(**{name: value}) == [f"{name} {fix}."]


def test_a_long_value_is_cut_where_it_is_shown(desk: Desk) -> None:
    assert desk.mistakes(PORT="9" * 5000) == [f"PORT {A_PORT}."]


def test_a_file_that_is_named_must_be_there(desk: Desk) -> None:
    assert desk.mistakes(TRUNKLINE_CONFIG="/not/there.toml") == ["The configuration file /not/there.toml is not there."]


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        (
            "CHAT_DATABASE_URL",
            "mysql://canary:canary@h/db",
            "must be postgresql://user:password@host/database or sqlite",
        ),
        ("CHAT_DATABASE_URL", "canary.sqlite3", "must be postgresql://user:password@host/database or sqlite"),
        ("DATABASE_URL", "sqlite://", "must name a file: sqlite:///chat.sqlite3"),
        ("TRUNKLINE_ADMIN_SECRET", "canary", "must be a random string of at least 32 characters"),
        ("TRUNKLINE_ADMIN_SECRET", "canary" * 10, "must be a random string of at least 32 characters"),
        ("OPENROUTER_API_KEY", "sk-canäry", "must hold only ASCII characters and no spaces"),
        ("OPENROUTER_API_KEY", "sk-canary\nx-evil: 1", "must hold only ASCII characters and no spaces"),
        ("OPENROUTER_API_KEY", "sk canary", "must hold only ASCII characters and no spaces"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(desk: Desk, name: str, value: str, fix: str) -> None:
    (line,) = desk.mistakes(**{name: value})
    assert line.startswith(f"{name} {fix}")
    assert CANARY not in line


def test_a_password_in_an_address_is_not_shown(desk: Desk) -> None:
    (line,) = desk.mistakes(OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL="https://user:canary@h/v1")
    assert line == ("OPENROUTER_BASE_URL must not hold a user name or password; give the key in its own variable.")


def test_all_mistakes_are_reported_at_once(desk: Desk) -> None:
    desk.write(
        toml="""
        default_model = 5
        frist = 1
        [server]
        port = "x"
        prot = 1
        [timeouts]
        connect_s = -1
        [providers.mine]
        dialect = "smoke signals"
        base_url = "https://mine.test"
        [aliases]
        fast = 1
        """
    )
    assert desk.mistakes(LOG_LEVEL="loud", OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL="nowhere") == [
        "trunkline.toml: frist is not a setting.",
        "trunkline.toml: server.prot is not a setting.",
        "trunkline.toml: server.port: Expected `int`, got `str`.",
        "trunkline.toml: timeouts.connect_s must be a number that is not negative.",
        "LOG_LEVEL must be one of debug, info, warning, error.",
        "trunkline.toml: aliases: Expected `str`, got `int` - at `$[...]`.",
        "trunkline.toml: default_model must be a string.",
        "OPENROUTER_BASE_URL must start with http:// or https://.",
        (
            "trunkline.toml: providers.mine.dialect must be one of "
            "anthropic_messages, gemini, openai_chat, openai_responses."
        ),
    ]


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("server = 5", "server must be a table."),
        ("providers = []", "providers must be a table."),
        ("[aliases]\nfast = []", "aliases: Expected `str`, got `array` - at `$[...]`."),
        ("[server]\nport = 70000", "server.port must be a number from 0 (any free port) to 65535"),
        ("[server]\nworkers = 1000", "server.workers must be a number from 1 to 256."),
        ("[server]\nlog_level = 'loud'", "server.log_level must be one of debug, info, warning, error."),
        ("[server]\nfrontend_urls = ['*']", "server.frontend_urls must name exact origins, not *; such as"),
        ("[server]\nfrontend_urls = 'http://a'", "server.frontend_urls: Expected `array`, got `str`."),
        ("[server]\nhost = 'a b'", "server.host must be a host name or an address without a port"),
        ("[server]\nopen = 1", "server.open: Expected `bool`, got `int`."),
        ("[server]\nkeep_alive_s = nan", "server.keep_alive_s must be a number that is not negative."),
        ("[server]\nearly_headers_s = inf", "server.early_headers_s must be a number that is not negative."),
        ("[server]\nmax_body_bytes = -1", "server.max_body_bytes must be a number that is not negative."),
        (f"[providers.'a/b']\n{A_SERVER}", "'providers.a/b': a provider's name is printable and has no slash."),
        (f"[providers.'']\n{A_SERVER}", "'providers.': a provider's name is printable and has no slash."),
        ("[timeouts]\ntotal = 5", "timeouts.total is not a setting."),
        ("[timeouts]\ntotal_s = 'x'", "timeouts.total_s: Expected `float`, got `str`."),
    ],
)
def test_a_wrong_value_in_the_file_is_named_with_its_table(desk: Desk, toml: str, line: str) -> None:
    (mistake,) = desk.write(toml=toml).mistakes()
    assert mistake.startswith(f"trunkline.toml: {line}")


@pytest.mark.parametrize(
    "toml",
    [
        "[server]\nadmin_secret = 'canary-secret-of-the-administrator-0123456789'",
        "chat_database_url = 'postgresql://u:canary@h/db'",
        "[providers.openrouter]\napi_key = 'sk-canary'",
        "[providers.openrouter]\ncredential = 'sk-canary'",
    ],
)
def test_a_secret_does_not_belong_into_the_file_and_is_not_shown(desk: Desk, toml: str) -> None:
    mistakes = desk.write(toml=toml).mistakes(OPENROUTER_API_KEY="k")
    assert len(mistakes) == 1
    assert CANARY not in mistakes[0]


@pytest.mark.parametrize(
    "content",
    [
        b"[server",
        b"a = ",
        b"\xff\xfe",
        b"[a]\n[a]\n",
        pytest.param(b"a = " + b"9" * 5000, id="a huge number"),
        pytest.param(b"a = " + b"[" * 5000 + b"]" * 5000, id="deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(desk: Desk, content: bytes) -> None:
    (desk.directory / "trunkline.toml").write_bytes(content)
    (mistake,) = desk.mistakes()
    assert mistake.startswith("trunkline.toml cannot be read: ")


def test_a_dotenv_file_that_cannot_be_read_is_one_line(desk: Desk) -> None:
    (desk.directory / ".env").write_bytes(b"PORT=\xff\n")
    (mistake,) = desk.mistakes()
    assert mistake.startswith(".env cannot be read: ")


SECRETS = [variable.name for variable in VARIABLES if variable.is_secret] + ["OPENROUTER_API_KEY"]
OTHERS = [variable.name for variable in VARIABLES if not variable.is_secret] + ["OPENROUTER_BASE_URL"]


@given(
    secrets=st.dictionaries(st.sampled_from(SECRETS), st.text(max_size=40).map(lambda text: CANARY + text)),
    others=st.dictionaries(st.sampled_from(OTHERS), st.text(max_size=40), max_size=4),
)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_environment_gives_settings_or_mistakes_that_show_no_secret(
    desk: Desk, secrets: dict[str, str], others: dict[str, str]
) -> None:
    try:
        shown = repr(desk.load(**secrets, **others))
    except SettingsError as error:
        shown = str(error)
    assert CANARY not in shown


NO_SECRET = "set TRUNKLINE_ADMIN_SECRET (32 characters or more), or HOST=localhost."
SECRET = "canary-secret-of-the-administrator-0123456789"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "router.test", "8.8.8.8", "fe80::1"])
def test_a_host_that_others_can_reach_is_refused_without_a_secret(desk: Desk, host: str) -> None:
    assert desk.mistakes(HOST=host) == [f"HOST is {host}, which other machines can reach: {NO_SECRET}"]
    assert desk.mistakes(HOST=host, TRUNKLINE_OPEN="1")[-1].endswith(NO_SECRET)
    assert desk.mistakes({"HOST": host})[-1].endswith(NO_SECRET)
    assert desk.write(toml=f"[server]\nhost = '{host}'\n").mistakes()[-1].endswith(NO_SECRET)


@pytest.mark.parametrize("secret", ["", "  ", "changeme", "your_api_key_here", "short", "a" * 64, "x" * 31])
def test_a_secret_that_is_none_does_not_open_such_a_host(desk: Desk, secret: str) -> None:
    assert desk.mistakes(HOST="0.0.0.0", TRUNKLINE_ADMIN_SECRET=secret)[-1].endswith(NO_SECRET)


def test_such_a_host_with_a_secret_is_served(desk: Desk) -> None:
    assert desk.load(HOST="0.0.0.0", TRUNKLINE_ADMIN_SECRET=SECRET).server.is_loopback is False


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.8.8.8"])
def test_a_host_that_only_this_machine_can_reach_needs_no_secret(desk: Desk, host: str) -> None:
    server = desk.load(HOST=host).server
    assert server.is_loopback
    assert server.admin_secret is None


@pytest.mark.parametrize("secret", ["changeme", "your_api_key_here", "short", "a" * 64])
def test_a_weak_secret_is_refused_on_every_host_and_never_taken_for_none(desk: Desk, secret: str) -> None:
    (line,) = desk.mistakes(TRUNKLINE_ADMIN_SECRET=secret)
    assert line.startswith("TRUNKLINE_ADMIN_SECRET must be a random string")
    assert "secrets.token_urlsafe(32)" in line
