"""What a check found. It is made to be pasted into a bug report: no key, no password, no upstream's words."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(StrEnum):
    """How a check ended. Only FAILED stands in the way."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. `says` is a sentence or two; `fix` is what to do, None where there is nothing."""

    check: str
    state: State
    says: str
    fix: str | None = None


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.state is not State.FAILED for finding in findings)


def ok(check: str, says: str) -> Finding:
    """All is as it should be."""
    return Finding(check=check, state=State.OK, says=says)


def warning(check: str, says: str, fix: str) -> Finding:
    """It works, and could be better or is not what was meant."""
    return Finding(check=check, state=State.WARNING, says=says, fix=fix)


def failed(check: str, says: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(check=check, state=State.FAILED, says=says, fix=fix)


def skipped(check: str, says: str, fix: str | None = None) -> Finding:
    """There is nothing to check, or not yet."""
    return Finding(check=check, state=State.SKIPPED, says=says, fix=fix)


def settings_first(check: str) -> Finding:
    """What this check needs to know is written wrongly."""
    return skipped(check, "Not checked: the settings have to be right first.")
