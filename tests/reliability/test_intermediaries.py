"""Nothing between router and client holds a stream back: neither nginx as it comes nor a client that takes gzip (T23).

F14: buffering intermediaries are told not to, by the headers of every stream.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from conftest import require
from reliability.scene import LENIENT, routing
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from trunkline.upstream.scripted import ScriptedUpstream

EVERY_S = 0.1
TOKENS = 20
DELAY_S = 0.05 * LENIENT
BODY = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}

CONFIGURATION = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  gzip on;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{router}; }} }}
}}
"""


@asynccontextmanager
async def nginx(directory: Path, port: int, router: int) -> AsyncGenerator[str]:
    """An nginx with what it does by default, and gzip on, in front of the router: its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    require("nginx", present=program is not None)
    assert program is not None
    written = directory / "nginx.conf"
    written.write_text(CONFIGURATION.format(directory=directory, port=port, router=router))
    process = subprocess.Popen([program, "-e", str(directory / "start.log"), "-c", str(written)])
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def _assert_in_time(url: str, upstream: ScriptedUpstream) -> None:
    """The headers come with the first token, and each token when it was sent."""
    pieces = [f"<{number}>" for number in range(TOKENS)]
    upstream.play(script.chat_stream(pieces, role_chunk=False).but(delay_between_s=EVERY_S))
    clock = asyncio.get_running_loop().time
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=BODY, headers={"accept-encoding": "gzip"}) as response,
    ):
        headers_at = clock()
        assert response.status_code == 200
        assert "content-encoding" not in response.headers
        seen = [clock() async for line in response.aiter_lines() if "<" in line]
    begun = upstream.requests[-1].received_at
    late = sorted(at - begun - number * EVERY_S for number, at in enumerate(seen))
    assert len(seen) == TOKENS
    assert headers_at - begun <= 0.1 * LENIENT
    # Sleeps of the upstream add up; what would be held back comes all at once, at the end.
    assert max(later - earlier for earlier, later in itertools.pairwise(seen)) <= EVERY_S + DELAY_S
    assert late[0] <= DELAY_S


async def test_a_client_that_takes_gzip_gets_each_token_at_once(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    async with routing(tmp_path, upstream) as router:
        await _assert_in_time(router.url, upstream)


async def test_nginx_passes_each_token_on_at_once(tmp_path: Path, upstream: ScriptedUpstream, unused_port: int) -> None:
    async with routing(tmp_path, upstream) as router, nginx(tmp_path, unused_port, router.port) as url:
        await _assert_in_time(url, upstream)


@pytest.mark.parametrize(("name", "value"), [("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")])
async def test_every_stream_says_that_it_is_not_to_be_buffered(
    tmp_path: Path, upstream: ScriptedUpstream, name: str, value: str
) -> None:
    upstream.play(script.chat_stream(["Hello"]))
    async with routing(tmp_path, upstream) as router, httpx.AsyncClient(trust_env=False) as http:
        response = await http.post(f"{router.url}/v1/chat/completions", json=BODY)
    assert response.headers[name] == value
