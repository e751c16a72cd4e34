"""An address in a request is never dialled by the router, whatever it is and in whatever dialect (T64, S07)."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any

import pytest

import raw_http
from dialects.answer_features import ANSWERS
from dialects.features import encoded
from every_provider import CLIENTS, DIALECTS, ask, asking, event_stream, routed, spoken
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

MIB = 1024 * 1024


dialled: list[tuple[Any, ...]] = []
"""Every address to which this process has connected, the tests' own clients included."""


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        dialled.append(arguments[1])


sys.addaudithook(_note)


def answer(request: ReceivedRequest) -> Script:
    """Hi, in the dialect in which it was asked."""
    name = spoken(request)
    return event_stream(encoded(name, ANSWERS[0].stream[name]))


@pytest.fixture
async def providers() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(answer) as upstream:
        yield upstream


@pytest.fixture
async def trap() -> AsyncGenerator[ScriptedUpstream]:
    """A server on this machine that nobody has any business with."""
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def router(providers: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with routed(providers, tmp_path) as running:
        yield running


def picture(client: str, url: str) -> list[dict[str, Any]]:
    """A message with a picture behind this address."""
    match client:
        case "openai_chat":
            return [{"type": "image_url", "image_url": {"url": url}}]
        case "openai_responses":
            return [{"type": "input_image", "image_url": url}]
        case "anthropic_messages":
            return [{"type": "image", "source": {"type": "url", "url": url}}]
        case _:
            return [{"fileData": {"fileUri": url, "mimeType": "image/png"}}]


def file(client: str, url: str) -> list[dict[str, Any]]:
    """A message with a file behind this address."""
    match client:
        case "openai_chat":
            return [{"type": "file", "file": {"file_data": url}}]
        case "openai_responses":
            return [{"type": "input_file", "file_url": url}]
        case "anthropic_messages":
            return [{"type": "document", "source": {"type": "url", "url": url}}]
        case _:
            return [{"fileData": {"fileUri": url, "mimeType": "application/pdf"}}]


def addresses(port: int) -> list[str]:
    """Where nobody outside may have the router go."""
    return [
        f"http://127.0.0.1:{port}/x.png",
        f"http://localhost:{port}/x.png",
        f"http://[::1]:{port}/x.png",
        f"http://2130706433:{port}/x.png",
        f"http://0:{port}/x.png",
        f"https://user:pass@127.0.0.1:{port}/x.png",
        f"gopher://127.0.0.1:{port}/_GET",
        f"file://127.0.0.1:{port}/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "ftp://127.0.0.1/x.png",
        "//127.0.0.1/x.png",
        "javascript:alert(1)",
    ]


@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_no_address_in_a_request_is_dialled(
    router: Router, providers: ScriptedUpstream, trap: ScriptedUpstream, client: str, vendor: str
) -> None:
    dialled.clear()
    for url in addresses(trap.port):
        for content in (picture(client, url), file(client, url)):
            asked = len(providers.requests)
            got = await ask(router, client, f"{vendor}/m", content)
            # Either the provider is given the address as it is, or nobody is, and the client is told so.
            assert got.status in {200, 400}
            assert len(providers.requests) - asked == (1 if got.status == 200 else 0)
            if got.status == 200:
                assert url.encode() in providers.requests[-1].body
    assert trap.opened == 0
    assert {address[:2] for address in dialled} == {("127.0.0.1", router.port), ("127.0.0.1", providers.port)}
    assert {request.headers["host"] for request in providers.requests} == {f"127.0.0.1:{providers.port}"}


INLINE = {
    "openai_chat": lambda data: picture("openai_chat", f"data:image/png;base64,{data}"),
    "openai_responses": lambda data: picture("openai_responses", f"data:image/png;base64,{data}"),
    "anthropic_messages": lambda data: [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    ],
    "gemini": lambda data: [{"inlineData": {"mimeType": "image/png", "data": data}}],
}


@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_picture_of_twenty_mebibytes_goes_through(
    router: Router, providers: ScriptedUpstream, client: str, vendor: str
) -> None:
    data = base64.b64encode(b"\x89PNG" * (5 * MIB)).decode()
    assert (await ask(router, client, f"{vendor}/m", INLINE[client](data))).status == 200
    assert data.encode() in providers.requests[-1].body


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_body_over_the_cap_is_refused_before_it_is_sent(
    router: Router, providers: ScriptedUpstream, client: str
) -> None:
    path, _ = asking(client, "gemini/m")
    lines = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {33 * MIB}")
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode()
    status, _, body = await raw_http.ask(router, head)
    assert status == 413
    assert b"32 MiB" in body
    assert providers.requests == []
