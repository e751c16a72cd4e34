"""T25: schemathesis on every route, with a right, a wrong and no key: whatever comes, /openapi.json has told of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    positive_data_acceptance,
    unsupported_method,
)

from served import openrouter, serving
from sizes import SCHEMATHESIS_CASES
from trunkline.core.caller import Secret
from trunkline.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemathesis import APIOperation, BaseSchema, Case
    from schemathesis.checks import CheckFunction

    from trunkline.settings.values import Settings
    from trunkline.upstream.scripted import ScriptedUpstream

SECRET: Final = "canary-administrator-0123456789-abcdefgh"
BEARER: Final = {"authorization": f"Bearer {SECRET}"}
WRONG: Final = {"authorization": "Bearer wrong-0123456789-0123456789-0123456789"}

KEYS: Final = {
    "open": (False, {}, False),
    "the right key": (True, BEARER, False),
    "a wrong key": (True, WRONG, True),
    "no key": (True, {}, True),
}
"""Whether the router wants a key, what the client sends, and whether that is refused."""

PUBLIC: Final = {"/health", "/livez", "/readyz", "/auth/login"}


class Examiner:
    """Sends cases with these headers, and compares each answer with the document. `statuses` is what it has seen."""

    def __init__(self, url: str, headers: dict[str, str], *, is_refused: bool) -> None:
        self.url = url
        self.headers = headers
        self.statuses: list[tuple[str, int]] = []
        self._is_refused = is_refused
        self.schema: BaseSchema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        self.schema.validate()

    def operations(self) -> list[APIOperation]:
        """Every route that the document names."""
        return [found.ok() for found in self.schema.get_all_operations()]

    def examine(self, case: Case) -> None:
        """Send one case. Fails where the answer is a 5xx, or not as the document says."""
        response = case.call(base_url=self.url, headers=self.headers, timeout=20)
        self.statuses.append((case.operation.label, response.status_code))
        assert response.status_code < 500
        is_refused = self._is_refused and case.operation.path not in PUBLIC
        if is_refused and case.method == case.operation.method.upper():
            assert response.status_code in {401, 415}, "an answer without a key"
        case.validate_response(response, excluded_checks=list(self._beyond_the_document(case)))

    def _beyond_the_document(self, case: Case) -> Iterator[CheckFunction]:
        """What JSON Schema has no words for."""
        if "cursor" in (case.query or {}):
            yield positive_data_acceptance  # opaque: only what the route gave is one
        if isinstance(case.body, dict) and isinstance(case.body.get("maxTokens"), float):
            yield positive_data_acceptance  # 1.0 is an integer to JSON Schema, and a mistake to us
        if case.path.count("/") > case.path.index("{session_id}") // 100 + 4 if "{" in case.path else False:
            yield unsupported_method  # the front knows what is below a session as one route
            yield allow_header_conformance


def _settings(upstream: ScriptedUpstream, directory: Path, **more: str) -> Settings:
    return openrouter(upstream, directory, {"CHAT_DATABASE_URL": f"sqlite:///{directory}/chat.sqlite3", **more})


async def _with_history(upstream: ScriptedUpstream, directory: Path, *, is_closed: bool) -> Settings:
    url = f"sqlite:///{directory}/chat.sqlite3"
    await migrate(Secret(url))
    return openrouter(
        upstream, directory, {"CHAT_DATABASE_URL": url, **({"TRUNKLINE_ADMIN_SECRET": SECRET} if is_closed else {})}
    )
