"""Settings travel to a worker whole, show no secret, and make a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.call import Need
from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Origin, Provider, Quirks, Timeouts
from trunkline.core.price import Price
from trunkline.settings.reading import presets
from trunkline.settings.values import Settings, compile_catalog, from_bytes, local_provider, to_bytes, with_local
from trunkline.settings.variables import VARIABLES

if TYPE_CHECKING:
    from settings.written import Desk

SECRET = "canary-secret-of-the-administrator-0123456789"
CANARIES = {
    "OPENROUTER_API_KEY": "sk-or-canary",
    "OPENAI_API_KEY": "sk-canary",
    "TRUNKLINE_ADMIN_SECRET": SECRET,
    "CHAT_DATABASE_URL": "postgresql://user:canary@db/chat",
    "DATABASE_URL": "postgresql://user:canary@db/ledger",
}


@pytest.fixture
def full(desk: Desk) -> Settings:
    """Settings with something in every field."""
    desk.write(
        toml="""
        default_model = "fast"
        [aliases]
        fast = "mine/m"
        [providers.mine]
        dialect = "openai_chat"
        base_url = "http://[::1]:9000/v1"
        models = [{ id = "m", context_tokens = 10 }]
        timeouts = { connect_s = 0.25 }
        quirks = { stream_usage = false }
        """
    )
    return desk.load(PORT="", **CANARIES)


def test_settings_travel_whole(full: Settings) -> None:
    arrived = from_bytes(to_bytes(full))
    assert arrived == full
    assert arrived.server.admin_secret == Secret(SECRET)
    assert arrived.providers[0].credential is None
    assert arrived.providers[1].credential == Secret("sk-or-canary")
    assert compile_catalog(arrived) == compile_catalog(full)


def test_defaults_travel_whole() -> None:
    assert from_bytes(to_bytes(Settings())) == Settings()


def test_settings_show_no_secret(full: Settings) -> None:
    shown = f"{full} {full!r} {compile_catalog(full)!r} {full.providers} {full.warnings}"
    assert "***" in shown
    assert "canary" not in shown


def test_settings_cannot_be_written_without_saying_how_secrets_are(full: Settings) -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode(full)


@pytest.mark.parametrize(
    "data", [b"", b"{}x", b'{"server":5}', b'{"server":{"prot":1}}', b'{"server":{"admin_secret":5}}']
)
def test_bytes_that_are_no_settings_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_bytes(data)


LOCAL = local_provider(8123, "smollm2", 4096)


FREE = Price(input_nano=0, output_nano=0)


def test_the_local_models_row() -> None:
    assert local_provider(8123, "smollm2", 4096) == Provider(
        name="local",
        label="The local model",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", 8123),
        path="/v1",
        default_model="smollm2",
        models=(
            Model(
                id="smollm2",
                context_tokens=4096,
                max_output_tokens=4096,
                price=FREE,
                offers=frozenset({Need.TOOLS, Need.SCHEMA}),
            ),
        ),
        allow_private=True,
        timeouts=Timeouts(first_token_s=300.0),
        quirks=Quirks(prefill=True),
    )


def test_the_local_model_is_last_and_no_default_of_another_provider(desk: Desk) -> None:
    settings = with_local(desk.load(OPENROUTER_API_KEY="k"), LOCAL, as_default=False)
    assert [provider.name for provider in settings.providers] == ["openrouter", "local"]
    catalog = compile_catalog(settings)
    assert catalog.resolve(None).provider.name == "openrouter"
    assert catalog.resolve("smollm2").name == "local/smollm2"


def test_the_local_model_alone_answers_what_names_no_model() -> None:
    assert compile_catalog(with_local(Settings(), LOCAL, as_default=False)).resolve(None).name == "local/smollm2"


def test_the_local_model_can_be_the_default_whatever_else_is_on(desk: Desk) -> None:
    settings = desk.load(OPENROUTER_API_KEY="k", OPENROUTER_MODEL="openai/gpt-4o")
    catalog = compile_catalog(with_local(settings, LOCAL, as_default=True))
    assert catalog.resolve(None).name == "local/smollm2"
    assert catalog.resolve("openai/gpt-4o").provider.name == "openrouter"


def test_the_local_model_without_a_default_keeps_the_settings_own(desk: Desk) -> None:
    settings = desk.write(toml='default_model = "openai/gpt-4o"\n').load(OPENROUTER_API_KEY="k")
    assert with_local(settings, LOCAL, as_default=False).default_model == "openai/gpt-4o"


def test_every_variable_is_told_once_and_parses_the_default_that_it_shows() -> None:
    names = [variable.name for variable in VARIABLES]
    assert len(names) == len(set(names))
    for variable in VARIABLES:
        assert variable.meaning.endswith(".")
        if variable.shown_default:
            variable.parse(variable.shown_default)


def test_no_key_goes_to_two_vendors() -> None:
    own = {variable.name for variable in VARIABLES}
    vendors: dict[str, set[str]] = {}
    for name, row in presets().items():
        for variable in row.variables:
            vendors.setdefault(variable, set()).add("bedrock" if name.startswith("bedrock") else name)
    assert {variable: rows for variable, rows in vendors.items() if len(rows) > 1} == {}
    assert own.isdisjoint(vendors)
