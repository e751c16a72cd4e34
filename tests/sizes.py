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

FUZZ_EXAMPLES = size(60, 1_500)
"""T24: examples for each dialect, direction and shape."""

LAW_EXAMPLES = size(60, 600)
"""Examples of each law of the dialects, for each dialect."""

RELOADS = size(20, 100)
"""T55: reloads under load, one in ten of them invalid."""
