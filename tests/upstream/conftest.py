"""The client's tests run on both loops that it must work on: asyncio's own, and uvloop."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
"""Self-signed for localhost and 127.0.0.1, valid until 2126; its key lies beside it and guards nothing."""


@pytest.fixture(scope="session")
def serving() -> ssl.SSLContext:
    """What a TLS server of the tests' own serves with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, CERTIFICATE.with_suffix(".key"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """What trusts that server, and nobody else."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name.startswith("test_client"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
