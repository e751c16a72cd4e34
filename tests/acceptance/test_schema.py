"""T25: schemathesis on every route, with a right, a wrong and no key: whatever comes, /openapi.json has told of it."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance, unsupported_method

from served import openrouter, serving
from sizes import SCHEMATHESIS_CASES
from trunkline.core.caller import Secret
from trunkline.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy
    from schemathesis import CheckFunction

    from trunkline.settings.values import Settings
    from trunkline.upstream.scripted import ScriptedUpstream

    APIOperation = schemathesis.APIOperation[Any, Any, Any, Any]
    Case = schemathesis.Case[Any]

SECRET: Final = "canary-administrator-0123456789-abcdefgh"

KEYS: Final = {
    "open": (False, None),
    "the right key": (True, SECRET),
    "a wrong key": (True, "wrong-0123456789-0123456789-0123456789"),
    "no key": (True, None),
}
"""Whether the router wants a key, and what the client sends."""

DIALECTS: Final = ("/v1/", "/api/v1/", "/v1beta/", "/admin/explain")
"""The paths whose bodies are of the vendors' dialects."""

PUBLIC: Final = {"/health", "/livez", "/readyz", "/auth/login"}


class Examiner:
    """Sends cases to one router, with one key, and compares each answer with the document. Owns its connections."""

    def __init__(self, url: str, key: str | None, *, is_refused: bool) -> None:
        self._url = url
        self._is_refused = is_refused
        self._session = requests.Session()
        self._session.trust_env = False
        # A connection each: no case depends on what the one before it has left there.
        self._session.headers.update({"connection": "close", **({"authorization": f"Bearer {key}"} if key else {})})
        self.schema = schemathesis.openapi.from_dict(self._session.get(f"{url}/openapi.json", timeout=20).json())
        self.schema.validate()
        self.sent = 0
        self.seen: set[tuple[str, int]] = set()

    def operations(self) -> list[APIOperation]:
        """Every route that the document names."""
        return [found.ok() for found in self.schema.get_all_operations() if isinstance(found, Ok)]

    def new_session(self) -> str | None:
        """The id of a session with one turn in it, if we may have one."""
        answer = self._session.post(f"{self._url}/api/chat", json={"message": "Hello"}, timeout=20)
        return answer.headers.get("x-session-id")

    def fuzz(self, operation: APIOperation, count: int, session_id: str | None) -> None:
        """So many cases of one route, the same in every run."""
        cases = st.one_of(*_strategies(operation, session_id))
        settings(
            max_examples=count,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            phases=(Phase.generate,),
        )(given(cases)(self.examine))()

    def cover(self, operation: APIOperation) -> None:
        """The edges of each field, what is missing, and methods that the route does not take."""
        configured = self.schema.config.generation
        for case in self.schema.iter_coverage_cases(
            operation, generation_modes=list(GenerationMode), generation_config=configured
        ):
            self.examine(case)

    def examine(self, case: Case) -> None:
        """Send one case. Fails where the answer is a 5xx, or not as the document says."""
        response = case.call(base_url=self._url, session=self._session, timeout=20)
        self.sent += 1
        self.seen.add((case.operation.label, response.status_code))
        if self._is_refused and case.operation.path not in PUBLIC:
            # 405 and 415 tell the method and the form of the request before anybody looks at its key.
            assert response.status_code in {401, 405, 415}, "an answer without a key"
        case.validate_response(response, excluded_checks=list(_beyond_the_document(case)))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _strategies(operation: APIOperation, session_id: str | None) -> list[SearchStrategy[Case]]:
    fixed = [{"session_id": session_id}, {}] if session_id and operation.path_parameters else [{}]
    # Any string is a session's name to the schema, so only queries and bodies can be wrong.
    modes = list(GenerationMode) if operation.query or operation.body else [GenerationMode.POSITIVE]
    return [operation.as_strategy(generation_mode=mode, path_parameters=path) for mode in modes for path in fixed]


