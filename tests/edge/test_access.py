"""Who may do what, on the wire: the secret, the cookie that stands for it, and the routes that want one (S03, S05)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from raw_http import ask, request
from served import openrouter, serving
from trunkline.access.keys import COOKIE_S, Keys
from trunkline.core.caller import Secret
from trunkline.edge.middleware import Access
from trunkline.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

SECRET = "canary-administrator-0123456789-abcdefgh"
WRONG = SECRET[:-1] + "i"
CHAT = b'{"message":"Hi"}'
AS_ADMIN = f"Authorization: Bearer {SECRET}"


@pytest.fixture
async def closed(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    """A router with a secret, and with history."""
    url = f"sqlite:///{tmp_path}/chat.sqlite3"
    await migrate(Secret(url))
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": SECRET, "CHAT_DATABASE_URL": url})
    async with serving(settings) as router:
        yield router


@pytest.fixture
async def ajar(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    """A router with a secret, whose models anybody may use."""
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": SECRET, "TRUNKLINE_OPEN": "1"})
    async with serving(settings) as router:
        yield router


async def log_in(router: Router, key: str) -> httpx.Response:
    """What logging in with this key answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(f"{router.url}/auth/login", json={"key": key})


async def status_of(router: Router, *headers: str, target: str = "/api/chat", method: str = "POST") -> int:
    """The status of a plain request with these headers."""
    status, _, _ = await ask(router, request(method, target, CHAT if method == "POST" else b"", *headers))
    return status


async def test_without_a_key_the_answer_is_401_in_the_seeds_shape(closed: Router, upstream: ScriptedUpstream) -> None:
    status, headers, body = await ask(closed, request("POST", "/api/chat", CHAT))
    assert (status, headers["content-type"], headers["www-authenticate"]) == (401, "text/event-stream", "Bearer")
    assert body.endswith(b"\n\n")
    told = json.loads(body.removeprefix(b"data: "))
    assert (set(told), told["type"]) == ({"error", "type"}, "invalid_request")
    assert "Authorization: Bearer" in told["error"]
    status, headers, body = await ask(closed, request("POST", "/api/chat", CHAT, "Accept: application/json"))
    assert (status, headers["content-type"]) == (401, "application/json")
    assert json.loads(body) == told
    assert upstream.received == 0


async def test_the_secret_is_taken_in_each_header_that_clients_know(closed: Router) -> None:
    for header in ("Authorization: Bearer {}", "authorization: bearer {}", "X-Api-Key: {}", "X-Goog-Api-Key: {}"):
        assert await status_of(closed, header.format(SECRET)) == 200
        assert await status_of(closed, header.format(WRONG)) == 401
        assert await status_of(closed, header.format("")) == 401


async def test_it_is_not_taken_from_anywhere_else(closed: Router) -> None:
    for header in (
        f"Authorization: {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"Authorization: Bearer {SECRET}, Bearer {SECRET}",
        f"Cookie: trunkline_session={SECRET}",
        f"X-Trunkline-Key: {SECRET}",
    ):
        assert await status_of(closed, header) == 401, header
    assert await status_of(closed, target=f"/api/chat?key={SECRET}&api_key={SECRET}") == 401


async def test_a_wrong_bearer_is_not_helped_by_a_right_header_beside_it(closed: Router) -> None:
    assert await status_of(closed, f"Authorization: Bearer {WRONG}", f"X-Api-Key: {SECRET}") == 401


async def test_logging_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(closed: Router) -> None:
    response = await log_in(closed, SECRET)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["cache-control"] == "no-store"
    cookie, *attributes = response.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={COOKIE_S}"} == set(attributes)
    assert SECRET not in cookie
    for method, target in (("POST", "/api/chat"), ("GET", "/api/chat/sessions"), ("GET", "/metrics")):
        assert await status_of(closed, f"Cookie: other=1; {cookie}", method=method, target=target) == 200


async def test_logging_in_with_a_wrong_key_gives_nothing(closed: Router) -> None:
    for key in (WRONG, "", SECRET.upper()):
        response = await log_in(closed, key)
        assert (response.status_code, response.json()["type"]) == (401, "invalid_request")
        assert "set-cookie" not in response.headers


async def test_a_login_of_another_shape_is_a_400(closed: Router) -> None:
    shapes = (b"", b"{}", b"[]", b'{"key":1}', b'{"key":null}', b'{"key":"\\ud800"}', b"\xff", b"[" * 100_000)
    for body in shapes:
        status, headers, _ = await ask(closed, request("POST", "/auth/login", body))
        assert status == 400, body[:20]
        assert "set-cookie" not in headers


