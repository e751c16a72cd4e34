"""The laws of OpenAI's chat dialect: what goes out through it comes back, but for what it declares."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.targets import target
from trunkline.core.call import (
    Call,
    Envelope,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from trunkline.core.catalog import Quirks
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Block, BlockKind, Event, Finish, FinishReason, Reply, fold, unfold
from trunkline.dialects.asked_models import PLANNED
from trunkline.dialects.dialect import Opening, top_level
from trunkline.dialects.openai_chat.egress import OpenAIChat, Reader
from trunkline.dialects.openai_chat.fields import OPENROUTER
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.sse import Framer

OPENING = Opening(id="r1", model="fast", created=1_795_471_983, wants_usage=True)
GENEROUS = Quirks(
    reasoning_key="reasoning",
    reasoning_echo_key="reasoning",
    takes_cache_control=True,
    takes_top_k=True,
    accepts_provider_object=True,
)
PROOFS = st.none() | st.lists(st.fixed_dictionaries({"type": st.just("x"), "n": st.integers(0, 9)}), min_size=1).map(
    lambda entries: Opaque("openai_chat", msgspec.json.encode(entries))
)
SIGNED = st.none() | hub.RAW_OBJECTS.map(lambda raw: Opaque("openai_chat", raw))


def own(block: Block) -> st.SearchStrategy[Block]:
    """The same block with a proof in this dialect's own form."""
    if block.kind is BlockKind.REASONING:
        return PROOFS.map(lambda proof: msgspec.structs.replace(block, opaque=proof))
    if block.kind is BlockKind.TOOL_CALL:
        return SIGNED.map(lambda proof: msgspec.structs.replace(block, opaque=proof))
    return st.just(block)


def fits(reply: Reply) -> Reply:
    """What this dialect says of a finish: its own words, and that a call stops for its tool; ids that differ."""
    finish = reply.finish
    blocks = tuple(
        msgspec.structs.replace(block, id=f"call_{place}") if block.kind is BlockKind.TOOL_CALL else block
        for place, block in enumerate(reply.blocks)
    )
    if finish is not None:
        has_calls = any(block.kind is BlockKind.TOOL_CALL for block in blocks)
        reason = FinishReason.TOOL_CALLS if has_calls and finish.reason is FinishReason.STOP else finish.reason
        finish = Finish(reason, finish.native_reason or reason.value)
    return msgspec.structs.replace(reply, blocks=blocks, finish=finish)


ANSWERS = hub.replies(hub.blocks().flatmap(own), follows=hub.apart).map(fits)


def read(data: bytes) -> list[Event]:
    reader = Reader(target())
    events: list[Event] = []
    for frame in Framer().feed(data):
        events += reader.read(frame)
    return events + list(reader.close())


@given(hub.streams(ANSWERS))
@settings(deadline=None)
def test_what_the_writer_tells_the_reader_understands(events: list[Event]) -> None:
    writer = OpenAIChatIngress().writer(OPENING)
    told = read(b"".join(writer.write([event]) for event in events))
    hub.assert_well_formed(told)
    expected = fold(events)
    head = msgspec.structs.replace(expected.head, id="chatcmpl-r1")
    assert hub.normal(told) == unfold(msgspec.structs.replace(expected, head=head))