def _beyond_the_document(case: Case) -> Iterator[CheckFunction]:
    """Checks of what JSON Schema has no words for."""
    if "cursor" in (case.query or {}):
        yield positive_data_acceptance  # opaque: only what a route gave is one
    if isinstance(case.body, dict) and isinstance(case.body.get("maxTokens"), float):
        yield positive_data_acceptance  # 1.0 is an integer to JSON Schema, and a mistake to us
    if "Idempotency-Key" in (case.headers or {}):
        yield positive_data_acceptance  # one that came with another request is refused
    if case.path.startswith(DIALECTS):
        # Their bodies are the vendors' to describe; here they must not fail, and say what is declared.
        yield positive_data_acceptance
        yield unsupported_method  # what is below the models is one route
        yield allow_header_conformance
    if "{session_id}/" in case.path:
        yield unsupported_method  # the front knows all that is below the sessions as one route
        yield allow_header_conformance


async def _closed_or_open(upstream: ScriptedUpstream, directory: Path, *, is_closed: bool) -> Settings:
    url = f"sqlite:///{directory}/chat.sqlite3"
    await migrate(Secret(url))
    secret = {"TRUNKLINE_ADMIN_SECRET": SECRET} if is_closed else {}
    return openrouter(upstream, directory, {"CHAT_DATABASE_URL": url, **secret})


def _fuzz_all(url: str, key: str | None, cases: int, *, is_refused: bool) -> Examiner:
    examiner = Examiner(url, key, is_refused=is_refused)
    operations = examiner.operations()
    plain = [
        operation for operation in operations if not (operation.path_parameters or operation.query or operation.body)
    ]
    rich = [operation for operation in operations if operation not in plain]
    try:
        for operation in plain:
            examiner.fuzz(operation, 1, None)
        for operation in rich:
            examiner.fuzz(operation, ceil((cases - len(plain)) / len(rich)), examiner.new_session())
    finally:
        examiner.close()
    return examiner


def _cover_all(url: str) -> Examiner:
    examiner = Examiner(url, None, is_refused=False)
    try:
        for operation in examiner.operations():
            examiner.cover(operation)
    finally:
        examiner.close()
    return examiner


@pytest.mark.parametrize("which", KEYS)
async def test_every_answer_is_one_that_the_document_tells_of(
    upstream: ScriptedUpstream, tmp_path: Path, which: str
) -> None:
    is_closed, key = KEYS[which]
    cases = SCHEMATHESIS_CASES // len(KEYS)
    is_refused = is_closed and key != SECRET
    written = await _closed_or_open(upstream, tmp_path, is_closed=is_closed)
    async with serving(written, reread=lambda: written) as router:
        examiner = await asyncio.to_thread(_fuzz_all, router.url, key, cases, is_refused=is_refused)
    assert examiner.sent >= cases
    answered = {label for label, status in examiner.seen if status < 300}
    ours = [operation for operation in examiner.operations() if not operation.path.startswith(DIALECTS)]
    protected = {operation.label for operation in ours if operation.path not in PUBLIC}
    assert answered & protected == (set() if is_refused else protected), "a route was never reached, or without a key"


async def test_the_edges_of_every_field_are_as_documented(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    written = await _closed_or_open(upstream, tmp_path, is_closed=False)
    async with serving(written, reread=lambda: written) as router:
        examiner = await asyncio.to_thread(_cover_all, router.url)
    assert examiner.sent > 200


async def test_the_document_names_every_route_but_the_page(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with serving(openrouter(upstream, tmp_path)) as router:
        examiner = await asyncio.to_thread(Examiner, router.url, None, is_refused=False)
        examiner.close()
        routes = set(router.app._front._routes)
    documented = {operation.path for operation in examiner.operations()}
    exact = {path for path in routes if path == "/" or not path.endswith("/")}
    for prefix in routes - exact - {"/assets/"}:
        assert any(path.startswith(prefix) for path in documented), prefix
    assert exact - documented == {"/", "/favicon.svg", "/docs", "/openapi.json"}
