"""Contents that go to Google as the client's own bytes, less the proofs that only another provider can read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.gemini_streams import target
from trunkline.core.call import Opaque, Operation
from trunkline.dialects.gemini.body import without_foreign_proofs
from trunkline.dialects.gemini.part import UNPROVEN, carried_signature
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress

FOREIGN = carried_signature(Opaque("anthropic_messages", b'{"type":"thinking","thinking":"Hm","signature":"Eq=="}'))
OWN = "EjQKMgEMOdbHO0Gd+c9Mxk4ELwPGbpCEcp2mFfYYLix/tI3E"
CALL: dict[str, Any] = {"functionCall": {"name": "f", "args": {}}}


def changed(*parts: dict[str, Any]) -> list[dict[str, Any]] | None:
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": list(parts)}]
    left = without_foreign_proofs(msgspec.json.encode(contents))
    if left is None:
        return None
    first, *rest = msgspec.json.decode(left)
    assert first == contents[0]
    return rest[0]["parts"] if rest else []


@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
def test_a_foreign_proof_goes_and_its_words_stay(name: str) -> None:
    assert changed({"text": "Hm", "thought": True, name: FOREIGN}) == [{"text": "Hm", "thought": True}]


def test_a_part_that_held_nothing_but_a_foreign_proof_goes() -> None:
    assert changed({"text": "", "thought": True, "thoughtSignature": FOREIGN}, {"text": "So"}) == [{"text": "So"}]


def test_a_turn_that_held_nothing_else_goes() -> None:
    assert changed({"text": "", "thought": True, "thoughtSignature": FOREIGN}) == []


def test_the_first_call_of_such_a_turn_says_that_it_has_no_proof() -> None:
    thought = {"text": "Hm", "thought": True, "thoughtSignature": FOREIGN}
    assert changed(thought, CALL, CALL) == [
        {"text": "Hm", "thought": True},
        {**CALL, "thoughtSignature": UNPROVEN},
        CALL,
    ]
    assert changed({**CALL, "thoughtSignature": FOREIGN}) == [{**CALL, "thoughtSignature": UNPROVEN}]


def test_googles_own_proofs_stay() -> None:
    own = {"text": "Hm", "thought": True, "thoughtSignature": OWN}
    assert changed(own, {**CALL, "thoughtSignature": OWN}) is None
    assert changed(own, {**CALL, "thoughtSignature": FOREIGN}) == [own, {**CALL, "thoughtSignature": UNPROVEN}]


@pytest.mark.parametrize("contents", [b'["dGwx"]', b'[{"parts":"dGwx"}]', b'[{"parts":[{"text":"dGwx"}]}]', b'"dGwx"'])
def test_what_only_looks_like_one_is_left_alone(contents: bytes) -> None:
    assert without_foreign_proofs(contents) is None


@pytest.mark.parametrize("operation", [Operation.GENERATE, Operation.COUNT])
def test_what_goes_is_named(operation: Operation) -> None:
    contents = {"role": "model", "parts": {"text": "Hm", "thought": True, "thoughtSignature": FOREIGN}}
    request: dict[str, Any] = {"contents": contents, "safetySettings": []}
    if operation is Operation.COUNT:
        request = {"generateContentRequest": request}
    body = msgspec.json.encode(request)
    sent = Gemini().splice(body, GeminiIngress("m", operation=operation).peek(body), target())
    assert sent.dropped == ("reasoning.signature",)
    assert FOREIGN is not None
    assert FOREIGN.encode() not in sent.body
    assert b'"safetySettings":[]' in sent.body
