"""The client's bounds."""

from __future__ import annotations

import msgspec


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every bound of the client; times in seconds.

    `waiting_per_origin` bounds the queue for a connection. `idle` is how many connections without work are kept, of
    all origins together: each holds a descriptor, and to open a new one costs as much as a request. `idle_s` is for
    how long: less than the keep-alive time of common servers, so that they seldom close one. `stale_s`: a kept
    connection that is lost this soon after a request, without a byte of answer, had been closed before; later than
    that the upstream had the request in hand, and to send it again could be billed twice.
    """

    connections_per_origin: int = 512
    waiting_per_origin: int = 1024
    idle: int = 512
    idle_s: float = 30.0
    stale_s: float = 2.0
    header_bytes: int = 64 * 1024
    header_count: int = 200
