"""Port, database, origins, page and descriptors: what the router finds on its machine."""

from __future__ import annotations

import os
import resource
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from served import openrouter, serving
from trunkline.core.caller import Secret
from trunkline.doctor.finding import State
from trunkline.doctor.place import check_descriptors, check_frontend, check_history, check_page, check_port
from trunkline.doctor.sources import Reading
from trunkline.settings.values import Server, Settings
from trunkline.store.migrate import migrate
from trunkline.supervisor.sockets import listen
from trunkline.upstream.client import Client
from trunkline.upstream.script import End, Script, html, json_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.doctor.finding import Finding
    from trunkline.upstream.scripted import ScriptedUpstream

PASSWORD = "canary-of-the-database"


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    client = Client()
    yield client
    await client.aclose()


def at(port: int, host: str = "localhost") -> Reading:
    return Reading(settings=Settings(server=Server(host=host, port=port)))


def with_database(url: str) -> Reading:
    return Reading(settings=Settings(chat_database_url=Secret(url)))


def with_origins(*origins: str, host: str = "localhost") -> list[Finding]:
    return check_frontend(Reading(settings=Settings(server=Server(host=host, frontend_urls=origins))))


async def test_a_port_on_which_nobody_listens_is_free_and_stays_so(client: Client, unused_port: int) -> None:
    assert (await check_port(at(unused_port), client)).state is State.OK
    with closing(await listen("localhost", unused_port)):
        pass


async def test_port_0_is_always_free(client: Client) -> None:
    assert (await check_port(at(0), client)).says == "PORT=0: any free port."


async def test_a_taken_port_names_its_holder_and_another_port(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(html())
    finding = await check_port(at(upstream.port), client)
    assert finding.state is State.FAILED
    assert finding.says.startswith(f"Port {upstream.port} is taken by ")
    assert finding.says.endswith(f"(pid {os.getpid()}).")
    assert "PORT=" in (finding.fix or "")


async def test_a_router_that_runs_already_is_no_fault(
    client: Client, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with serving(openrouter(upstream, tmp_path)) as router:
        for host in ("localhost", "127.0.0.1", "0.0.0.0"):
            finding = await check_port(at(router.port, host), client)
            assert (finding.state, finding.says) == (State.OK, f"Trunkline is already running on port {router.port}.")


async def test_another_server_with_the_seeds_health_check_is_not_the_router(
    client: Client, upstream: ScriptedUpstream
) -> None:
    upstream.play(json_error(200, {"status": "ok", "timestamp": "2026-01-30T12:00:00.000Z", "uptime": 123.456}))
    assert (await check_port(at(upstream.port), client)).state is State.FAILED


async def test_somebody_who_does_not_speak_http_is_not_the_router(client: Client, upstream: ScriptedUpstream) -> None:
    upstream.play(Script(head=b"SSH-2.0-OpenSSH_9.2\r\n", end=End.FIN))
    assert (await check_port(at(upstream.port), client)).state is State.FAILED


async def test_a_host_that_is_not_of_this_machine_is_told(client: Client) -> None:
    finding = await check_port(at(3001, "192.0.2.1"), client)
    assert finding.state is State.FAILED
    assert finding.says == "HOST=192.0.2.1: 192.0.2.1 is not an address of this machine."
    assert finding.fix is not None


async def test_what_is_written_wrongly_is_not_checked(client: Client) -> None:
    wrong = Reading(settings=Settings(), wrong=frozenset({"PORT", "CHAT_DATABASE_URL", "FRONTEND_URL"}))
    findings = [await check_port(wrong, client), await check_history(wrong), *check_frontend(wrong)]
    assert {finding.state for finding in findings} == {State.SKIPPED}


async def test_history_that_is_off_says_how_to_switch_it_on() -> None:
    finding = await check_history(Reading(settings=Settings()))
    assert finding.state is State.SKIPPED
    assert "CHAT_DATABASE_URL" in finding.says


async def test_a_database_that_is_not_there_needs_migrate_and_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite3"
    finding = await check_history(with_database(f"sqlite:///{file}"))
    assert (finding.state, finding.fix) == (State.FAILED, "trunkline migrate")
    assert not file.exists()


async def test_a_database_without_tables_needs_migrate(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite3"
    file.touch()
    finding = await check_history(with_database(f"sqlite:///{file}"))
    assert (finding.state, finding.fix) == (State.FAILED, "trunkline migrate")
    assert "has no tables yet" in finding.says


async def test_a_migrated_database_is_right(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.sqlite3'}"
    await migrate(Secret(url))
    finding = await check_history(with_database(url))
    assert finding.state is State.OK


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite3"
    file.write_text("not a database, whatever its name says" * 100)
    finding = await check_history(with_database(f"sqlite:///{file}"))
    assert finding.state is State.FAILED
    assert "cannot be used" in finding.says
    assert "SQLite file" in (finding.fix or "")


async def test_a_server_that_does_not_answer_is_told_without_its_password(unused_port: int) -> None:
    finding = await check_history(with_database(f"postgresql://someone:{PASSWORD}@127.0.0.1:{unused_port}/chat"))
    assert finding.state is State.FAILED
    assert finding.says.startswith(f"PostgreSQL at 127.0.0.1:{unused_port}/chat cannot be used (")
    assert PASSWORD not in repr(finding)


async def test_a_url_that_cannot_be_used_names_its_variable() -> None:
    finding = await check_history(with_database(f"postgresql://someone:{PASSWORD}@127.0.0.1/chat?sslmode=maybe"))
    assert (finding.state, finding.fix) == (State.FAILED, "Correct CHAT_DATABASE_URL.")
    assert PASSWORD not in repr(finding)


@pytest.mark.parametrize("origins", [("http://localhost:5173",), ("https://chat.example", "http://127.0.0.1:8080")])
def test_origins_that_may_call_are_shown(origins: tuple[str, ...]) -> None:
    (finding,) = with_origins(*origins)
    assert finding.state is State.OK
    assert all(origin in finding.says for origin in origins)


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("http://localhost:3001", "the router's own address"),
        ("http://127.0.0.1:3001", "the router's own address"),
        ("http://chat.example", "plain http"),
        ("http://192.168.1.20:5173", "plain http"),
        ("http://localhost:5173/", "more than an origin"),
        ("http://localhost:5173/chat", "more than an origin"),
        ("HTTP://Localhost:5173", "more than an origin"),
        ("localhost:5173", "not an origin"),
        ("*", "not an origin"),
        ("http://[::1", "not an origin"),
    ],
)
def test_an_origin_that_cannot_be_meant_is_a_warning(origin: str, says: str) -> None:
    (finding,) = with_origins("http://localhost:5173", origin)
    assert finding.state is State.WARNING
    assert says in finding.says
    assert finding.fix is not None


def test_another_machines_page_may_have_the_routers_port() -> None:
    (finding,) = with_origins("https://chat.example:3001")
    assert finding.state is State.OK


def test_no_origin_at_all_is_the_routers_own_page() -> None:
    (finding,) = with_origins()
    assert finding.state is State.OK


def test_a_page_that_was_not_built_is_a_warning(tmp_path: Path) -> None:
    assert check_page(tmp_path).state is State.WARNING
    (tmp_path / "index.html").touch()
    assert check_page(tmp_path).state is State.OK


@pytest.mark.parametrize(
    ("hard", "state"), [(1024, State.WARNING), (4096, State.OK), (resource.RLIM_INFINITY, State.OK)]
)
def test_few_descriptors_are_a_warning(hard: int, state: State) -> None:
    assert check_descriptors(hard).state is state
