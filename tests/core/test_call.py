"""A conversation is trimmed from its oldest end, whole messages at a time, and only where it does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.call import (
    MEDIA_TOKENS,
    MESSAGE_OVERHEAD_TOKENS,
    Audio,
    Call,
    Document,
    Image,
    Inline,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Url,
)

MESSAGES = st.lists(
    st.builds(
        lambda role, letter, size: Message(role, (Text(letter * size),)),
        st.sampled_from(Role),
        st.sampled_from("x漢👋"),
        st.integers(min_value=0, max_value=400),
    ),
    min_size=1,
    max_size=12,
).map(tuple)


def said(role: Role, tokens: int, name: str) -> Message:
    """A message of exactly this size, told apart by its name."""
    return Message(role, (Text(name.ljust((tokens - MESSAGE_OVERHEAD_TOKENS) * 4)),))


def size(messages: tuple[Message, ...]) -> int:
    return sum(message.estimated_tokens() for message in messages)


@given(
    messages=MESSAGES,
    context=st.integers(min_value=0, max_value=2000),
    max_tokens=st.none() | st.integers(min_value=1, max_value=2000),
)
@settings(deadline=None, max_examples=300)
def test_trimming_keeps_order_and_system_and_the_last_message_and_fits_where_it_can(
    messages: tuple[Message, ...], context: int, max_tokens: int | None
) -> None:
    call = Call(messages=messages, max_tokens=max_tokens, temperature=0.5, defaulted=frozenset({"temperature"}))
    trimmed = call.trimmed_to(context)

    kept = iter(messages)
    assert all(any(message is other for other in kept) for message in trimmed.messages)
    must_stay = [*(one for one in messages[:-1] if one.role is Role.SYSTEM), messages[-1]]
    stayed = [id(message) for message in trimmed.messages]
    assert all(id(message) in stayed for message in must_stay)

    room = min(context // 4, max_tokens) if max_tokens is not None else context // 4
    assert size(trimmed.messages) <= context - room or list(trimmed.messages) == must_stay
    assert (trimmed.max_tokens, trimmed.temperature, trimmed.defaulted) == (max_tokens, 0.5, call.defaulted)


@given(messages=MESSAGES, context=st.integers(min_value=0, max_value=2000))
@settings(deadline=None)
def test_trimming_twice_changes_nothing_more(messages: tuple[Message, ...], context: int) -> None:
    once = Call(messages=messages).trimmed_to(context)
    assert once.trimmed_to(context) == once


def test_a_conversation_that_fits_stays_whole() -> None:
    call = Call(messages=(said(Role.USER, 50, "a"), said(Role.ASSISTANT, 25, "b")))
    assert call.trimmed_to(100) is call
    assert len(call.trimmed_to(98).messages) == 1


def test_the_oldest_goes_first_and_no_more_than_must() -> None:
    rules, first, second, third, last = (
        said(Role.SYSTEM, 20, "rules"),
        said(Role.USER, 30, "first"),
        said(Role.ASSISTANT, 30, "second"),
        said(Role.USER, 30, "third"),
        said(Role.USER, 20, "last"),
    )
    call = Call(messages=(rules, first, second, third, last), max_tokens=10)
    assert call.trimmed_to(140).messages == (rules, first, second, third, last)
    assert call.trimmed_to(139).messages == (rules, second, third, last)
    assert call.trimmed_to(109).messages == (rules, third, last)
    assert call.trimmed_to(10).messages == (rules, last)


def test_room_for_the_answer_is_its_limit_or_a_quarter_of_the_context() -> None:
    old, new = said(Role.USER, 40, "old"), said(Role.USER, 40, "new")
    assert Call(messages=(old, new), max_tokens=20).trimmed_to(100).messages == (old, new)
    assert Call(messages=(old, new), max_tokens=21).trimmed_to(100).messages == (new,)
    assert Call(messages=(old, new), max_tokens=10_000).trimmed_to(106).messages == (old, new)
    assert Call(messages=(old, new)).trimmed_to(105).messages == (new,)


def test_earlier_messages_go_in_front() -> None:
    earlier, now = said(Role.USER, 10, "earlier"), said(Role.USER, 10, "now")
    call = Call(messages=(now,), max_tokens=5)
    assert call.preceded_by((earlier,)) == Call(messages=(earlier, now), max_tokens=5)
    assert call.preceded_by(()) == call


@pytest.mark.parametrize(
    ("parts", "tokens"),
    [
        ((), 0),
        ((Text("漢字"), Text("ab")), 2),
        ((Refusal("no!!"), Reasoning("hm, hm, "), ToolCall("call_1", "look", '{"at":1}')), 5),
        ((Image(Url("https://x.test/" + "y" * 500)),), MEDIA_TOKENS),
        ((Document(Inline("application/pdf", "x" * 5000)), Audio("x" * 5000, "wav")), 2 * MEDIA_TOKENS),
        ((ToolResult("call_1", (Text("seen"), Image(Stored("file_1")))),), 1 + MEDIA_TOKENS),
    ],
)
def test_a_message_is_measured_in_bytes_of_words_and_by_the_piece_of_media(
    parts: tuple[Part, ...], tokens: int
) -> None:
    assert Message(Role.USER, parts).estimated_tokens() == tokens + MESSAGE_OVERHEAD_TOKENS


def test_the_text_of_a_message_is_what_it_says_and_not_what_was_thought_or_called() -> None:
    parts = (Reasoning("hm"), Text("yes, "), ToolCall("1", "look", "{}"), Refusal("but no"), Image(Url("https://x")))
    assert Message(Role.ASSISTANT, parts).text == "yes, but no"


def test_the_parts_of_a_call_are_told_with_those_inside_tool_results() -> None:
    result = ToolResult("1", (Text("a"), Text("b")))
    messages = (Message(Role.USER, (Text("q"),)), Message(Role.TOOL, (result,)))
    assert list(Call(messages=messages).parts()) == [Text("q"), result, Text("a"), Text("b")]
