"""A provider is a row: a key switches a preset on, the file changes it or adds another, and order is preference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Origin, Quirks, Timeouts
from trunkline.settings.provider_rows import DIALECTS
from trunkline.settings.reading import presets
from trunkline.settings.values import compile_catalog

if TYPE_CHECKING:
    from settings.written import Desk
    from trunkline.core.catalog import Provider
    from trunkline.settings.values import Settings


def named(settings: Settings) -> dict[str, Provider]:
    return {provider.name: provider for provider in settings.providers}


def test_the_seeds_provider_is_on_with_its_key(desk: Desk) -> None:
    (provider,) = desk.load(OPENROUTER_API_KEY="sk-or-1", FRONTEND_URL="https://app.test,https://b.test").providers
    assert provider.label == "OpenRouter"
    assert (provider.origin, provider.path) == (Origin("https", "openrouter.ai", 443), "/api/v1")
    assert provider.credential == Secret("sk-or-1")
    assert provider.headers == (("HTTP-Referer", "https://app.test"), ("X-Title", "Trunkline"))
    assert provider.default_model == "openrouter/auto"
    assert provider.quirks.serves_any_model
    assert provider.allow_private is False
    assert provider.timeouts == Timeouts()


def test_only_providers_with_a_key_are_on_in_the_order_of_the_presets(desk: Desk) -> None:
    settings = desk.load(GROQ_API_KEY="g", OPENAI_API_KEY="o", OPENROUTER_API_KEY="r")
    assert list(named(settings)) == ["openrouter", "openai", "groq"]
    assert list(presets())[:3] == ["openrouter", "openai", "anthropic"]


def test_every_preset_is_a_whole_row_once_its_key_or_its_address_is_there(desk: Desk) -> None:
    given = dict.fromkeys(("AWS_REGION", "GOOGLE_CLOUD_PROJECT"), "somewhere")
    given |= {name: "k" for row in presets().values() for name in row.key_variables}
    given |= {name: "1" for row in presets().values() for name in row.switch or ()}
    given |= {row.base_url_variable: "http://127.0.0.1:9" for row in presets().values() if row.base_url_variable}
    settings = desk.load(**given)
    assert list(named(settings)) == list(presets())
    catalog = compile_catalog(settings)
    for name, row in presets().items():
        assert row.source is not None
        assert row.source.startswith("https://")
        assert row.dialect in DIALECTS
        assert catalog.resolve(f"{name}/{row.default_model or 'any'}").provider.name == name


@pytest.mark.parametrize("name", presets())
def test_each_preset_is_switched_on_by_one_variable_of_its_own(desk: Desk, name: str) -> None:
    row = presets()[name]
    where = {"AWS_REGION": "somewhere", "GOOGLE_CLOUD_PROJECT": "somewhere"} if row.auth else {}
    assert row.switches
    for variable in row.switches:
        given = {variable: "http://127.0.0.1:9" if variable == row.base_url_variable else "1", **where}
        if row.base_url is None and row.base_url_variable is not None:
            given[row.base_url_variable] = "http://127.0.0.1:9"
        assert name in named(desk.load(**given))


def test_a_server_without_a_key_is_switched_on_by_its_address(desk: Desk) -> None:
    (provider,) = desk.load(OLLAMA_BASE_URL="http://localhost:11434").providers
    assert (provider.name, provider.path, provider.credential, provider.allow_private) == ("ollama", "/v1", None, True)
    (provider,) = desk.load(VLLM_BASE_URL="http://10.0.0.5:8000/served/v1").providers
    assert provider.path == "/served/v1"


def test_a_key_that_wants_an_address_says_so(desk: Desk) -> None:
    assert desk.mistakes(AZURE_OPENAI_API_KEY="k") == [
        "AZURE_OPENAI_API_KEY is set: set AZURE_OPENAI_ENDPOINT as well."
    ]
    settings = desk.load(AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT="https://mine.openai.azure.com")
    assert (settings.providers[0].path, settings.providers[0].key_header) == ("/openai/v1", "api-key")


def test_variables_override_a_presets_address_and_model(desk: Desk) -> None:
    settings = desk.load(
        OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL="http://127.0.0.1:9000/api/", OPENROUTER_MODEL="openai/gpt-4o"
    )
    (provider,) = settings.providers
    assert (provider.origin, provider.path) == (Origin("http", "127.0.0.1", 9000), "/api")
    assert provider.default_model == "openai/gpt-4o"
    assert compile_catalog(settings).resolve(None).name == "openrouter/openai/gpt-4o"


def test_without_a_name_the_file_decides_then_the_variable_then_the_first_provider(desk: Desk) -> None:
    desk.write(toml='[providers.mine]\ndialect = "openai_chat"\nbase_url = "https://mine.test"\ndefault_model = "m"\n')
    assert compile_catalog(desk.load(OPENROUTER_API_KEY="k")).resolve(None).name == "mine/m"
    chosen = desk.load(OPENROUTER_API_KEY="k", OPENROUTER_MODEL="openrouter/auto")
    assert compile_catalog(chosen).resolve(None).name == "openrouter/auto"
    desk.write(toml='default_model = "openai/gpt-4o"\n')
    written = desk.load(OPENROUTER_API_KEY="k", OPENROUTER_MODEL="openrouter/auto")
    assert compile_catalog(written).resolve(None).name == "openrouter/openai/gpt-4o"


def test_a_provider_of_the_file_is_all_that_it_says(desk: Desk) -> None:
    desk.write(
        toml="""
        [timeouts]
        connect_s = 2
        [providers.mine]
        label = "My own"
        dialect = "openai_chat"
        base_url = "https://mine.test/v1"
        api_key = "env:MY_KEY"
        default_model = "small"
        headers = { X-Team = "blue", Referer = "{frontend_url}" }
        quirks = { max_tokens_key = "max_completion_tokens", takes_temperature = false }
        models = [{ id = "small", context_tokens = 4096, max_output_tokens = 512 }]
        timeouts = { first_token_s = 300 }
        """
    )
    (provider,) = desk.load(MY_KEY="sk-mine").providers
    assert provider.label == "My own"
    assert provider.credential == Secret("sk-mine")
    assert provider.headers == (("X-Team", "blue"), ("Referer", "http://localhost:5173"))
    assert provider.quirks == Quirks(max_tokens_key="max_completion_tokens", takes_temperature=False)
    assert provider.models == (Model(id="small", context_tokens=4096, max_output_tokens=512),)
    assert provider.timeouts == Timeouts(connect_s=2.0, first_token_s=300.0)


def test_a_provider_of_the_file_may_need_no_key(desk: Desk) -> None:
    (provider,) = (
        desk.write(toml='[providers.llama]\ndialect = "openai_chat"\nbase_url = "http://localhost:8080/v1"\n')
        .load()
        .providers
    )
    assert provider.credential is None
    assert provider.label == "llama"


def test_the_file_changes_a_preset_field_by_field(desk: Desk) -> None:
    desk.write(toml='[providers.openrouter]\nlabel = "Mine"\n[providers.openrouter.timeouts]\nconnect_s = 1\n')
    (provider,) = desk.load(OPENROUTER_API_KEY="k").providers
    assert (provider.label, provider.timeouts.connect_s) == ("Mine", 1.0)
    assert provider.origin.host == "openrouter.ai"
    assert provider.quirks.serves_any_model


def test_a_preset_can_be_used_under_another_name_with_another_key(desk: Desk) -> None:
    desk.write(toml='[providers.work]\npreset = "openrouter"\napi_key = "env:WORK_KEY"\n')
    providers = named(desk.load(WORK_KEY="work", OPENROUTER_API_KEY="home"))
    assert providers["work"].credential == Secret("work")
    assert providers["openrouter"].credential == Secret("home")
    assert providers["work"].origin == providers["openrouter"].origin


def test_what_the_operator_wrote_comes_first_in_the_order_of_the_file(desk: Desk) -> None:
    own = 'dialect = "openai_chat"\nbase_url = "https://own.test"\n'
    desk.write(toml=f"[providers.zed]\n{own}[providers.groq]\n[providers.able]\n{own}")
    settings = desk.load(OPENROUTER_API_KEY="k", GROQ_API_KEY="k", OPENAI_API_KEY="k")
    assert list(named(settings)) == ["zed", "groq", "able", "openrouter", "openai"]


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://192.168.1.20:11434", True),
        ("http://10.0.0.1", True),
        ("http://169.254.169.254", True),
        ("http://100.64.0.1", True),
        ("https://8.8.8.8", False),
        ("https://mine.test", False),
        ("https://localhost.test", False),
    ],
)
def test_a_private_address_is_allowed_where_the_operator_wrote_it(desk: Desk, url: str, is_private: bool) -> None:
    (provider,) = desk.load(OPENROUTER_API_KEY="k", OPENROUTER_BASE_URL=url).providers
    assert provider.allow_private is is_private


@pytest.mark.parametrize("value", [True, False])
def test_the_file_can_allow_and_forbid_private_addresses(desk: Desk, value: bool) -> None:
    desk.write(toml=f"[providers.openrouter]\nallow_private = {str(value).lower()}\nbase_url = 'http://127.0.0.1:1'\n")
    (provider,) = desk.load(OPENROUTER_API_KEY="k").providers
    assert provider.allow_private is value


OWN = 'dialect = "openai_chat"\nbase_url = "https://own.test"\n'


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        ('[providers.own]\ndialect = "openai_chat"', "trunkline.toml: providers.own has no base_url."),
        (
            '[providers.own]\nbase_url = "https://x"',
            (
                "trunkline.toml: providers.own.dialect must be one of "
                "anthropic_messages, gemini, openai_chat, openai_responses."
            ),
        ),
        (f'[providers.own]\n{OWN}api_key = "env:OWN_KEY"', "trunkline.toml: providers.own has no key: set OWN_KEY."),
        ("[providers.groq]", "trunkline.toml: providers.groq has no key: set GROQ_API_KEY."),
        ('[providers.groq]\napi_key = "env:X"', "trunkline.toml: providers.groq has no key: set X."),
        (
            f'[providers.own]\n{OWN}api_key = "sk-1"',
            "trunkline.toml: providers.own.api_key must be env:NAME: secrets do not belong into the file.",
        ),
        (f"[providers.own]\n{OWN}colour = 1", "trunkline.toml: providers.own.colour is not a setting."),
        (
            f"[providers.own]\n{OWN}timeouts = {{ conect_s = 1 }}",
            "trunkline.toml: providers.own.timeouts.conect_s is not a setting.",
        ),
        (
            f"[providers.own]\n{OWN}timeouts = {{ connect_s = -1 }}",
            "trunkline.toml: providers.own.timeouts.connect_s must be a number that is not negative.",
        ),
        (
            f"[providers.own]\n{OWN}quirks = {{ colour = true }}",
            "trunkline.toml: providers.own.quirks: Object contains unknown field `colour`.",
        ),
        (
            f'[providers.own]\n{OWN}models = [{{ id = "m", size = 1 }}]',
            "trunkline.toml: providers.own.models: Object contains unknown field `size` - at `$[0]`.",
        ),
        (
            '[providers.own]\ndialect = "openai_chat"\nbase_url = "own.test"',
            "trunkline.toml: providers.own.base_url must start with http:// or https://.",
        ),
        (
            f'[providers.own]\n{OWN}preset = "openruter"',
            "trunkline.toml: providers.own.preset must be one of " + ", ".join(presets()) + ".",
        ),
    ],
)
def test_a_wrong_row_is_named_with_what_it_needs(desk: Desk, toml: str, mistake: str) -> None:
    assert desk.write(toml=toml).mistakes() == [mistake]
