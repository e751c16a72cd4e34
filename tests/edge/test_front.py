"""The front: Host, Origin, CORS, methods, media types, request ids (S04, S10, S11)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from raw_http import ask, request
from served import openrouter, serving

if TYPE_CHECKING:
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

CHAT = b'{"message":"Hi"}'
FRONTEND = "http://localhost:5173"


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:3001", "localhost.evil.test", "127.0.0.1.evil.test", "localhost@evil.test",
     "evil.test#localhost", "localhost/evil",
     "localhost?x", "[::1", "", "localhost:99999999", "localhost:abc", "\\localhost", "10.0.0.5"],
)  # fmt: skip
async def test_a_foreign_host_name_is_misdirected(router: Router, upstream: ScriptedUpstream, host: str) -> None:
    for method, target, body in (("GET", "/health", b""), ("POST", "/api/chat", CHAT), ("GET", "/", b"")):
        status, _, _ = await ask(router, request(method, target, body, host=host))
        assert status in {400, 421}
    assert upstream.received == 0


@pytest.mark.parametrize("host", ["localhost", "localhost:3001", "127.0.0.1:80", "[::1]:3001", "LOCALHOST"])
async def test_a_loopback_name_is_ours(router: Router, host: str) -> None:
    status, _, _ = await ask(router, request("GET", "/health", host=host))
    assert status == 200


async def test_two_host_headers_are_refused(router: Router) -> None:
    status, _, _ = await ask(router, request("GET", "/health", b"", "Host: evil.test"))
    assert status in {400, 421}


async def test_an_absolute_target_does_not_change_whose_host_is_checked(router: Router) -> None:
    status, _, _ = await ask(router, request("GET", "http://localhost/health", host="evil.test"))
    assert status in {400, 404, 421}


async def test_more_names_can_be_allowed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ALLOWED_HOSTS": "llm.example.com"})
    async with serving(settings) as router:
        status, _, _ = await ask(router, request("GET", "/health", host="llm.example.com"))
        assert status == 200


OF_VENDORS_CLIENTS = {
    *("anthropic-dangerous-direct-browser-access", "anthropic-version", "anthropic-beta"),
    *("openai-organization", "openai-project", "x-goog-api-key", "x-goog-api-client"),
    *(f"x-stainless-{what}" for what in ("arch", "lang", "os", "package-version", "retry-count", "runtime", "timeout")),
}
"""What they send out of a page, beside what everybody sends."""


async def test_the_frontends_preflight_is_granted(router: Router) -> None:
    headers = (
        f"Origin: {FRONTEND}",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    )
    status, answer, body = await ask(router, request("OPTIONS", "/api/chat", b"", *headers))
    assert (status, body) == (204, b"")
    assert answer["access-control-allow-origin"] == FRONTEND
    assert "POST" in answer["access-control-allow-methods"]
    allowed = answer["access-control-allow-headers"]
    assert all(
        name in allowed for name in ("content-type", "authorization", "x-api-key", "x-session-id", "x-trunkline-")
    )
    assert set(allowed.split(", ")) > OF_VENDORS_CLIENTS


async def test_the_frontend_may_read_the_answer_and_its_headers(router: Router) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{router.url}/api/chat", json={"message": "Hi"}, headers={"origin": FRONTEND})
    assert response.headers["access-control-allow-origin"] == FRONTEND
    exposed = response.headers["access-control-expose-headers"]
    assert all(
        name in exposed for name in ("x-session-id", "x-request-id", "retry-after", "x-ratelimit-", "x-trunkline-")
    )
    assert response.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["http://evil.test", "null", "http://localhost:5174", "https://localhost:5173", "file://", "http://[", "http://a]"],
)
async def test_a_foreign_origin_gets_no_allowance_and_no_unsafe_request(
    router: Router, upstream: ScriptedUpstream, origin: str
) -> None:
    header = f"Origin: {origin}"
    status, answer, _ = await ask(router, request("POST", "/api/chat", CHAT, header))
    assert status == 403
    assert "access-control-allow-origin" not in answer
    preflight = request("OPTIONS", "/api/chat", b"", header, "Access-Control-Request-Method: POST")
    status, answer, _ = await ask(router, preflight)
    assert status == 403
    assert "access-control-allow-origin" not in answer
    for path in ("/health", "/metrics", "/api/chat/sessions"):
        _, answer, _ = await ask(router, request("GET", path, b"", header))
        assert "access-control-allow-origin" not in answer
    assert upstream.received == 0


async def test_our_own_page_may_post(router: Router) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"{router.url}/api/chat", json={"message": "Hi"}, headers={"origin": router.url})
    assert response.status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_form_cannot_post(router: Router, upstream: ScriptedUpstream, media_type: str) -> None:
    as_json = request("POST", "/api/chat", CHAT)
    status, _, body = await ask(router, as_json.replace(b"application/json", media_type.encode()))
    assert status == 415
    assert b"application/json" in body
    assert upstream.received == 0


async def test_a_get_changes_nothing(router: Router, upstream: ScriptedUpstream) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        status, answer, _ = await ask(router, request(method, "/api/chat?message=Hi", b""))
        assert status in {405, 415}
        assert status == 415 or answer["allow"] == "POST"
    assert upstream.received == 0


async def test_an_unknown_path_is_not_found(router: Router) -> None:
    for target in ("/api/chat/", "/api//chat", "/API/CHAT", "/api/chat;x", "/api/%63hat%2f", "/v2", "/api/chat."):
        status, _, body = await ask(router, request("POST", target, CHAT))
        assert status == 404
        assert json.loads(body)["type"] == "invalid_request"


async def test_the_request_id_is_echoed_or_minted(router: Router) -> None:
    _, answer, _ = await ask(router, request("GET", "/health", b"", "X-Request-Id: abc-123"))
    assert answer["x-request-id"] == "abc-123"
    _, first, _ = await ask(router, request("GET", "/health"))
    _, second, _ = await ask(router, request("GET", "/health", b"", "X-Request-Id: a b<script>"))
    assert len(first["x-request-id"]) == len(second["x-request-id"]) == 32
    assert first["x-request-id"] != second["x-request-id"]
