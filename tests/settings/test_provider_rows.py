"""A row says what switches it on, where it is, and how it is told who asks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Auth, Origin
from trunkline.settings.values import compile_catalog, from_bytes, to_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from settings.written import Desk
    from trunkline.core.catalog import Provider

AWS = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary-secret"}
SIGNED = 'dialect = "openai_chat"\nbase_url = "https://own.test"\nauth = "sigv4"\n'


def only(desk: Desk, **environment: str) -> Provider:
    (provider,) = desk.load(**environment).providers
    return provider


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"GEMINI_API_KEY": "a"}, "a"),
        ({"GOOGLE_API_KEY": "b"}, "b"),
        ({"GOOGLE_GENERATIVE_AI_API_KEY": "c"}, "c"),
        ({"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": "a"}, "a"),
        ({"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": ""}, "b"),
    ],
)
def test_a_key_may_stand_under_any_of_its_usual_names_and_the_first_counts(
    desk: Desk, given: dict[str, str], key: str
) -> None:
    provider = only(desk, **given)
    assert (provider.name, provider.credential) == ("gemini", Secret(key))


def test_a_written_row_without_a_key_names_all_the_variables_that_could_hold_it(desk: Desk) -> None:
    assert desk.write(toml="[providers.cohere]").mistakes() == [
        "trunkline.toml: providers.cohere has no key: set COHERE_API_KEY or CO_API_KEY."
    ]


def test_a_server_of_ones_own_is_custom_by_its_address_and_may_have_a_key_and_a_model(desk: Desk) -> None:
    bare = only(desk, CUSTOM_BASE_URL="http://10.0.0.5:8000")
    assert (bare.name, bare.origin, bare.path) == ("custom", Origin("http", "10.0.0.5", 8000), "/v1")
    assert (bare.credential, bare.default_model, bare.allow_private) == (None, None, True)
    settings = desk.load(CUSTOM_BASE_URL="https://llm.test/api", CUSTOM_API_KEY="k", CUSTOM_MODEL="qwen3")
    assert (settings.providers[0].path, settings.providers[0].credential) == ("/api", Secret("k"))
    assert compile_catalog(settings).resolve(None).name == "custom/qwen3"


def test_a_model_of_ones_own_server_does_not_take_the_place_of_the_first_providers(desk: Desk) -> None:
    settings = desk.load(OPENROUTER_API_KEY="k", CUSTOM_BASE_URL="http://10.0.0.5", CUSTOM_MODEL="qwen3")
    assert compile_catalog(settings).resolve(None).name == "openrouter/auto"


def test_a_key_that_leads_nowhere_without_its_address_is_told_and_switches_nothing_on(desk: Desk) -> None:
    settings = desk.load(CUSTOM_API_KEY="k", OPENROUTER_API_KEY="k")
    assert [provider.name for provider in settings.providers] == ["openrouter"]
    assert settings.warnings == ("CUSTOM_API_KEY is set without CUSTOM_BASE_URL, so Your own server is off.",)


def test_what_a_machine_is_signed_in_with_switches_nothing_on_by_itself(desk: Desk) -> None:
    ambient = {
        **AWS,
        "GITHUB_TOKEN": "ghp_canary",
        "GOOGLE_CLOUD_PROJECT": "a-project",
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
    }
    assert desk.load(**ambient).providers == ()


def test_bedrock_is_signed_once_it_is_switched_on(desk: Desk) -> None:
    settings = desk.load(TRUNKLINE_BEDROCK="1", **AWS)
    chat, claude = settings.providers
    assert chat.origin == Origin("https", "bedrock-runtime.eu-west-1.amazonaws.com", 443, "bedrock")
    assert (chat.path, chat.dialect, chat.credential) == ("/openai/v1", "openai_chat", None)
    assert (chat.auth, chat.auth_scope) == (Auth.SIGV4, "eu-west-1/bedrock")
    assert dict(chat.auth_values)["AWS_SECRET_ACCESS_KEY"] == Secret("canary-secret")
    assert claude.origin == Origin("https", "bedrock-mantle.eu-west-1.api.aws", 443, "bedrock-claude")
    assert (claude.path, claude.dialect, claude.auth_scope) == (
        "/anthropic/v1",
        "anthropic_messages",
        "eu-west-1/bedrock-mantle",
    )
    assert desk.load(TRUNKLINE_BEDROCK="0", **AWS).providers == ()


def test_a_key_for_bedrock_goes_before_signatures(desk: Desk) -> None:
    chat, claude = desk.load(AWS_BEARER_TOKEN_BEDROCK="token", TRUNKLINE_BEDROCK="1", **AWS).providers
    for provider in (chat, claude):
        assert (provider.credential, provider.auth, provider.origin.account) == (Secret("token"), Auth.KEY, "")
        assert provider.auth_values == ()


def test_a_region_may_stand_under_either_of_its_names_and_must_stand_somewhere(desk: Desk) -> None:
    assert desk.load(AWS_BEARER_TOKEN_BEDROCK="t", AWS_DEFAULT_REGION="us-west-2").providers[0].origin.host == (
        "bedrock-runtime.us-west-2.amazonaws.com"
    )
    assert desk.mistakes(AWS_BEARER_TOKEN_BEDROCK="t") == [
        "AWS_BEARER_TOKEN_BEDROCK is set: set AWS_REGION or AWS_DEFAULT_REGION as well."
    ]
    assert desk.mistakes(AWS_BEARER_TOKEN_BEDROCK="t", AWS_REGION="evil.test/") == [
        "AWS_REGION must hold only letters, digits and hyphens."
    ]


def test_the_file_may_give_a_row_another_region_of_its_own(desk: Desk) -> None:
    desk.write(toml='[providers.frankfurt]\npreset = "bedrock"\nfill = { region = ["eu-central-1"] }\n')
    settings = desk.load(TRUNKLINE_BEDROCK="1", **AWS)
    assert [(one.name, one.auth_scope) for one in settings.providers] == [
        ("frankfurt", "eu-central-1/bedrock"),
        ("bedrock", "eu-west-1/bedrock"),
        ("bedrock-claude", "eu-west-1/bedrock-mantle"),
    ]
    assert settings.providers[0].origin.account == "frankfurt"


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (None, "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_vertex_has_a_host_for_each_location(desk: Desk, location: str | None, host: str) -> None:
    where = {} if location is None else {"GOOGLE_CLOUD_LOCATION": location}
    provider = only(desk, GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_CLOUD_PROJECT="a-project", **where)
    assert provider.origin == Origin("https", host, 443, "vertex")
    assert provider.path == f"/v1/projects/a-project/locations/{location or 'global'}/publishers/google"
    assert (provider.dialect, provider.auth) == ("gemini", Auth.GOOGLE)
    assert provider.auth_scope == "https://www.googleapis.com/auth/cloud-platform"


def test_vertex_needs_a_project(desk: Desk) -> None:
    assert desk.mistakes(GOOGLE_GENAI_USE_VERTEXAI="true") == [
        "GOOGLE_GENAI_USE_VERTEXAI is set: set GOOGLE_CLOUD_PROJECT as well."
    ]


@pytest.mark.parametrize(
    ("toml", "mistake"),
    [
        (
            f"[providers.own]\n{SIGNED}",
            "trunkline.toml: providers.own.auth_scope must be a region and a service, such as eu-west-1/bedrock.",
        ),
        (
            f'[providers.own]\n{SIGNED}auth_scope = "{{region}}/x"\nfill = {{ region = ["env:OWN_REGION"] }}\n',
            "trunkline.toml: providers.own needs its region: set OWN_REGION.",
        ),
        (
            '[providers.own]\ndialect = "openai_chat"\nbase_url = "https://own.test"\nauth = "kerberos"\n',
            "trunkline.toml: providers.own.auth: Invalid enum value 'kerberos'.",
        ),
    ],
)
def test_a_way_to_authenticate_that_cannot_be_used_is_named(desk: Desk, toml: str, mistake: str) -> None:
    assert desk.write(toml=toml).mistakes() == [mistake]


def test_what_its_vendor_has_ended_is_told(desk: Desk) -> None:
    assert desk.load(GITHUB_API_KEY="k").warnings == (
        "GitHub Models was ended by its vendor on 2026-07-30: GITHUB_API_KEY leads nowhere.",
    )


def test_a_worker_gets_the_values_for_its_signatures_and_nobody_sees_them(desk: Desk) -> None:
    settings = desk.load(TRUNKLINE_BEDROCK="1", **AWS)
    assert from_bytes(to_bytes(settings)) == settings
    assert "canary-secret" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("module", "given", "says"),
    [
        (
            "botocore",
            {"TRUNKLINE_BEDROCK": "1", **AWS},
            "TRUNKLINE_BEDROCK is set, but Amazon Bedrock needs the package botocore: pip install 'trunkline[bedrock]'",
        ),
        (
            "google.auth",
            {"GOOGLE_GENAI_USE_VERTEXAI": "1", "GOOGLE_CLOUD_PROJECT": "p"},
            (
                "GOOGLE_GENAI_USE_VERTEXAI is set, but Vertex AI needs the package google-auth: "
                "pip install 'trunkline[vertex]'"
            ),
        ),
    ],
)
def test_a_package_that_is_not_installed_is_one_line_at_the_start(
    tmp_path: Path, module: str, given: dict[str, str], says: str
) -> None:
    """`serve` as it starts where only what is always there is installed."""
    hide = (
        f"import sys; sys.modules[{module!r}] = None; from trunkline.cli import main; sys.argv[1:] = ['serve']; main()"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-c", hide],
        cwd=tmp_path,
        env={**kept, **given, "PORT": "0", "TRUNKLINE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 2
    assert says in run.stderr.splitlines()
