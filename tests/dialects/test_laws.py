"""The laws of the design, asked of every dialect: what goes out comes back, less what is named.

Two are elsewhere: that events and replies are two forms of one thing (tests/core/test_reply.py), and that no reader
cares how the bytes are cut (test_cuts.py).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.anthropic_laws import ANTHROPIC_LAWS
from dialects.chat_laws import CHAT_LAWS, numbered
from dialects.every_dialect import ANTHROPIC, CHAT, DIALECTS, GEMINI, OPENING, RESPONSES, read_stream
from dialects.features import BASE
from dialects.gemini_laws import GEMINI_LAWS
from dialects.responses_laws import RESPONSES_LAWS
from sizes import LAW_EXAMPLES
from trunkline.core.call import Reasoning, ToolCall
from trunkline.core.reply import BlockKind, fold, unfold
from trunkline.dialects.dialect import top_level
from trunkline.dialects.gemini.sides import GeminiIngress
from trunkline.dialects.opaque import PREFIX

if TYPE_CHECKING:
    from dialects.laws import Laws
    from trunkline.core.call import Call
    from trunkline.core.reply import Reply
    from trunkline.dialects.dialect import WholeIngress

LAWS: dict[str, Laws] = {
    CHAT: CHAT_LAWS,
    RESPONSES: RESPONSES_LAWS,
    ANTHROPIC: ANTHROPIC_LAWS,
    GEMINI: GEMINI_LAWS,
}


law = settings(max_examples=LAW_EXAMPLES)


def ingress_of(name: str, *, stream: bool) -> WholeIngress:
    """Gemini says in its path whether it streams."""
    return GeminiIngress("m", stream=stream) if name == GEMINI else DIALECTS[name].ingress


@pytest.mark.parametrize("name", LAWS)
@law
@given(data=st.data())
def test_what_the_writer_tells_the_reader_understands(name: str, data: Any) -> None:
    dialect, laws = DIALECTS[name], LAWS[name]
    events = data.draw(hub.streams(laws.answers))
    writer = dialect.ingress.writer(OPENING)
    told = read_stream(dialect, [writer.write([event]) for event in events])
    hub.assert_well_formed(told)
    assert hub.normal(told) == unfold(laws.answer_back(fold(events), False))


@pytest.mark.parametrize("name", LAWS)
@law
@given(data=st.data())
def test_it_does_not_matter_how_events_are_batched(name: str, data: Any) -> None:
    events, size = data.draw(hub.streams(LAWS[name].answers)), data.draw(st.integers(1, 5))
    ingress = DIALECTS[name].ingress
    writer = ingress.writer(OPENING)
    edges = [*range(0, len(events), size), len(events)]
    assert b"".join(writer.write(events[a:b]) for a, b in pairwise(edges)) == ingress.writer(OPENING).write(events)


@pytest.mark.parametrize("name", LAWS)
@law
@given(data=st.data())
def test_a_whole_answer_that_is_written_is_read_as_it_was(name: str, data: Any) -> None:
    dialect, laws = DIALECTS[name], LAWS[name]
    reply = data.draw(laws.answers)
    body = dialect.ingress.write_reply(reply, OPENING)
    assert dialect.egress.read_reply(body, dialect.target) == laws.answer_back(reply, True)


@pytest.mark.parametrize("name", LAWS)
@law
@given(data=st.data())
def test_a_call_comes_back_less_what_was_named_as_dropped(name: str, data: Any) -> None:
    dialect, laws = DIALECTS[name], LAWS[name]
    call: Call = data.draw(laws.calls)
    request = dialect.egress.write_call(call, dialect.target)
    ingress = ingress_of(name, stream=call.stream)
    expected = laws.call_back(call)
    assert ingress.read_call(request.body) == expected
    assert sorted(request.dropped) == sorted(name for name, is_lost in laws.lost(call).items() if is_lost)
    if "model" not in BASE[name] or "model" in top_level(request.body):
        envelope = ingress.peek(request.body)
        assert (envelope.stream, envelope.max_tokens) == (call.stream, expected.max_tokens)


@pytest.mark.parametrize("name", LAWS)
@law
@given(
    more=st.dictionaries(hub.WORDS.map("~{}".format), hub.JSON_VALUES, max_size=5), indent=st.sampled_from([-1, 0, 2])
)
def test_a_splice_changes_only_the_keys_that_it_names(name: str, more: dict[str, Any], indent: int) -> None:
    dialect, changed = DIALECTS[name], LAWS[name].changed
    body = msgspec.json.format(msgspec.json.encode({**more, **BASE[name], "zuletzt": [1.0]}), indent=indent)
    request = dialect.egress.splice(body, dialect.ingress.peek(body), dialect.target)
    before, after = top_level(body), top_level(request.body)
    kept = [key for key in before if key not in changed]
    assert [key for key in after if key not in changed] == kept
    assert all(bytes(after[key]) == bytes(before[key]) for key in kept)
    assert request.dropped == ()


PROVEN = hub.replies(
    hub.blocks("elsewhere", "nowhere", kinds=[BlockKind.REASONING, BlockKind.TEXT, BlockKind.TOOL_CALL])
).map(numbered)


@pytest.mark.parametrize("name", LAWS)
@law
@given(reply=PROVEN)
def test_another_providers_proofs_survive_a_client_that_sends_its_answer_back(name: str, reply: Reply) -> None:
    dialect = DIALECTS[name]
    answer = msgspec.json.decode(dialect.ingress.write_reply(reply, OPENING))
    call = dialect.ingress.read_call(msgspec.json.encode(LAWS[name].echo(answer)))
    parts = list(call.parts())
    told = [part.opaque for part in parts if isinstance(part, Reasoning) and part.opaque is not None]
    assert told == [block.opaque for block in reply.blocks if block.kind is BlockKind.REASONING and block.opaque]
    calls = {part.id: part.opaque for part in parts if isinstance(part, ToolCall)}
    wanted = {block.id: block.opaque for block in reply.blocks if block.kind is BlockKind.TOOL_CALL}
    assert {key: calls[key] for key in calls if calls[key]} == {key: wanted[key] for key in calls if wanted[key]}


@pytest.mark.parametrize("name", LAWS)
@law
@given(reply=PROVEN)
def test_another_providers_proofs_reach_no_upstream_of_this_dialect(name: str, reply: Reply) -> None:
    dialect = DIALECTS[name]
    body = msgspec.json.encode(LAWS[name].echo(msgspec.json.decode(dialect.ingress.write_reply(reply, OPENING))))
    call = dialect.ingress.read_call(body)
    spliced = dialect.egress.splice(body, dialect.ingress.peek(body), dialect.target)
    written = dialect.egress.write_call(call, dialect.target)
    proved = {type(part) for part in call.parts() if isinstance(part, Reasoning | ToolCall) and part.opaque is not None}
    assert PREFIX.encode() not in spliced.body + written.body
    assert spliced.dropped or not proved
    assert ("tool_call.signature" in written.dropped) is (ToolCall in proved)
