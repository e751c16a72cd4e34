"""A proxy is used where trunkline.toml names one, and its password does not stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.core.caller import Secret
from trunkline.core.proxy import Proxy
from trunkline.settings.reading import SettingsError
from trunkline.settings.values import from_bytes, to_bytes

if TYPE_CHECKING:
    from settings.written import Desk

WAY = Proxy("proxy.corp", 3128)
GROQ = {"GROQ_API_KEY": "k"}
SERVER = '[server]\nproxy = "http://proxy.corp:3128"\n'
IN_THE_FILE = "must not hold a user name or a password: write env:NAME, and the address into that variable."
SECRET = "http://me:canary%40word@proxy.corp:3128"


def ways(desk: Desk, **environment: str) -> dict[str, Proxy | None]:
    return {provider.name: provider.origin.proxy for provider in desk.load(**environment).providers}


def test_no_proxy_comes_from_the_environment_alone(desk: Desk) -> None:
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "PROXY")
    assert ways(desk, **GROQ, **dict.fromkeys(names, "http://proxy.corp:3128")) == {"groq": None}


def test_the_servers_proxy_leads_to_all_but_private_addresses(desk: Desk) -> None:
    desk.write(toml=SERVER)
    near = {"OLLAMA_BASE_URL": "http://localhost:11434", "CUSTOM_BASE_URL": "http://10.0.0.5:8000"}
    assert ways(desk, **GROQ, **near) == {"groq": WAY, "ollama": None, "custom": None}


def test_a_provider_may_have_a_proxy_of_its_own_or_none(desk: Desk) -> None:
    desk.write(
        toml=SERVER
        + '[providers.groq]\nproxy = "http://other.corp:8080"\n[providers.openai]\nproxy = "direct"\n'
        + '[providers.custom]\nproxy = "http://[::1]:8080"\n'
    )
    environment = {**GROQ, "OPENAI_API_KEY": "k", "MISTRAL_API_KEY": "k", "CUSTOM_BASE_URL": "http://10.0.0.5:8000"}
    assert ways(desk, **environment) == {
        "groq": Proxy("other.corp", 8080),
        "openai": None,
        "custom": Proxy("::1", 8080),
        "mistral": WAY,
    }


def test_a_provider_without_a_say_goes_directly_where_the_server_has_no_proxy(desk: Desk) -> None:
    desk.write(toml='[server]\nproxy = "direct"\n[providers.groq]\nproxy = "http://proxy.corp:3128"\n')
    assert ways(desk, **GROQ, MISTRAL_API_KEY="k") == {"groq": WAY, "mistral": None}


def test_a_password_comes_from_the_environment_and_is_nowhere_shown(desk: Desk) -> None:
    desk.write(toml='[server]\nproxy = "env:WAY_OUT"\n', env=f"WAY_OUT={SECRET}\n")
    settings = desk.load(**GROQ)
    assert settings.providers[0].origin.proxy == Proxy("proxy.corp", 3128, Secret("me:canary@word"))
    assert settings.server.proxy == "env:WAY_OUT"
    assert from_bytes(to_bytes(settings)) == settings
    assert "canary" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("toml", "environment", "mistake"),
    [
        (
            f'[server]\nproxy = "{SECRET}"\n',
            {},
            f"trunkline.toml: server.proxy {IN_THE_FILE}",
        ),
        (
            f'[providers.groq]\nproxy = "{SECRET}"\n',
            {},
            f"trunkline.toml: providers.groq.proxy {IN_THE_FILE}",
        ),
        (
            '[server]\nproxy = "env:WAY_OUT"\n',
            {},
            "trunkline.toml: server.proxy: set WAY_OUT, or leave it out.",
        ),
        (
            f'[server]\nproxy = "env:{SECRET}"\n',
            {},
            "trunkline.toml: server.proxy must be http://host:port, or env:NAME with a variable's name.",
        ),
        (
            '[server]\nproxy = "env:WAY_OUT"\n',
            {"WAY_OUT": SECRET.replace("http", "https")},
            "WAY_OUT must be an HTTP proxy's address, http://host:port.",
        ),
        (
            '[providers.groq]\nproxy = "proxy.corp:3128"\n',
            {},
            "trunkline.toml: providers.groq.proxy must be an HTTP proxy's address, http://host:port.",
        ),
        ("[server]\nproxy = 3128\n", {}, "trunkline.toml: server.proxy: Expected `str | null`, got `int`."),
    ],
)
def test_a_proxy_that_cannot_be_one_is_told_without_what_was_written(
    desk: Desk, toml: str, environment: dict[str, str], mistake: str
) -> None:
    desk.write(toml=toml)
    assert desk.mistakes(**GROQ, **environment) == [mistake]
    with pytest.raises(SettingsError) as caught:
        desk.load(**GROQ, **environment)
    assert "canary" not in f"{caught.value} {caught.value.server!r}"


def test_a_wrong_variable_is_told_once_however_many_go_through_it(desk: Desk) -> None:
    desk.write(toml='[providers.groq]\nproxy = "env:WAY_OUT"\n[providers.openai]\nproxy = "env:WAY_OUT"\n')
    assert desk.mistakes(**GROQ, OPENAI_API_KEY="k", WAY_OUT="http://proxy.corp") == [
        "WAY_OUT must have a host and a port that are one: http://host:port."
    ]
