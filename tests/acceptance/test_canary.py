"""S06, S16: secrets and prompts go through every way to fail, at LOG_LEVEL=debug, and are found nowhere afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx
import pytest

from acceptance.canaries import (
    ADMIN_SECRET,
    ADMITTED,
    CLIENT_KEY,
    CONTENT,
    PASSWORD,
    PROMPT,
    PROVIDER_KEY,
    QUERY,
    REPLY,
    REQUESTS,
    SECRETS,
    TELLS_THE_CALLER,
    UPSTREAM,
    chat,
    found,
)
from program import run, started
from raw_http import request
from served import openrouter, serving
from sizes import CANARY_PATHS
from store.databases import postgresql
from store.tcp_proxy import TcpProxy
from trunkline.core.caller import Secret
from trunkline.core.problem import Problem
from trunkline.store.database_url import translate
from trunkline.store.migrate import migrate
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from program import Started
    from trunkline.upstream.scripted import ScriptedUpstream

CONFIGURATION: Final = """
[retries]
attempts = 0
[health]
refused_s = 0
cool_s = 0
longest_cool_s = 0
[breaker]
consecutive = 1000000
least = 1000000
[timeouts]
connect_s = 1
first_token_s = 0.5
idle_bytes_s = 0.5
[server]
max_event_bytes = 16384
max_body_bytes = 200000
body_read_s = 0.3
[providers.openrouter]
[providers.refusing]
dialect = "openai_chat"
base_url = "http://127.0.0.1:{closed}/v1"
api_key = "env:SPARE_KEY"
quirks = {{ serves_any_model = true }}
[providers.nowhere]
dialect = "openai_chat"
base_url = "https://nowhere.invalid/v1"
api_key = "env:SPARE_KEY"
quirks = {{ serves_any_model = true }}
[providers.plain]
dialect = "openai_chat"
base_url = "https://127.0.0.1:{port}/v1"
api_key = "env:SPARE_KEY"
quirks = {{ serves_any_model = true }}
"""


async def send(router: Started, data: bytes, *, leave_after: bytes | None = None) -> bytes:
    """The whole answer to these bytes, head included; with `leave_after`, only up to this mark."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port, limit=1 << 20)
    try:
        async with asyncio.timeout(30):
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
                return await (reader.readuntil(leave_after) if leave_after else reader.read(-1))
            return b""
    finally:
        writer.transport.abort()


async def _upstream_fails(router: Started, upstream: ScriptedUpstream) -> AsyncGenerator[tuple[str, bytes]]:
    for name, playing in UPSTREAM.items():
        upstream.play(playing)
        yield name, await send(router, chat())
    upstream.play()


async def _client_errs(router: Started, _: ScriptedUpstream) -> AsyncGenerator[tuple[str, bytes]]:
    for name, data in REQUESTS.items():
        yield name, await send(router, data)
    stalled = chat()[:-5]
    yield "a body that stalls", await send(router, stalled)


async def _client_leaves(router: Started, upstream: ScriptedUpstream) -> AsyncGenerator[tuple[str, bytes]]:
    upstream.play(script.chat_stream([REPLY], finish=None, done=False).but(end=End.STALL))
    yield "left in the middle", await send(router, chat(), leave_after=b"Hrdlickova")
    upstream.play(script.chat_stream([REPLY]).but(delay_headers_s=20))
    _, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(chat())
    await upstream.wait_until(lambda: upstream.active == 1)
    writer.transport.abort()
    await upstream.wait_until(lambda: upstream.active == 0)
    yield "left before the headers", b""
    _, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(chat()[:-5])
    await asyncio.sleep(0.05)
    writer.transport.abort()
    yield "left in its own request", b""
    upstream.play()


async def _router_drains(router: Started, upstream: ScriptedUpstream) -> AsyncGenerator[tuple[str, bytes]]:
    upstream.play(script.chat_stream([REPLY], finish=None, done=False).but(repeat=True, delay_between_s=0.1))
    running = asyncio.create_task(send(router, chat()))
    await upstream.wait_until(lambda: upstream.active == 1)
    router.signal(signal.SIGTERM)
    await asyncio.sleep(0.1)
    yield "refused while draining", await send(router, chat())
    yield "cut at the end of the drain", await running


def assert_holds_none(where: bytes, what: str, canaries: tuple[str, ...] = (*SECRETS, *CONTENT)) -> None:
    """None of the canaries is there."""
    assert found(where, canaries) == [], f"in {what}"


