"""Bad input is always a 4xx that names the field, never a 500, and memory stays bounded (S09, T60, T61)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import pytest

from raw_http import ask, connected, request
from served import openrouter, serving

if TYPE_CHECKING:
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

MIB = 1024 * 1024
HEAD = "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"not json", ""),
        (b"null", ""),
        (b"[]", ""),
        (b'"text"', ""),
        (b"{}", "message"),
        (b'{"message":null}', "message"),
        (b'{"message":""}', "message"),
        (b'{"message":"   "}', "message"),
        (b'{"message":5}', "message"),
        (b'{"message":["Hi"]}', "message"),
        (json.dumps({"message": "x" * 1_000_001}).encode(), "message"),
        (b'{"message":"\\ud800"}', "message"),
        (b'{"message":"Hi","message":"Ho"}', "message"),
        (b'{"message":"Hi","\\u006dessage":"Ho"}', "message"),
        (b'{"message":"Hi","temperature":-0.1}', "temperature"),
        (b'{"message":"Hi","temperature":2.1}', "temperature"),
        (b'{"message":"Hi","temperature":NaN}', ""),
        (b'{"message":"Hi","temperature":1e999}', "temperature"),
        (b'{"message":"Hi","temperature":"1"}', "temperature"),
        (b'{"message":"Hi","temperature":true}', "temperature"),
        (b'{"message":"Hi","maxTokens":0}', "maxTokens"),
        (b'{"message":"Hi","maxTokens":1.5}', "maxTokens"),
        (b'{"message":"Hi","maxTokens":1000001}', "maxTokens"),
        (b'{"message":"Hi","maxTokens":"5"}', "maxTokens"),
        (b'{"message":"Hi","maxTokens":true}', "maxTokens"),
        (b'{"message":"Hi","maxTokens":' + b"9" * 1_000_000 + b"}", "maxTokens"),
        (b'{"message":"Hi","model":5}', "model"),
        (b'{"message":"Hi","model":""}', "model"),
        (b'{"message":"Hi","model":"a\\nb"}', "model"),
        (b'{"message":"Hi","sessionId":"no such session"}', "sessionId"),
        (b'{"message":"Hi","sessionId":7}', "sessionId"),
        (b'\xef\xbb\xbf{"message":"Hi"}', ""),
        ('{"message":"Hi"}'.encode("utf-16"), ""),
        (b'{"message":"\xff\xfe"}', ""),
        (b'{"message":"Hi"} trailing', ""),
        (b'{"message":"Hi","x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", ""),
        (b"[" * 100_000, ""),
        (b'{"a":' * 100_000, ""),
    ],
)
async def test_what_is_wrong_is_named(router: Router, upstream: ScriptedUpstream, body: bytes, field: str) -> None:
    status, headers, answer = await ask(router, request("POST", "/api/chat", body))
    assert status in {400, 404}
    assert headers["content-type"] == "text/event-stream"
    told = json.loads(answer.removeprefix(b"data: "))
    assert told["type"] == "invalid_request"
    assert field in told["error"]
    assert upstream.received == 0


async def test_unknown_fields_are_ignored_as_the_seed_does(router: Router) -> None:
    status, _, _ = await ask(router, request("POST", "/api/chat", b'{"message":"Hi","userId":"u1","stream":true}'))
    assert status == 200


async def test_a_flood_of_keys_is_refused(router: Router) -> None:
    body = json.dumps({"message": "Hi", **{f"k{number}": number for number in range(1_000_000)}}).encode()
    status, _, _ = await ask(router, request("POST", "/api/chat", body))
    assert status == 400


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(router: Router) -> None:
    head = f"{HEAD}Content-Length: {10**9}\r\n\r\n"
    status, headers, body = await ask(router, head.encode())
    assert status == 413
    assert headers["connection"] == "close"
    assert b"32 MiB" in body


async def test_a_body_over_the_limit_is_refused_while_it_streams(router: Router) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    async with connected(router) as client:
        head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"
        await client.send(head.encode())
        sent = 0
        piece = b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"
        try:
            while sent < 256 * MIB and not client.reader.at_eof():
                await client.send(piece)
                sent += MIB
        except ConnectionError:
            pass
        assert sent < 128 * MIB
    assert process.memory_info().rss - before < 32 * MIB + 64 * MIB


@pytest.mark.parametrize("length", ["-1", "abc", "+5", "1e3", "0x10", "5, 5"])
async def test_a_length_that_is_no_number_is_refused(router: Router, length: str) -> None:
    head = f"{HEAD}Content-Length: {length}\r\n\r\n"
    status, _, _ = await ask(router, head.encode() + b"hello")
    assert status in {0, 400}


async def test_a_body_that_stalls_is_given_up(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nbody_read_s = 0.2\n")
    head = (
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    async with serving(openrouter(upstream, tmp_path)) as router:
        status, headers, _ = await ask(router, head + b'{"mess')
    assert status == 400
    assert headers["connection"] == "close"


async def test_large_bodies_share_a_budget(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[server]\nbody_budget_bytes = 1000\n")
    async with serving(openrouter(upstream, tmp_path)) as router:
        status, headers, _ = await ask(
            router, request("POST", "/api/chat", json.dumps({"message": "x" * 2000}).encode())
        )
        assert status == 503
        assert headers["retry-after"] == "1"
        status, _, _ = await ask(router, request("POST", "/api/chat", b'{"message":"Hi"}'))
        assert status == 200


async def test_an_encoded_body_is_refused(router: Router) -> None:
    status, _, _ = await ask(router, request("POST", "/api/chat", b"\x1f\x8b\x08", "Content-Encoding: gzip"))
    assert status == 415
