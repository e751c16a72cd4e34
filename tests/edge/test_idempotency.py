"""`Idempotency-Key` on the wire: what is said again, what is not, and to whom (T16)."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from raw_http import ask, connected, request
from reliability.scene import in_flight, until
from served import openrouter, serving
from trunkline.core.saved_answer import SavedAnswer
from trunkline.edge import idempotency
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

SECRET = "canary-administrator-0123456789-abcdefgh"
FILE = "idempotency.sqlite3"

PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses")
MODEL = "openrouter/m"


def body(path: str, *, stream: bool = False, text: str = "Hi") -> dict[str, object]:
    said = [{"role": "user", "content": text}]
    match path:
        case "/api/chat":
            return {"message": text}
        case "/v1/responses":
            return {"model": MODEL, "input": text, "stream": stream}
        case "/v1/messages":
            return {"model": MODEL, "max_tokens": 9, "messages": said, "stream": stream}
        case _:
            return {"model": MODEL, "messages": said, "stream": stream}


async def post(
    router: Router,
    path: str = "/v1/chat/completions",
    *,
    key: str = "k",
    stream: bool = False,
    text: str = "Hi",
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.post(
            router.url + path,
            content=json.dumps(body(path, stream=stream, text=text)),
            headers={"content-type": "application/json", "idempotency-key": key, **(headers or {})},
        )


def is_replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_the_same_key_gives_the_same_bytes_and_nobody_is_asked_again(
    router: Router, upstream: ScriptedUpstream, path: str, stream: bool
) -> None:
    is_streamed = stream or path == "/api/chat"
    upstream.play(script.chat_stream(["Hello ", "there"]) if is_streamed else script.chat_whole("Hello there"))
    first = await post(router, path, stream=stream)
    again = await post(router, path, stream=stream)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    for name in ("content-type", "cache-control", "x-trunkline-model", "x-trunkline-provider", "x-trunkline-attempts"):
        assert again.headers.get(name) == first.headers.get(name), name
    assert ("content-length" in again.headers) == (not is_streamed)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert upstream.received == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_the_same_behind_another_server(router: Router, upstream: ScriptedUpstream, stream: bool) -> None:
    upstream.play(script.chat_stream(["Hello ", "there"]) if stream else script.chat_whole("Hello there"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(router.app), base_url="http://localhost") as client:
        first, again = [
            await client.post(PATHS[1], json=body(PATHS[1], stream=stream), headers={"idempotency-key": "k"})
            for _ in range(2)
        ]
    assert (first.status_code, again.content, is_replayed(again)) == (200, first.content, True)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert upstream.received == 1


async def test_without_the_header_nothing_is_opened(router: Router, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.play(script.chat_whole("Hello"))
    await ask(router, request("POST", "/v1/chat/completions", json.dumps(body("/v1/chat/completions")).encode()))
    assert not (tmp_path / FILE).exists()
    await post(router)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert router.app._idempotency is not None
    assert not router.app._idempotency.taped_bytes


@pytest.mark.parametrize(("path", "says"), [("/v1/chat/completions", "unprocessable"), ("/v1/messages", "error")])
async def test_another_request_with_the_same_key_is_refused(
    router: Router, upstream: ScriptedUpstream, path: str, says: str
) -> None:
    upstream.play(script.chat_whole("Hello"))
    await post(router, path)
    other = await post(router, path, text="Something else")
    assert other.status_code == 422
    assert says in other.text
    elsewhere = await post(router, "/v1/responses")
    assert elsewhere.status_code == 422
    assert elsewhere.json()["error"]["param"] == "idempotency-key"
    assert upstream.received == 1


@pytest.mark.parametrize("key", ["", "é", "x" * 256])
async def test_what_is_no_key_is_refused(router: Router, upstream: ScriptedUpstream, key: str) -> None:
    data = json.dumps(body("/v1/chat/completions")).encode()
    status, _, said = await ask(router, request("POST", "/v1/chat/completions", data, f"Idempotency-Key: {key}"))
    assert (status, json.loads(said)["error"]["param"]) == (400, "idempotency-key")
    assert upstream.received == 0


async def test_two_keys_are_none(router: Router) -> None:
    data = json.dumps(body("/v1/chat/completions")).encode()
    status, _, _ = await ask(
        router, request("POST", "/v1/chat/completions", data, "Idempotency-Key: a", "Idempotency-Key: b")
    )
    assert status == 400


async def test_where_it_is_off_the_header_is_refused(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nidempotency_hours = 0\n")
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await post(router)
    assert (answer.status_code, upstream.received) == (400, 0)
    assert "off" in answer.json()["error"]["message"]


async def test_an_error_of_the_providers_is_said_again(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_error(500, "Boom"), script.chat_whole("Hello"))
    first = await post(router)
    again = await post(router)
    assert (first.status_code, again.status_code) == (502, 502)
    assert again.content == first.content
    assert (is_replayed(again), again.headers["x-should-retry"]) == (True, "false")
    assert upstream.received == 1


async def test_an_error_in_the_stream_is_said_again(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(
        script.chat_stream(["Hello"], finish=None, done=False).but(end=End.RST), script.chat_stream(["Hello"])
    )
    first = await post(router, stream=True)
    again = await post(router, stream=True)
    assert b"error" in first.content
    assert again.content == first.content
    assert upstream.received == 1


async def test_a_limit_on_the_rate_is_not_kept(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.openrouter_error(429, "Slow down", headers=(("retry-after", "0"),)))
    assert (await post(router)).status_code == 429
    again = await post(router)
    assert again.status_code == 429
    assert not is_replayed(again)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/v1/chat/completions", b"{"),
        ("/v1/chat/completions", b'{"model":"openrouter/m","messages":7}'),
        ("/api/chat", b'{"message":"Hi","sessionId":"01890a5d-ac96-774b-bcce-b302099a8057"}'),
    ],
)
async def test_what_was_refused_before_anybody_was_asked_leaves_the_key_free(
    router: Router, upstream: ScriptedUpstream, path: str, wrong: bytes
) -> None:
    upstream.play(script.chat_whole("Hello"))
    status, headers, _ = await ask(router, request("POST", path, wrong, "Idempotency-Key: k"))
    assert 400 <= status < 500
    assert "idempotent-replayed" not in headers
    assert (await post(router)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_client_leaves_the_key_is_free_again(
    router: Router, upstream: ScriptedUpstream, stream: bool
) -> None:
    held = script.chat_stream(["held"], finish=None, done=False).but(end=End.STALL)
    late = script.chat_whole("late").but(delay_headers_s=30)
    upstream.play(held if stream else late)
    data = json.dumps(body("/v1/chat/completions", stream=stream)).encode()
    async with connected(router) as client:
        await client.send(request("POST", "/v1/chat/completions", data, "Idempotency-Key: k"))
        await upstream.wait_until(lambda: upstream.received == 1)
        if stream:
            await client.read_until(b"held")
        assert (await post(router, stream=stream)).status_code == 409
        client.reset()
    await upstream.wait_until(lambda: upstream.active == 0)
    upstream.play(script.chat_stream(["Hello"]) if stream else script.chat_whole("Hello"))
    await until(lambda: not in_flight(router))
    answer = await post(router, stream=stream)
    assert answer.status_code == 200
    assert b"Hello" in answer.content
    assert not is_replayed(answer)


async def test_the_key_is_free_when_its_request_is_cancelled_while_it_takes_it(
    router: Router, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.play(script.chat_whole("Hello"))
    await post(router, key="another")
    kept = router.app._idempotency
    assert kept is not None
    assert kept._store is not None
    claim = kept._store.claim

    async def cancelled(name: bytes, digest: bytes, mark: str) -> SavedAnswer | None:
        await claim(name, digest, mark)
        raise asyncio.CancelledError

    monkeypatch.setattr(kept._store, "claim", cancelled)
    assert (await post(router)).status_code == 500
    monkeypatch.undo()
    await until(lambda: not kept._settling)
    assert (await post(router)).status_code == 200


async def test_the_key_is_free_when_the_router_cut_the_answer(router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["held"], finish=None, done=False).but(end=End.STALL))
    running = asyncio.create_task(post(router, stream=True))
    await upstream.wait_until(lambda: upstream.received == 1)
    await asyncio.sleep(0.05)
    router.app.cut()
    assert b"shutting down" in (await running).content
    upstream.play(script.chat_stream(["Hello"]))
    assert b"Hello" in (await post(router, stream=True)).content


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_while_the_answer_is_being_saved_takes_nothing_from_it(
    router: Router, upstream: ScriptedUpstream, tmp_path: Path, stream: bool
) -> None:
    said = script.chat_stream(["Hello"]) if stream else script.chat_whole("Hello")
    upstream.play(said.but(delay_headers_s=1))
    running = asyncio.create_task(post(router, stream=stream))
    await upstream.wait_until(lambda: upstream.received == 1)
    kept = router.app._idempotency
    assert kept is not None
    with closing(sqlite3.connect(next(tmp_path.rglob(FILE)), timeout=0, isolation_level=None)) as other:
        while not other.in_transaction:
            with suppress(sqlite3.OperationalError):  # the router is writing
                other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(0.01)
        await until(lambda: bool(kept._settling))
        router.app.cut()
        answer = await running
    assert b"Hello" in answer.content
    assert b"shutting down" not in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n") or not stream
    await until(lambda: not kept._settling)
    again = await post(router, stream=stream)
    assert is_replayed(again)
    assert again.content == answer.content


async def test_one_callers_key_is_nothing_to_another(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": SECRET, "TRUNKLINE_OPEN": "1"})
    async with serving(settings) as router:
        upstream.play(script.chat_whole("the guest's"), script.chat_whole("the administrator's"))
        guests = await post(router)
        owned = await post(router, headers={"authorization": f"Bearer {SECRET}"})
        assert b"the guest's" in guests.content
        assert b"the administrator's" in owned.content
        assert (await post(router)).content == guests.content
        assert (await post(router, headers={"authorization": f"Bearer {SECRET}"})).content == owned.content
    assert upstream.received == 2


async def test_another_worker_and_a_router_that_was_started_again_know_the_answer(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    settings = openrouter(upstream, tmp_path)
    async with serving(settings) as one, serving(settings) as other:
        first = await post(one, stream=True)
        assert (await post(other, stream=True)).content == first.content
    async with serving(settings) as later:
        again = await post(later, stream=True)
    assert (again.content, is_replayed(again), upstream.received) == (first.content, True, 1)


async def test_after_its_time_the_request_runs_anew(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = openrouter(upstream, tmp_path)
    short = msgspec.structs.replace(settings.server, idempotency_hours=0.2 / 3600)
    async with serving(msgspec.structs.replace(settings, server=short)) as router:
        await post(router)
        await asyncio.sleep(0.3)
        assert not is_replayed(await post(router))
    assert upstream.received == 2


async def test_an_answer_that_is_too_large_is_not_kept(router: Router, upstream: ScriptedUpstream) -> None:
    piece = "x" * 1_000_000
    upstream.play(script.chat_stream([piece] * (idempotency.MAX_ANSWER_BYTES // len(piece) + 1)))
    first = await post(router, stream=True)
    again = await post(router, stream=True)
    assert len(first.content) > idempotency.MAX_ANSWER_BYTES
    assert (again.status_code, is_replayed(again), upstream.received) == (200, False, 2)
    assert router.app._idempotency is not None
    assert not router.app._idempotency.taped_bytes


async def test_where_nobody_can_know_nothing_runs(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"This is no database. " * 100)
    async with serving(openrouter(upstream, tmp_path)) as router:
        answer = await post(router)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        (tmp_path / FILE).unlink()
        assert (await post(router)).status_code == 200
    assert upstream.received == 1


async def test_pages_may_send_the_key_and_see_that_an_answer_was_replayed(router: Router) -> None:
    asked = ("Origin: http://localhost:5173", "Access-Control-Request-Method: POST")
    _, headers, _ = await ask(router, request("OPTIONS", "/v1/chat/completions", b"", *asked))
    assert "idempotency-key" in headers["access-control-allow-headers"]
    assert "idempotent-replayed" in headers["access-control-expose-headers"]


async def test_what_is_kept_reaches_no_log(
    router: Router, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.play(script.chat_whole("Canary of the reply"))
    await post(router, text="Canary of the prompt", key="canary-of-the-key")
    await post(router, text="Canary of the prompt", key="canary-of-the-key")
    written = caplog.text + "".join(capsys.readouterr())
    assert "canary" not in written.lower()
    assert "Canary" not in repr(SavedAnswer(200, (), b"Canary of the reply"))
