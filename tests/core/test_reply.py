"""Events and the reply that they tell are two forms of one thing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.call import Opaque
from trunkline.core.reply import (
    Block,
    BlockKind,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Head,
    Reply,
    Start,
    Usage,
    fold,
    unfold,
)

COUNT = st.none() | st.integers(min_value=0, max_value=10**9)
NAME = st.none() | st.text(max_size=5)
OPAQUE = st.none() | st.builds(Opaque, st.sampled_from(["a", "b"]), st.binary(max_size=5))
BLOCKS = st.builds(Block, st.sampled_from(BlockKind), st.text(max_size=20), NAME, NAME, OPAQUE)
REPLIES = st.builds(
    Reply,
    head=st.builds(Head, id=NAME, model=NAME),
    blocks=st.lists(BLOCKS, max_size=5).map(tuple),
    usage=st.none() | st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cached_tokens=COUNT, cost_nano=COUNT),
    finish=st.none() | st.builds(Finish, st.sampled_from(FinishReason), NAME),
)


@given(reply=REPLIES)
@settings(deadline=None)
def test_a_reply_that_is_told_and_put_together_again_is_the_same(reply: Reply) -> None:
    assert fold(unfold(reply)) == reply


@given(reply=REPLIES, cuts=st.lists(st.integers(min_value=1, max_value=20), min_size=1, max_size=5))
@settings(deadline=None)
def test_the_pieces_in_which_it_is_told_do_not_matter(reply: Reply, cuts: list[int]) -> None:
    events: list[Event] = []
    for event in unfold(reply):
        if isinstance(event, Delta):
            rest, turn = event.text, 0
            while rest:
                taken = cuts[turn % len(cuts)]
                events.append(Delta(event.index, rest[:taken]))
                rest, turn = rest[taken:], turn + 1
        else:
            events.append(event)
    assert fold(events) == reply
    assert unfold(fold(events)) == unfold(reply)


@given(reply=REPLIES)
@settings(deadline=None)
def test_a_cut_of_the_events_is_a_reply_without_a_finish(reply: Reply) -> None:
    events = unfold(reply)
    for place in range(len(events)):
        part = fold(events[:place])
        assert part.finish is None
        assert reply.text.startswith(part.text)


def test_nothing_told_is_an_empty_reply() -> None:
    assert fold([]) == Reply()
    assert unfold(Reply()) == [Head()]


def test_blocks_stand_in_the_order_in_which_they_began_although_they_grow_in_turns() -> None:
    events: list[Event] = [
        Start(1, BlockKind.REASONING),
        Start(0, BlockKind.TEXT),
        Delta(0, "a"),
        Delta(1, "x"),
        End(1),
        Delta(0, "b"),
        End(0),
    ]
    assert fold(events).blocks == (Block(BlockKind.REASONING, "x"), Block(BlockKind.TEXT, "ab"))


def test_a_later_usage_replaces_the_one_before_it() -> None:
    assert fold([Usage(input_tokens=3, output_tokens=1), Usage(output_tokens=2)]).usage == Usage(output_tokens=2)


def test_unknown_and_zero_are_not_the_same() -> None:
    assert Usage(input_tokens=0) != Usage(input_tokens=None)
    assert fold([Usage(input_tokens=0)]).usage != fold([]).usage


def test_the_text_of_a_reply_is_what_a_reader_sees() -> None:
    blocks = (
        Block(BlockKind.REASONING, "hm"),
        Block(BlockKind.TEXT, "yes"),
        Block(BlockKind.TOOL_CALL, "{}", "call_1", "look"),
        Block(BlockKind.REFUSAL, "no"),
    )
    assert Reply(blocks=blocks).text == "yesno"
