"""One real call to each provider: what its answer, or the lack of one, is taken for."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.caller import Secret
from trunkline.core.catalog import Auth, Origin, Provider, Timeouts
from trunkline.core.proxy import Proxy
from trunkline.doctor.answers import check_local_model, check_provider, no_provider
from trunkline.doctor.finding import State
from trunkline.doctor.sources import Reading
from trunkline.settings.values import Server, Settings
from trunkline.upstream.auth import authenticators
from trunkline.upstream.client import Client
from trunkline.upstream.script import (
    End,
    Script,
    bad_gzip,
    empty,
    error_in_200,
    html,
    json_error,
    null,
    openrouter_error,
)
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.doctor.finding import Finding

KEY = Secret("sk-or-v1-canary-of-the-doctor")


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    client = Client()
    yield client
    await client.aclose()


def openrouter(port: int, *, probe: str = "/account", scheme: str = "http", host: str = "127.0.0.1") -> Provider:
    return Provider(
        name="openrouter",
        label="OpenRouter",
        dialect="openai_chat",
        origin=Origin(scheme, host, port),
        path="/v1",
        credential=KEY,
        probe=probe,
        allow_private=True,
    )


def keyless(port: int, probe: str) -> Provider:
    return Provider(
        name="here",
        label="here",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", port),
        path="/v1",
        probe=probe,
        allow_private=True,
    )


async def asked(client: Client, provider: Provider, *, has_proxy: bool = False) -> Finding:
    return await check_provider(provider, client, has_proxy=has_proxy)


async def test_a_good_key_is_accepted_and_what_is_left_of_its_credit_is_told(client: Client) -> None:
    async with ScriptedUpstream(accepts_key=KEY) as upstream:
        finding = await asked(client, openrouter(upstream.port, probe="/key"))
    assert finding.state is State.OK
    assert finding.says == "OpenRouter accepted the key; $74.50 of its credit limit is left."


async def test_the_call_is_one_and_carries_the_key_and_the_providers_headers(
    client: Client, upstream: ScriptedUpstream
) -> None:
    provider = openrouter(upstream.port, probe="/key")
    await asked(client, provider)
    (request,) = upstream.requests
    assert (request.method, request.path) == ("GET", "/v1/key")
    assert request.headers["authorization"] == f"Bearer {KEY.reveal()}"


async def test_a_wrong_key_is_refused_and_its_variable_named(client: Client) -> None:
    async with ScriptedUpstream(accepts_key=Secret("another")) as upstream:
        finding = await asked(client, openrouter(upstream.port, probe="/key"))
    assert finding.state is State.FAILED
    assert finding.says == "OpenRouter refused the key (status 401)."
    assert "OPENROUTER_API_KEY" in (finding.fix or "")


@pytest.mark.parametrize(
    ("script", "state", "says"),
    [
        (json_error(200, {"data": [{"id": "a-model"}]}), State.OK, "accepted the key."),
        (json_error(200, {"data": {"limit_remaining": None}}), State.OK, "accepted the key."),
        (json_error(200, {"data": {"limit_remaining": -0.1}}), State.WARNING, "nothing is left"),
        (json_error(200, {"data": {"limit_remaining": "junk"}}), State.OK, "accepted the key."),
        (openrouter_error(401, "User not found."), State.FAILED, "refused the key (status 401)"),
        (html(401), State.FAILED, "refused the key (status 401)"),
        (openrouter_error(403, "No."), State.FAILED, "refused the key (status 403)"),
        (html(403), State.FAILED, "a web page (status 403)"),
        (openrouter_error(402, "Pay."), State.FAILED, "no credit left"),
        (openrouter_error(429, "Slow down."), State.WARNING, "(status 429)"),
        (openrouter_error(500, "Oops."), State.FAILED, "a problem of its own (status 500)"),
        (html(502), State.FAILED, "a problem of its own (status 502)"),
        (html(200), State.FAILED, "a web page (status 200)"),
        (html(404), State.FAILED, "a web page (status 404)"),
        (openrouter_error(404, "Where?"), State.WARNING, "404 to GET /v1/account"),
        (Script(status=302, headers=(("location", "https://elsewhere.example/"),)), State.FAILED, "redirects"),
        (error_in_200(), State.FAILED, "something that is no answer"),
        (empty(), State.FAILED, "something that is no answer"),
        (null(), State.FAILED, "something that is no answer"),
        (Script(body=(b"[" * 100_000,)), State.OK, "accepted the key."),
        (bad_gzip(), State.FAILED, "compressed"),
        (Script(head=b"SSH-2.0-OpenSSH_9.2\r\n", end=End.FIN), State.FAILED, "sent"),
        (json_error(200, {"data": []}).but(cut_at=3, end=End.RST), State.FAILED, "answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_answer_means_something(
    client: Client, upstream: ScriptedUpstream, script: Script, state: State, says: str
) -> None:
    upstream.play(script)
    finding = await asked(client, openrouter(upstream.port))
    assert (finding.check, finding.state) == ("provider openrouter", state)
    assert says in finding.says
    assert (finding.fix is None) is (state is State.OK)


async def test_a_provider_without_a_key_answers_or_wants_one(client: Client, upstream: ScriptedUpstream) -> None:
    finding = await asked(client, keyless(upstream.port, "/models"))
    assert (finding.state, finding.says) == (State.OK, "here answers; it needs no key.")
    upstream.play(openrouter_error(401, "No key."))
    finding = await asked(client, keyless(upstream.port, "/account"))
    assert finding.state is State.FAILED
    assert finding.fix == "Set api_key under [providers.here] in trunkline.toml."


async def test_nobody_listening_is_a_matter_of_the_network(client: Client, unused_port: int) -> None:
    finding = await asked(client, openrouter(unused_port), has_proxy=True)
    assert finding.state is State.FAILED
    assert finding.says == f"Could not connect to 127.0.0.1:{unused_port}: connection refused."
    assert "firewall, and OPENROUTER_BASE_URL. A proxy is set" in (finding.fix or "")
    assert 'in trunkline.toml has it used (proxy = "env:HTTPS_PROXY").' in (finding.fix or "")


async def test_what_fails_at_a_proxy_of_the_configuration_is_looked_for_there(client: Client, unused_port: int) -> None:
    provider = openrouter(443, host="openrouter.example", scheme="https")
    through = msgspec.structs.replace(provider.origin, proxy=Proxy("127.0.0.1", unused_port, Secret("me:canary")))
    finding = await asked(client, msgspec.structs.replace(provider, origin=through), has_proxy=True)
    assert finding.says == f"Could not connect to the proxy 127.0.0.1:{unused_port}: connection refused."
    assert finding.fix == (
        f"Check the proxy 127.0.0.1:{unused_port} (`proxy` in trunkline.toml), and OPENROUTER_BASE_URL."
    )


async def test_a_name_without_an_address_is_a_matter_of_dns() -> None:
    async def nobody(_: str, __: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    client = Client(resolve=nobody)
    finding = await asked(client, openrouter(443, host="openrouter.example", scheme="https"))
    await client.aclose()
    assert finding.says == "Could not find the address of openrouter.example."
    assert "DNS" in (finding.fix or "")


async def test_a_server_without_tls_is_a_matter_of_tls(client: Client, upstream: ScriptedUpstream) -> None:
    finding = await asked(client, openrouter(upstream.port, scheme="https"))
    assert finding.says == f"The TLS handshake with 127.0.0.1:{upstream.port} failed."
    assert "certificates" in (finding.fix or "")


async def test_silence_is_bounded(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(Script(end=End.STALL))
    finding = await check_provider(openrouter(upstream.port), client, has_proxy=False, answer_s=0.2)
    assert finding.state is State.FAILED
    assert finding.says == f"OpenRouter (127.0.0.1:{upstream.port}) gave no whole answer within 0.2 s."


async def test_a_key_with_a_stray_line_break_is_told_without_showing_it(
    client: Client, upstream: ScriptedUpstream
) -> None:
    provider = Provider(
        name="openrouter",
        label="OpenRouter",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", upstream.port),
        path="/v1",
        credential=Secret("sk-or-v1-canary\nsecond-line"),
        allow_private=True,
        timeouts=Timeouts(connect_s=1.0),
    )
    finding = await asked(client, provider)
    assert finding.state is State.FAILED
    assert "stray characters" in (finding.fix or "")
    assert "canary" not in repr(finding)
    assert "second-line" not in repr(finding)


def test_without_any_key_the_local_model_decides_whether_that_can_work() -> None:
    reading = Reading(settings=Settings())
    with_model = no_provider(reading, local_is_available=True)
    without = no_provider(reading, local_is_available=False)
    assert (with_model.state, without.state) == (State.WARNING, State.FAILED)
    for finding in (with_model, without):
        assert "OPENROUTER_API_KEY" in (finding.fix or "")
    assert "trunkline demo" in with_model.says
    assert "xllamacpp" in (without.fix or "")


def test_without_settings_nobody_can_say_whether_there_is_a_provider() -> None:
    assert no_provider(Reading(settings=None), local_is_available=True).state is State.SKIPPED
    wrong = Reading(settings=Settings(), wrong=frozenset({"OPENROUTER_API_KEY"}))
    assert no_provider(wrong, local_is_available=True).state is State.SKIPPED


async def test_the_local_models_weights_are_looked_for_and_not_fetched(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    finding = await check_local_model(Reading(settings=Settings(server=Server(cache_dir=str(cache)))))
    assert finding.state in {State.OK, State.SKIPPED}
    assert not await asyncio.to_thread(cache.exists)


def signed(port: int, *, probe: str, **values: str) -> Provider:
    return Provider(
        name="bedrock",
        label="Amazon Bedrock",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", port, "bedrock"),
        path="/v1",
        auth=Auth.SIGV4,
        auth_scope="eu-west-1/bedrock",
        auth_values=tuple((name, Secret(value)) for name, value in values.items()),
        probe=probe,
        allow_private=True,
    )


async def asked_signed(provider: Provider) -> Finding:
    client = Client(authenticators=authenticators([provider]))
    try:
        return await asked(client, provider)
    finally:
        await client.aclose()


KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary"}


async def test_a_key_that_nothing_can_try_for_free_is_not_tried(client: Client, upstream: ScriptedUpstream) -> None:
    finding = await asked(client, openrouter(upstream.port, probe=""))
    assert (finding.state, finding.says) == (
        State.SKIPPED,
        "OpenRouter has no call that costs nothing, so the key was not tried.",
    )
    assert upstream.opened == 0


async def test_signed_requests_are_tried_where_that_costs_nothing(upstream: ScriptedUpstream) -> None:
    finding = await asked_signed(signed(upstream.port, probe="/models", **KEYS))
    assert (finding.state, finding.says) == (State.OK, "Amazon Bedrock accepted the credentials.")
    assert upstream.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")


async def test_refused_credentials_say_whose_they_may_be(upstream: ScriptedUpstream) -> None:
    upstream.play(json_error(403, {"message": "not authorized"}))
    finding = await asked_signed(signed(upstream.port, probe="/account", **KEYS))
    assert (finding.state, finding.says) == (State.FAILED, "Amazon Bedrock refused the credentials (status 403).")
    assert "which account" in (finding.fix or "")


async def test_credentials_that_are_there_are_enough_where_no_call_is_free(upstream: ScriptedUpstream) -> None:
    finding = await asked_signed(signed(upstream.port, probe="", **KEYS))
    assert finding.state is State.OK
    assert finding.says.startswith("The credentials for Amazon Bedrock are there;")
    assert upstream.opened == 0


async def test_credentials_that_are_not_there_say_what_to_set(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    finding = await asked_signed(signed(upstream.port, probe=""))
    assert finding.state is State.FAILED
    assert finding.says == "The router's AWS credentials for Amazon Bedrock are not there."
    assert finding.fix is not None
    assert finding.fix.startswith("Where the router runs, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
