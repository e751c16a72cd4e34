"""The deadlines and bounds of the server."""

from __future__ import annotations

import msgspec

KIB = 1024


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may take, in time and in memory. Deadlines are looked at every `sweep_s`: they are that rough."""

    head_bytes: int = 64 * KIB
    """Request line and headers; past it 431. The same bounds what a body may hold that is no body: chunk extensions,
    trailers."""

    head_lines: int = 100

    head_s: float = 15.0
    """From a connection's start, or a request's first byte, to the end of its headers."""

    keep_alive_s: float = 75.0
    """How long an idle connection waits for its next request, as nginx has it."""

    body_window_s: float = 30.0
    body_window_bytes: int = 16 * KIB
    """A body that the application waits for brings so many bytes, or its end, within each window; otherwise 408."""

    write_stall_s: float = 60.0
    """How long a client may take nothing of what waits for it."""

    linger_s: float = 2.0
    linger_bytes: int = 1024 * KIB
    """What is still read, unseen, after a response that came before the request's end: a client that is cut off while
    it sends may never read why."""

    pipelined: int = 32
    """Requests that wait for the responses to those before them. Where more come, the last that waits is answered with
    `connection: close`, and those behind it are not answered."""

    sweep_s: float = 1.0
