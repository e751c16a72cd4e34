"""The page's own tests, in Node: its reader of streams, its state, its Markdown."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from conftest import require

WEB = Path(__file__).parent.parent / "web"


async def test_the_pages_own_tests_pass() -> None:
    npm = shutil.which("npm")
    require("node", present=npm is not None and (WEB / "node_modules").is_dir())
    assert npm is not None
    process = await asyncio.create_subprocess_exec(
        npm, "test", "--silent", cwd=WEB, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