async def test_a_cookie_is_good_only_as_it_was_given(closed: Router) -> None:
    given = (await log_in(closed, SECRET)).cookies["trunkline_session"]
    expires, _, signature = given.partition(".")
    later = str(int(expires) + 1)
    for forged in (f"{later}.{signature}", f"{expires}.{signature[:-1]}", f"{expires}.", f".{signature}", signature,
                   f"{expires}.{signature.upper()}", f"{'9' * 12}.{signature}", "", "."):  # fmt: skip
        assert await status_of(closed, f"Cookie: trunkline_session={forged}") == 401, forged


async def test_a_cookie_ends_when_its_time_is_over(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    now = [time.time()]
    keys = Keys(Secret(SECRET), is_open=False, clock=lambda: now[0])
    async with serving(openrouter(upstream, tmp_path), keys=keys) as router:
        cookie = (await log_in(router, SECRET)).headers["set-cookie"].split(";")[0]
        now[0] += COOKIE_S - 2
        assert await status_of(router, f"Cookie: {cookie}") == 200
        now[0] += 3
        assert await status_of(router, f"Cookie: {cookie}") == 401


async def test_a_foreign_page_cannot_use_the_cookie(closed: Router, upstream: ScriptedUpstream) -> None:
    cookie = (await log_in(closed, SECRET)).headers["set-cookie"].split(";")[0]
    assert await status_of(closed, f"Cookie: {cookie}", "Origin: http://evil.test") == 403
    as_form = request("POST", "/api/chat", CHAT, f"Cookie: {cookie}").replace(b"application/json", b"text/plain")
    assert (await ask(closed, as_form))[0] == 415
    assert upstream.received == 0


async def test_an_open_router_with_a_secret_lets_anybody_chat_and_only_its_owner_administrate(ajar: Router) -> None:
    assert await status_of(ajar) == 200
    for headers in ((), (f"Authorization: Bearer {WRONG}",), ("Cookie: trunkline_session=1.2",)):
        assert await status_of(ajar, *headers, target="/metrics", method="GET") in {401, 403}
    assert await status_of(ajar, AS_ADMIN, target="/metrics", method="GET") == 200


async def test_without_a_secret_there_is_nothing_to_log_in_to(router: Router) -> None:
    assert (await log_in(router, SECRET)).status_code == 401
    assert await status_of(router, f"Authorization: Bearer {WRONG}") == 200


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PRESENTED = {
    "nothing": (),
    "a wrong key": (f"Authorization: Bearer {WRONG}",),
    "a wrong cookie": ("Cookie: trunkline_session=99999999999.00",),
    "the secret": (AS_ADMIN,),
}


@pytest.mark.parametrize("presented", PRESENTED)
async def test_every_route_wants_what_its_table_says(closed: Router, presented: str) -> None:
    """S03: each route with each method; no 2xx but where the table lets this caller in."""
    front = closed.app._front
    table = {**front._routes, **{f"{prefix}x": route for prefix, route in front._prefixes}}
    assert len(table) >= 12
    is_admin = presented == "the secret"
    for path, route in table.items():
        for method in METHODS:
            status = await status_of(closed, *PRESENTED[presented], target=path, method=method)
            what = f"{method} {path} with {presented}: {status}"
            if method not in route.methods:
                assert status in {405, 415}, what
            elif route.access is Access.PUBLIC or is_admin:
                assert status not in {403, 500}, what
                assert status != 401 or path == "/auth/login", what
            else:
                assert status in {401, 415}, what


async def test_no_spelling_of_a_path_leads_past_the_key(closed: Router, upstream: ScriptedUpstream) -> None:
    """S04."""
    for path in ("metrics", "api/chat", "api/chat/sessions", "api/chat/sessions/"):
        for target in (f"//{path}", f"/{path}/", f"/./{path}", f"/x/../{path}", f"/{path}%2f", f"/{path};a=b",
                       f"/{path}%00", f"/{path}?", f"/{path}#", f"/%2e/{path}", f"/{path.upper()}", f"/{path}.json",
                       f"/%{ord(path[0]):02x}{path[1:]}", f"http://localhost/{path}", f"/health/../{path}",
                       f"/assets/../{path}", f"/docs/{path}", f"\\{path}"):  # fmt: skip
            for method in ("GET", "POST"):
                for override in (
                    (),
                    ("X-HTTP-Method-Override: GET", "X-Original-URL: /health", "X-Forwarded-Prefix: /"),
                ):
                    status = await status_of(closed, *override, target=target, method=method)
                    assert not 200 <= status < 400, f"{method} {target}: {status}"
    assert upstream.received == 0