def in_places(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks as a message holds them: one thought, one text, one refusal, then the calls."""
    whole: list[Block] = []
    for kind in (BlockKind.REASONING, BlockKind.TEXT, BlockKind.REFUSAL):
        same = [block for block in blocks if block.kind is kind]
        if same:
            entries = [entry for block in same if block.opaque for entry in msgspec.json.decode(block.opaque.raw)]
            proof = Opaque("openai_chat", msgspec.json.encode(entries)) if entries else None
            whole.append(Block(kind, "".join(block.text for block in same), opaque=proof))
    return (*whole, *(block for block in blocks if block.kind is BlockKind.TOOL_CALL))


@given(ANSWERS)
@settings(deadline=None)
def test_a_whole_answer_comes_back_with_its_blocks_in_their_places(reply: Reply) -> None:
    body = OpenAIChatIngress().write_reply(reply, OPENING)
    told = OpenAIChat().read_reply(body, target())
    head = msgspec.structs.replace(reply.head, id="chatcmpl-r1")
    assert told == msgspec.structs.replace(reply, head=head, blocks=in_places(reply.blocks))


@given(hub.replies())
@settings(deadline=None)
def test_folding_what_was_unfolded_gives_the_same(reply: Reply) -> None:
    assert fold(unfold(reply)) == reply


TURNS = hub.messages(
    assistant=hub.TEXTS | st.builds(Refusal, hub.SOME_WORDS) | hub.tool_calls() | st.builds(Reasoning, hub.SOME_WORDS),
)
ASKED = hub.calls(TURNS)


def joined(parts: list[Text]) -> list[Part]:
    """Plain texts are one."""
    if parts and not any(part.is_cached for part in parts):
        return [Text("".join(part.text for part in parts))]
    return list(parts)


def message_in_places(message: Message) -> Message:
    parts: list[Part] = list(message.parts)
    texts = [part for part in parts if isinstance(part, Text)]
    if message.role is Role.ASSISTANT:
        thoughts = "".join(part.text for part in parts if isinstance(part, Reasoning))
        refusals = "".join(part.text for part in parts if isinstance(part, Refusal))
        calls = [part for part in parts if isinstance(part, ToolCall)]
        parts = [Reasoning(thoughts)] if thoughts else []
        parts += joined(texts) or ([] if refusals or calls else [Text("")])
        parts += [Refusal(refusals)] if refusals else []
        parts += calls
    elif message.role is Role.TOOL:
        (result,) = (part for part in parts if isinstance(part, ToolResult))
        inner = [part for part in result.parts if isinstance(part, Text)]
        told = tuple(part for part in joined(inner) if isinstance(part, Text))
        parts = [msgspec.structs.replace(result, parts=told)]
    elif len(texts) == len(parts):
        parts = joined(texts)
    return Message(message.role, tuple(parts), message.name)


def said(call: Call) -> Call:
    """What this dialect can say of a call, its declared drops and its normal form taken into account."""
    thinking = call.thinking
    if thinking is not None:
        thinking = Thinking(is_on=thinking.is_on, effort=thinking.effort, is_shown=thinking.is_shown)
    return msgspec.structs.replace(
        call,
        messages=tuple(message_in_places(message) for message in call.messages),
        logprobs=None,
        top_logprobs=None,
        n=None,
        thinking=thinking,
    )


@given(ASKED)
@settings(deadline=None)
def test_a_call_comes_back_but_for_what_is_declared(call: Call) -> None:
    call = msgspec.structs.replace(call, n=None if call.n is None else 1)
    request = OpenAIChat().write_call(call, target(quirks=GENEROUS))
    assert OpenAIChatIngress().read_call(request.body) == said(call)
    asks_logprobs = bool(call.logprobs) or call.top_logprobs is not None
    assert request.dropped == (("logprobs",) if asks_logprobs else ())


@given(ASKED)
@settings(deadline=None, max_examples=60)
def test_a_target_that_takes_less_gets_less_and_its_loss_is_named(call: Call) -> None:
    call = msgspec.structs.replace(call, n=None)
    request = OpenAIChat().write_call(call, target(quirks=Quirks(keeps_answers=True, reasoning_key="")))
    sent = msgspec.json.decode(request.body)
    assert sent["store"] is False
    assert b"cache_control" not in request.body or b"cache_control" in repr(call).encode()
    for name, is_asked in {
        "top_k": call.top_k is not None,
        "metadata": call.metadata is not None,
        "reasoning": call.thinking is not None or any(isinstance(part, Reasoning) for part in call.parts()),
        "cache_control": any(getattr(part, "is_cached", False) for part in call.parts()),
    }.items():
        assert (name in request.dropped) is is_asked
        assert name not in sent
    assert len(set(request.dropped)) == len(request.dropped)


FOREIGN = hub.replies(
    hub.blocks("anthropic_messages", "gemini", kinds=[BlockKind.REASONING, BlockKind.TEXT, BlockKind.TOOL_CALL])
).map(fits)


@given(FOREIGN)
@settings(deadline=None)
def test_a_foreign_proof_survives_a_client_that_echoes_its_message(reply: Reply) -> None:
    ingress = OpenAIChatIngress()
    message = msgspec.json.decode(ingress.write_reply(reply, OPENING))["choices"][0]["message"]
    body = msgspec.json.encode({"model": "fast", "messages": [message]})
    parts = ingress.read_call(body).messages[0].parts
    signed = [block for block in reply.blocks if block.opaque is not None and block.kind is BlockKind.REASONING]
    told = [part for part in parts if isinstance(part, Reasoning) and part.opaque is not None]
    assert [(part.text, part.opaque) for part in told] == [(block.text, block.opaque) for block in signed]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    assert [(call.id, call.name, call.arguments, call.opaque) for call in calls] == [
        (block.id, block.name, block.text, block.opaque) for block in reply.blocks if block.kind is BlockKind.TOOL_CALL
    ]


@given(FOREIGN)
@settings(deadline=None)
def test_a_foreign_proof_goes_to_no_upstream_of_this_dialect(reply: Reply) -> None:
    ingress, egress = OpenAIChatIngress(), OpenAIChat()
    message = msgspec.json.decode(ingress.write_reply(reply, OPENING))["choices"][0]["message"]
    body = msgspec.json.encode({"model": "fast", "messages": [message]})
    sent = egress.splice(body, ingress.peek(body), target(quirks=GENEROUS))
    call = egress.write_call(ingress.read_call(body), target(quirks=GENEROUS))
    assert b"~tl1." not in sent.body + call.body
    proven = [block.kind for block in reply.blocks if block.opaque is not None]
    assert ("reasoning.signature" in sent.dropped) is bool(proven)
    assert ("reasoning.signature" in call.dropped) is (BlockKind.REASONING in proven)
    assert ("tool_call.signature" in call.dropped) is (BlockKind.TOOL_CALL in proven)


FIELDS = st.dictionaries(
    hub.SOME_WORDS
    | st.sampled_from(["temperature", "user", "metadata", "seed", "reasoning", "top_a", "response_format"]),
    hub.JSON_VALUES,
    max_size=5,
)
TOUCHED = {"model", "stream_options", "usage", "store", *PLANNED}


@given(FIELDS, st.booleans(), st.sampled_from([GENEROUS, Quirks(), Quirks(stream_usage=False)]))
@settings(deadline=None)
def test_a_splice_changes_only_the_fields_that_it_names(fields: dict[str, Any], stream: bool, quirks: Quirks) -> None:
    body = msgspec.json.format(msgspec.json.encode({"model": "a", **fields, "messages": []}), indent=1)
    envelope = Envelope(model="a", stream=stream, keys=top_level(body))
    sent = OpenAIChat().splice(body, envelope, target(quirks=quirks))
    touched = TOUCHED if quirks.accepts_provider_object else TOUCHED | OPENROUTER
    before, after = top_level(body), top_level(sent.body)
    assert {name: bytes(raw) for name, raw in after.items() if name not in touched} == {
        name: bytes(raw) for name, raw in before.items() if name not in touched
    }
    assert bytes(after["model"]) == b'"openai/gpt-4o"'
    assert [name for name in after if name not in touched] == [name for name in before if name not in touched]


NAMES = [
    "model", "messages", "stream", "stream_options", "usage", "max_tokens", "max_completion_tokens", "n", "tools",
    "tool_choice", "stop", "temperature", "reasoning", "reasoning_effort", "response_format", "metadata", "plugins",
    "store", "preset", "service_tier", "logprobs",
]  # fmt: skip
PARTS = hub.JSON_VALUES | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "file", "input_audio", "refusal"])},
    optional=dict.fromkeys(("text", "image_url", "file", "input_audio", "refusal", "cache_control"), hub.JSON_VALUES),
)
MESSAGES = hub.JSON_VALUES | st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "function"])},
        optional={
            "content": hub.JSON_VALUES | st.lists(PARTS, max_size=2),
            **dict.fromkeys(
                ("tool_calls", "reasoning", "reasoning_details", "refusal", "tool_call_id", "name", "audio"),
                hub.JSON_VALUES | st.lists(st.dictionaries(st.sampled_from(["id", "data", "type"]), hub.JSON_VALUES)),
            ),
        },
    ),
    max_size=2,
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": MESSAGES},
    optional=dict.fromkeys(NAMES[2:], hub.JSON_VALUES | st.booleans() | st.integers()),
)


@given(hub.JSON_VALUES | BODIES | st.dictionaries(st.sampled_from(NAMES), hub.JSON_VALUES))
@settings(deadline=None, max_examples=300)
def test_any_json_is_a_request_or_is_refused(body: object) -> None:
    data = msgspec.json.encode(body)
    ingress, egress = OpenAIChatIngress(), OpenAIChat()
    for step in (ingress.peek, ingress.read_call):
        try:
            read_as = step(data)
        except Problem as problem:
            assert problem.kind is Kind.INVALID_REQUEST  # noqa: PT017 - either way is right, nothing else is
        else:
            with suppress(Problem):
                if isinstance(read_as, Call):
                    egress.write_call(read_as, target())
                else:
                    egress.splice(data, read_as, target())


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_refused_or_are_a_request(data: bytes) -> None:
    for step in (OpenAIChatIngress().peek, OpenAIChatIngress().read_call):
        for one in (data, b'{"model":"m","messages":[' + data + b"]}"):
            with suppress(Problem):
                step(one)


@pytest.mark.parametrize("depth", [100, 5_000, 200_000])
def test_deep_nesting_is_refused_or_carried_and_never_a_crash(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for field in (b"tools", b"x", b"response_format", b"stop", b"metadata", b"n"):
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"' + field + b'":' + deep + b"}"
        for step in (OpenAIChatIngress().peek, OpenAIChatIngress().read_call):
            with suppress(Problem):
                step(body)