def files_below(directory: Path) -> dict[str, bytes]:
    """What is in each file."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_canary_is_found_in_whatever_form() -> None:
    for canary in (*SECRETS, *CONTENT):
        for told in (
            canary,
            canary.upper(),
            quote(canary),
            json.dumps([canary]),
            base64.b64encode(canary.encode()).decode(),
        ):
            assert found(f"> {told} <".encode(), (canary,)) == [canary]
    assert found(b"nothing of it", SECRETS) == []


async def test_no_secret_and_no_content_is_found_after_any_failure(
    upstream: ScriptedUpstream, tmp_path: Path, unused_port: int
) -> None:
    file = tmp_path / "data" / "chat.sqlite3"
    await migrate(Secret(f"sqlite:///{file}"))
    (tmp_path / "trunkline.toml").write_text(CONFIGURATION.format(closed=unused_port, port=upstream.port))
    given = {
        "OPENROUTER_API_KEY": PROVIDER_KEY,
        "SPARE_KEY": PROVIDER_KEY,
        "TRUNKLINE_ADMIN_SECRET": ADMIN_SECRET,
        "CHAT_DATABASE_URL": f"sqlite:///{file}",
        "TRUNKLINE_DRAIN_S": "0.5",
        "LOG_LEVEL": "debug",
    }
    async with started(upstream, tmp_path, **given) as router:
        log_in = request("POST", "/auth/login", json.dumps({"key": ADMIN_SECRET}).encode(), "Connection: close")
        cookie = (await send(router, log_in)).partition(b"trunkline_session=")[2].partition(b";")[0].decode()
        answers = {
            name: answer
            for way in (_upstream_fails, _client_errs, _client_leaves)
            async for name, answer in way(router, upstream)
        }
        metrics = await send(router, request("GET", "/metrics", b"", *ADMITTED))
        answers |= {name: answer async for name, answer in _router_drains(router, upstream)}
        await router.ended()
        printed = router.log + router.out
    assert len(answers) >= CANARY_PATHS
    for name, answer in answers.items():
        assert_holds_none(answer, f"the answer to {name}", (*SECRETS, cookie))
        if not name.startswith(TELLS_THE_CALLER):
            assert_holds_none(answer, f"the answer to {name}", (PROMPT,))
    assert b"trunkline_requests_total" in metrics
    assert_holds_none(metrics, "/metrics")
    assert printed.count('"status":') > len(REQUESTS) + len(UPSTREAM) - 5, "it was not logged at all"
    assert_holds_none(printed.encode(), "the log", (*SECRETS, *CONTENT, cookie))
    for path, held in files_below(tmp_path).items():
        assert_holds_none(held, path, SECRETS if "chat.sqlite3" in path else (*SECRETS, *CONTENT))
    _assert_content_is_only_in_the_chat_tables(file)


def _assert_content_is_only_in_the_chat_tables(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        dumped = {name: repr(connection.execute(f"SELECT * FROM {name}").fetchall()).encode() for name in names}  # noqa: S608 - the database's own names
    connection.close()
    assert found(dumped["chat_messages"], CONTENT) == [*CONTENT]
    for name, rows in dumped.items():
        assert_holds_none(rows, name, SECRETS if name in {"chat_messages", "chat_sessions"} else CONTENT)


async def test_what_was_said_is_gone_from_the_file_when_its_sessions_are_deleted(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """S16."""
    file = tmp_path / "chat.sqlite3"
    url = f"sqlite:///{file}"
    await migrate(Secret(url))
    async with (
        serving(openrouter(upstream, tmp_path, {"CHAT_DATABASE_URL": url})) as router,
        httpx.AsyncClient(base_url=router.url, trust_env=False) as client,
    ):
        for _ in range(3):
            await client.post("/api/chat", json={"message": PROMPT})
        sessions = (await client.get("/api/chat/sessions")).json()["sessions"]
        assert len(sessions) == 3
        for session in sessions:
            assert (await client.delete(f"/api/chat/sessions/{session['id']}")).status_code == 204
    with sqlite3.connect(file, isolation_level=None) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
    connection.close()
    for path, held in files_below(tmp_path).items():
        assert_holds_none(held, path)


async def test_no_secret_is_found_when_the_database_goes_away(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    server = await asyncio.to_thread(postgresql)
    name = await server.make(is_migrated=True)
    socket = f"{server.socket_dir}/.s.PGSQL.5432"
    answers: dict[str, bytes] = {}
    sessions = request("GET", f"/api/chat/sessions?key={QUERY}", b"", *ADMITTED)
    async with TcpProxy(lambda: asyncio.open_unix_connection(socket)) as proxy:
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{proxy.port}/{name}"
        given = {"TRUNKLINE_ADMIN_SECRET": ADMIN_SECRET, "CHAT_DATABASE_URL": url, "TRUNKLINE_DRAIN_S": "0.5"}
        async with started(upstream, tmp_path, OPENROUTER_API_KEY=PROVIDER_KEY, LOG_LEVEL="debug", **given) as router:
            upstream.play(script.chat_stream([REPLY], role_chunk=False).but(delay_first_s=1))
            running = asyncio.create_task(send(router, chat()))
            await upstream.wait_until(lambda: upstream.active == 1)
            await proxy.refuse()
            answers["a session is wanted"] = await send(router, sessions)
            answers["a turn is begun"] = await send(router, chat())
            assert REPLY.encode() in await running
            router.signal(signal.SIGTERM)
            await router.ended()
            printed = router.log + router.out
        for command in ("serve", "migrate", "doctor"):
            done = await run(
                command,
                directory=tmp_path,
                timeout_s=30,
                OPENROUTER_API_KEY=PROVIDER_KEY,
                OPENROUTER_BASE_URL=upstream.base_url,
                **given,
            )
            assert done.code == 1
            assert_holds_none(f"{done}".encode(), command)
    for what, answer in answers.items():
        assert answer.startswith(b"HTTP/1.1 503 "), what
        assert_holds_none(answer, f"the answer when {what}")
    assert "an answer was not stored" in printed
    assert_holds_none(printed.encode(), "the log")


ALL_WRONG: Final = {
    "PORT": CLIENT_KEY,
    "HOST": f"{CLIENT_KEY}/",
    "FRONTEND_URL": f"https://user:{CLIENT_KEY}@example.test",
    "LOG_LEVEL": CLIENT_KEY,
    "TRUNKLINE_WORKERS": CLIENT_KEY,
    "TRUNKLINE_ADMIN_SECRET": "Canary.Of.A.Short.Secret",
    "OPENROUTER_API_KEY": f"{PROVIDER_KEY} with a space",
    "OPENROUTER_BASE_URL": f"https://user:{PROVIDER_KEY}@example.test/v1",
    "CHAT_DATABASE_URL": f"mysql://user:{PASSWORD}@example.test/chat",
    "DATABASE_URL": PASSWORD,
}

WRONG_DATABASES: Final = (
    PASSWORD,
    f"postgres:user:{PASSWORD}@example.test/chat",
    *(
        f"postgresql://user:{password}@127.0.0.1:1/chat"
        for mark in "/?#@"
        for password in (f"it{mark}{PASSWORD}", f"{PASSWORD}{mark}it", f"it{mark}{PASSWORD}{mark}=it")
    ),
    f"postgresql://user:{PASSWORD}@127.0.0.1:not-a-port/chat",
    f"postgresql://user:{PASSWORD}@127.0.0.1:1/chat",
    f"postgresql://127.0.0.1:1/chat?password={PASSWORD}&sslmode=prefer",
    f"postgresql://127.0.0.1:1/chat?sslmode={PASSWORD}",
    f"postgresql://127.0.0.1:1/chat?channel_binding={PASSWORD}",
    f"sqlite://{PASSWORD}",
)


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor"])
async def test_a_secret_in_the_wrong_variable_is_not_printed(tmp_path: Path, command: str) -> None:
    done = await run(command, directory=tmp_path, timeout_s=30, **ALL_WRONG)
    assert done.code in {1, 2}
    for name in ("PORT", "FRONTEND_URL", "CHAT_DATABASE_URL"):
        assert name in f"{done}"
    assert_holds_none(f"{done}".encode(), command, (*SECRETS, ALL_WRONG["TRUNKLINE_ADMIN_SECRET"]))


@pytest.mark.parametrize("url", WRONG_DATABASES)
def test_what_is_wrong_with_a_database_url_is_told_without_its_password(url: str) -> None:
    try:
        told = repr(translate(url))
    except Problem as problem:
        told = repr(problem)
    assert_holds_none(told.encode(), "what is told")


@pytest.mark.parametrize("which", [0, 2, -5])
async def test_a_database_that_cannot_be_used_ends_every_command_without_its_password(
    tmp_path: Path, upstream: ScriptedUpstream, which: int
) -> None:
    given = {
        "OPENROUTER_API_KEY": PROVIDER_KEY,
        "OPENROUTER_BASE_URL": upstream.base_url,
        "CHAT_DATABASE_URL": WRONG_DATABASES[which],
    }
    commands = ("serve", "migrate", "doctor")
    for done in await asyncio.gather(*(run(each, directory=tmp_path, timeout_s=30, **given) for each in commands)):
        assert done.code in {1, 2}
        assert "Traceback" not in done.err
        assert_holds_none(f"{done}".encode(), "what was printed")


async def test_a_content_type_that_is_the_key_is_not_logged(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.play(script.html().but(headers=(("content-type", f"text/{PROVIDER_KEY}"),)))
    given = {"OPENROUTER_API_KEY": PROVIDER_KEY, "TRUNKLINE_ADMIN_SECRET": ADMIN_SECRET}
    async with started(upstream, tmp_path, **given) as router:
        await send(router, chat())
        router.signal(signal.SIGTERM)
        await router.ended()
        assert_holds_none(router.log.encode(), "the log")
