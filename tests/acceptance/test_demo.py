"""`trunkline demo` on a machine without any key: the real local model, the seed's scenarios once more."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from program import environment
from sse_client import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.local_model]


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncGenerator[tuple[str, asyncio.subprocess.Process]]:
    """The router's address, and its process. The weights come from the user's cache, or are fetched once."""
    given = environment(tmp_path, {"PORT": "0", "HOME": os.environ["HOME"]})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", "demo",
        cwd=tmp_path,
        env=given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(300):
        while not (found := re.search(rb"http://localhost:(\d+)", line := await process.stdout.readline())):
            assert line, "it ended"
    yield f"http://127.0.0.1:{found.group(1).decode()}", process
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        await process.wait()


async def ask(url: str, **body: object) -> Answer:
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        response = await client.post(f"{url}/api/chat", json=body)
        return Answer(response.status_code, response.headers, response.content)


async def test_a_real_model_answers_without_any_key(demo: tuple[str, asyncio.subprocess.Process]) -> None:
    url, process = demo
    basic = await ask(url, message="Hello, how are you?", temperature=0)
    assert basic.status == 200
    assert basic.text.strip()
    basic.assert_one_terminal()
    assert basic.is_done

    long = await ask(url, message="Tell me a long story about a lighthouse.", maxTokens=600)
    assert len(long.events) > 5
    assert long.is_done

    too_much = await ask(url, message="word " * 20_000)
    assert too_much.status == 400
    assert too_much.error is not None
    assert too_much.error["type"] == "invalid_request"

    over_its_limit = await ask(url, message="Hi", maxTokens=1_000_000)
    assert over_its_limit.status == 400
    assert over_its_limit.error is not None
    assert "4,096" in over_its_limit.error["error"]

    together = await asyncio.gather(*(ask(url, message=f"Say {number}.", maxTokens=20) for number in range(6)))
    assert all(answer.is_done and answer.text for answer in together)

    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    await process.wait()
    _, alive = psutil.wait_procs(family, timeout=8)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
