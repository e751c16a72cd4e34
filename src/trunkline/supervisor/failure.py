"""Why the router did not start: sentences for the person at the terminal."""

from __future__ import annotations


class CannotStart(Exception):
    """The router, or one of its workers, cannot start. The message says why and what to do; the exit code is 1."""


class PortTaken(CannotStart):
    """Somebody else listens on the port already."""
