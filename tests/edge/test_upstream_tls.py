"""A provider whose certificate is not trusted is not spoken to: the client is told why, the provider nothing (S19)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from every_provider import CLIENTS, DIALECTS, ask, routed
from served import KEY
from upstream.literal_server import LiteralServer

if TYPE_CHECKING:
    from trunkline.upstream.scripted import ScriptedUpstream

CERTIFICATE = Path(__file__).parent.parent / "upstream" / "tls" / "localhost.pem"
"""Self-signed for localhost and 127.0.0.1, valid until 2126."""


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    return context


@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_self_signed_provider_is_refused_and_told_nothing(
    upstream: ScriptedUpstream, tls: ssl.SSLContext, tmp_path: Path, client: str, vendor: str
) -> None:
    async with LiteralServer(tls=tls) as relay:
        address = f"https://localhost:{relay.origin.port}/v1"
        async with routed(upstream, tmp_path, base_url=address) as router:
            got = await ask(router, client, f"{vendor}/m")
        assert relay.requests == []
    assert got.status == 502
    assert got.ends_in_an_error
    assert b"certificate" in got.content
    assert b"self" in got.content
    assert f"localhost:{relay.origin.port}".encode() in got.content
    assert KEY.encode() not in got.content


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator trusts this signer, in the way in which OpenSSL is told of it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_certificate_for_another_host_is_refused_though_its_signer_is_trusted(
    upstream: ScriptedUpstream, tls: ssl.SSLContext, tmp_path: Path, client: str
) -> None:
    async with LiteralServer(tls=tls, host="127.0.0.2") as relay:
        address = f"127.0.0.2:{relay.origin.port}"
        async with routed(upstream, tmp_path, base_url=f"https://{address}/v1") as router:
            got = await ask(router, client, "openai_chat/m")
        assert relay.requests == []
    assert got.status == 502
    assert got.ends_in_an_error
    assert b"certificate" in got.content
    assert address.encode() in got.content


@pytest.mark.usefixtures("trusted")
async def test_a_provider_is_asked_where_its_signer_is_trusted_and_the_host_is_right(
    upstream: ScriptedUpstream, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    async with LiteralServer(tls=tls) as relay:
        async with routed(upstream, tmp_path, base_url=f"https://localhost:{relay.origin.port}/v1") as router:
            await ask(router, "openai_chat", "openai_chat/m")
        assert b"POST /v1/chat/completions" in relay.requests[0]
