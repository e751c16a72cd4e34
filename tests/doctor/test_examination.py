"""All checks together: what is found, in which order, and that no secret is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.caller import Secret
from trunkline.doctor import Finding, State, examine, is_healthy
from trunkline.doctor.examination import conceal
from trunkline.settings.reading import load
from trunkline.settings.values import Settings
from trunkline.upstream.script import Script, html, json_error, openrouter_error
from trunkline.upstream.scripted import ScriptedUpstream
from upstream.connect_proxy import ConnectProxy

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.upstream.journal import ReceivedRequest

KEY = "sk-or-v1-canary-of-the-doctor"
ADMIN = "canary-of-the-administrator-0123456789"
PASSWORD = "canary/of@the-database"


def environment(upstream: ScriptedUpstream, directory: Path, **more: str) -> dict[str, str]:
    return {
        "OPENROUTER_API_KEY": KEY,
        "OPENROUTER_BASE_URL": upstream.base_url,
        "TRUNKLINE_CACHE_DIR": str(directory),
        "PORT": "0",
        **more,
    }


def told(findings: list[Finding], check: str) -> Finding:
    (finding,) = (finding for finding in findings if finding.check == check)
    return finding


async def test_a_router_that_could_start_is_healthy(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    findings = await examine(environment(upstream, tmp_path), tmp_path)
    assert [finding.check for finding in findings] == [
        "settings",
        "env file",
        "provider openrouter",
        "local model",
        "port",
        "history database",
        "frontend",
        "page",
        "limits",
    ]
    assert is_healthy(findings)
    assert told(findings, "provider openrouter").state is State.OK


async def test_one_failure_is_not_healthy(tmp_path: Path) -> None:
    async with ScriptedUpstream(accepts_key=Secret("another")) as upstream:
        findings = await examine(environment(upstream, tmp_path), tmp_path)
    assert not is_healthy(findings)


async def test_every_provider_is_asked(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(
        f'[providers.here]\ndialect = "openai_chat"\nbase_url = "{upstream.base_url}"\n'
    )
    findings = await examine(environment(upstream, tmp_path), tmp_path)
    assert told(findings, "provider here").says == "here answers; it needs no key."
    assert told(findings, "provider openrouter").state is State.OK


async def test_a_provider_is_asked_through_the_proxy_of_its_row(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with ConnectProxy(credential="me:canary") as proxy:
        (tmp_path / "trunkline.toml").write_text('[providers.openrouter]\nproxy = "env:WAY_OUT"\n')
        for password, state in (("canary", State.OK), ("canary-2", State.FAILED)):
            way = f"http://me:{password}@{proxy.proxy().name}"
            findings = await examine(environment(upstream, tmp_path, WAY_OUT=way), tmp_path)
            assert told(findings, "provider openrouter").state is state
            assert "canary" not in repr(findings)
        assert len(proxy.asked) == 2


async def test_the_env_file_counts_and_flags_come_first(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENROUTER_API_KEY={KEY}\nOPENROUTER_BASE_URL={upstream.base_url}\nPORT=x\n")
    (tmp_path / ".env").chmod(0o600)
    findings = await examine({"TRUNKLINE_CACHE_DIR": str(tmp_path)}, tmp_path, flags={"PORT": "0"})
    assert is_healthy(findings)


async def test_a_mistake_does_not_keep_the_rest_from_being_checked(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    findings = await examine(environment(upstream, tmp_path, PORT="many"), tmp_path)
    assert told(findings, "settings").state is State.FAILED
    assert told(findings, "port").state is State.SKIPPED
    assert told(findings, "provider openrouter").state is State.OK


async def test_without_settings_nothing_is_called(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("not toml")
    findings = await examine(environment(upstream, tmp_path), tmp_path)
    assert not is_healthy(findings)
    for check in ("provider", "port", "history database", "frontend"):
        assert told(findings, check).state is State.SKIPPED
    assert not upstream.requests


async def test_without_a_provider_the_key_to_set_is_named(tmp_path: Path) -> None:
    findings = await examine({"PORT": "0", "TRUNKLINE_CACHE_DIR": str(tmp_path)}, tmp_path)
    assert "OPENROUTER_API_KEY" in (told(findings, "provider").fix or "")


async def test_a_check_that_breaks_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async def broken(_: str, __: int) -> list[str]:
        raise RuntimeError(KEY)

    wanted = {"OPENROUTER_API_KEY": KEY, "TRUNKLINE_CACHE_DIR": str(tmp_path), "PORT": "0"}
    findings = await examine(wanted, tmp_path, resolve=broken)
    assert told(findings, "provider openrouter").says == "This check itself broke (RuntimeError)."
    assert told(findings, "port").state is State.OK
    assert KEY not in repr(findings)


def quoting(status: int) -> Script:
    return json_error(status, {"error": {"message": f"Bearer {KEY}"}}, (("location", f"/{KEY}"), ("x-key", KEY)))


@pytest.mark.parametrize(
    "answer",
    [
        *(quoting(status) for status in (200, 302, 400, 401, 402, 403, 404, 429, 500, 503)),
        html().but(body=(f"<html>{KEY}</html>".encode(),)),
        Script(body=(KEY.encode(),)),
        Script(head=f"HTTP/1.1 200 {KEY}\r\n{KEY}\r\n\r\n".encode()),
        json_error(200, {"data": {"label": KEY, "limit_remaining": 1}}),
        openrouter_error(401, KEY).but(headers=(("content-type", KEY),)),
    ],
    ids=lambda answer: str(answer.status),
)
async def test_no_answer_brings_a_secret_into_the_findings(answer: Script, tmp_path: Path) -> None:
    def say(_: ReceivedRequest) -> Script:
        return answer

    async with ScriptedUpstream(say) as upstream:
        (tmp_path / "trunkline.toml").write_text(
            f'[providers.here]\ndialect = "openai_chat"\nbase_url = "{upstream.base_url}"\n'
            'api_key = "env:OPENROUTER_API_KEY"\nprobe = "/account"\n'
        )
        (tmp_path / ".env").write_text(f"OPENROUTER_API_KEY={KEY}\n")
        wanted = environment(
            upstream,
            tmp_path,
            TRUNKLINE_ADMIN_SECRET=ADMIN,
            CHAT_DATABASE_URL=f"postgresql://someone:{PASSWORD}@127.0.0.1:1/chat",
        )
        findings = await examine(wanted, tmp_path)
    written = msgspec.json.encode(findings).decode()
    assert "canary" not in written
    assert "of@the" not in written
    assert told(findings, "provider here").state is not State.SKIPPED


def test_a_secret_that_slips_into_a_finding_is_blotted_out() -> None:
    settings = Settings(chat_database_url=Secret("postgresql://someone:p%40ss/word@db.example/chat"))
    slip = Finding(check="any", state=State.FAILED, says="p@ss/word is wrong", fix="not p%40ss/word")
    (finding,) = conceal([slip], settings)
    assert (finding.says, finding.fix) == ("*** is wrong", "not ***")


def test_a_second_key_is_blotted_out_too(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('[providers.openai]\ncredentials = ["env:ONE", "env:TWO"]\n')
    settings = load({"ONE": "the-first-key", "TWO": "the-second-key"}, tmp_path)
    slip = Finding(check="any", state=State.FAILED, says="the-first-key", fix="the-second-key")
    (finding,) = conceal([slip], settings)
    assert (finding.says, finding.fix) == ("***", "***")


def test_a_proxys_password_is_blotted_out_too(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('[server]\nproxy = "env:WAY_OUT"\n')
    settings = load({"OPENROUTER_API_KEY": KEY, "WAY_OUT": "http://me:p%40ss:word@proxy.test:3128"}, tmp_path)
    slip = Finding(check="any", state=State.FAILED, says="me:p@ss:word", fix="p@ss:word, p%40ss%3Aword")
    (finding,) = conceal([slip], settings)
    assert (finding.says, finding.fix) == ("***", "***, ***")


def test_findings_are_plain_json() -> None:
    finding = Finding(check="port", state=State.OK, says="Port 3001 is free.")
    assert msgspec.json.decode(msgspec.json.encode(finding)) == {
        "check": "port",
        "state": "ok",
        "says": "Port 3001 is free.",
        "fix": None,
    }
