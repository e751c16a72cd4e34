"""How large each test of the reliability plan is: reduced in `make test`, full in `make test-all`."""

from __future__ import annotations

import os

FULL = os.environ.get("TRUNKLINE_FULL") == "1"


def size(reduced: int, full: int) -> int:
    """The size for this run."""
    return full if FULL else reduced


CONCURRENT_STREAMS = 200
"""The seed's fifth scenario; the same in both."""

DISCONNECTS = size(20, 200)
"""T01 to T03: clients that leave, for each state."""

DRAINED_STREAMS = size(40, 500)
"""T44: live streams when the router is told to end."""

SCHEMATHESIS_CASES = size(500, 10_000)
"""T25: cases over all routes."""

CUT_OFFSETS = size(400, 5_000)
"""T06: byte offsets at which a recorded stream is cut."""

CANARY_PATHS = size(20, 60)
"""S06: failure paths through which canary secrets are sent."""

SPLIT_STEP = size(7, 1)
"""T20: how far apart the places are at which a stream is cut for a client of another dialect, in bytes."""

FUZZ_EXAMPLES = size(60, 700)
"""T24: examples for each dialect, direction and shape."""

LAW_EXAMPLES = size(60, 600)
"""Examples of each law of the dialects, for each dialect."""

RELOADS = size(20, 100)
"""T55: reloads under load, one in ten of them invalid."""

OVERLOAD_S = size(3, 60)
"""T51: seconds of three times as many requests as there is room for."""

FAILING_S = size(3, 60)
"""T10: seconds in which everything fails."""

BAD_REQUESTS = size(200, 1_000)
"""T13: requests that are their callers' fault, among good ones."""

FLAPPING_S = size(120, 1_200)
"""T14: virtual seconds of a provider that comes and goes."""

SOAKED_REQUESTS = size(2_000, 100_000)
"""T41: requests over which memory must not grow."""

IDLE_STREAMS = size(400, 8_500)
"""T42, T43: streams that are open and then all end at once; two descriptors each, of 20,000 less the spare tenth."""

IDLE_S = size(2, 40)
"""T42: seconds for which they are idle."""

SLOW_READERS = size(100, 500)
"""T49: clients that hardly read."""

SLOW_S = size(2, 30)
"""T49: seconds for which they read a little."""

FALLBACKS = size(2, 50)
"""T07: requests for each fault and dialect of client."""

SLOW_SENDERS = size(100, 2_000)
"""T52: connections that send their headers, or their bodies, a byte at a time."""

BODY_MIB = size(64, 1_024)
"""T60: how large a body is that nobody wants."""

CUTS = size(40, 400)
"""Ways to cut the bytes of requests, and of what follows them."""

TWINS = 50
"""T16: requests at once that share an idempotency key; the same in both."""
