"""Out of file descriptors: the server waits for some, and does not spin meanwhile."""

from __future__ import annotations

import asyncio
import sys

import pytest

PROGRAM = """
import asyncio, resource, socket, sys, time
import uvloop
from trunkline.server import Server

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    server = Server(app)
    await server.start([listening])
    clients = [socket.socket() for _ in range(40)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    for one in clients:
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
    spent, begun = time.process_time(), time.monotonic()
    await asyncio.sleep(1)
    print(f"{(time.process_time() - spent) / (time.monotonic() - begun):.3f}")
    for one in clients:
        one.close()
    await asyncio.sleep(1.5)
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    print((await reader.read(-1)).decode().endswith("hello"))
    writer.close()
    await server.close(1)

with asyncio.Runner(loop_factory=getattr(sys.modules[sys.argv[1]], "new_event_loop")) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_it_waits_without_spinning_and_serves_again(loop: str) -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, loop, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    share, serves = out.decode().split()
    assert float(share) < 0.5, "the loop spins"
    assert serves == "True"
