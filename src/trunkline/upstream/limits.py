"""The client's bounds."""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every bound of the client; times in seconds.

    `waiting_per_origin` bounds the queue for a connection. `idle_s` is how long a connection is kept without work:
    less than the keep-alive time of common servers, so that it is seldom they who close it. `stale_s`: a kept
    connection that is lost this soon after a request, without a byte of answer, had been closed before; later than
    that the upstream had the request in hand, and to send it again could be billed twice.
    """

    connections_per_origin: int = 512
    waiting_per_origin: int = 1024
    idle_per_origin: int = 64
    idle_s: float = 30.0
    stale_s: float = 2.0
    header_bytes: int = 64 * 1024
    header_count: int = 200
