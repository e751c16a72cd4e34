"""Tool calls, proofs of reasoning and whole answers of OpenAI's chat dialect: what upstreams make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dialects.targets import events_of, frame, says, stream, target
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Block, BlockKind, Delta, End, Finish, FinishReason, Head, Reply, Start, Usage, fold
from trunkline.dialects.openai_chat.egress import OpenAIChat, Reader
from trunkline.dialects.openai_chat.reader import MAX_DETAILS_BYTES
from trunkline.dialects.tool_arguments import MAX_WAITING_BYTES

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "openai_chat"


def piece(index: int | None = 0, id_: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {"name": name, "arguments": arguments}
    told = {"index": index, "id": id_, "function": {key: value for key, value in function.items() if value is not None}}
    return {key: value for key, value in told.items() if value is not None}


A, A1, A2 = piece(0, "a", "f"), piece(0, arguments='{"x"'), piece(0, arguments=":1}")
B, B1, B2 = piece(1, "b", "g"), piece(1, arguments='{"y"'), piece(1, arguments=":2}")


def calls(*pieces: Any, finish: str = "tool_calls") -> list[tuple[str | None, str | None, str]]:
    chunks = [says({"tool_calls": [one]}) for one in pieces]
    reply = fold(events_of([stream(*chunks, says({}, finish))]))
    assert {block.kind for block in reply.blocks} <= {BlockKind.TOOL_CALL}
    return [(block.id, block.name, block.text) for block in reply.blocks]


def test_the_pieces_of_a_call_are_joined_by_its_index() -> None:
    assert calls(
        piece(0, "a", "f", ""), piece(0, arguments='{"x"'), piece(0, arguments=":1}"), piece(1, "b", "g", "{}")
    ) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([A, B, A1, A2, B1, B2], id="heads first"),
        pytest.param([A, B, A1, B1, A2, B2], id="heads first, then in turns"),
        pytest.param([A, A1, B, B1, A2, B2], id="the second begins within the first"),
        pytest.param([A, A1, B, B1, B2, A2], id="the second ends within the first"),
        pytest.param([B, A, B1, A1, B2, A2], id="the second begins first"),
    ],
)
def test_calls_that_come_in_turns_are_told_one_after_the_other(order: list[Any]) -> None:
    assert sorted(calls(*order)) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_a_third_call_waits_for_the_two_before_it() -> None:
    third = [piece(2, "c", "h", '{"z"'), piece(2, arguments=":3}")]
    told = calls(A, A1, B, third[0], B1, third[1], B2, A2)
    assert told == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}'), ("c", "h", '{"z":3}')]


def test_calls_without_arguments_are_told_all_the_same() -> None:
    assert calls(A, B) == [("a", "f", ""), ("b", "g", "")]
    assert calls(A, B, B1, B2) == [("a", "f", ""), ("b", "g", '{"y":2}')]


def test_a_call_whose_arguments_are_cut_loses_none_after_it() -> None:
    assert calls(A, A1, B, B1, B2) == [("a", "f", '{"x"'), ("b", "g", '{"y":2}')]


def test_calls_that_wait_are_told_before_the_text_after_them() -> None:
    chunks = [says({"tool_calls": [one]}) for one in (A, A1, B, B1, B2)]
    reply = fold(events_of([stream(*chunks, says({"content": "done"}, "tool_calls"))]))
    assert [(block.kind, block.text) for block in reply.blocks] == [
        (BlockKind.TOOL_CALL, '{"x"'),
        (BlockKind.TOOL_CALL, '{"y":2}'),
        (BlockKind.TEXT, "done"),
    ]


def test_what_waits_has_a_bound() -> None:
    text = "y" * (MAX_WAITING_BYTES // 2)
    chunks = [says({"tool_calls": [one]}) for one in (A, A1, piece(1, "b", "g", '{"y":"'))]
    chunks += [says({"tool_calls": [piece(1, arguments=text)]}) for _ in range(3)]
    reader = Reader(target())
    events = [event for chunk in chunks for event in reader.read(frame(chunk))]
    assert Start(1, BlockKind.TOOL_CALL, "b", "g") in events


def test_calls_that_are_all_numbered_nought_are_told_apart_by_their_ids() -> None:
    assert calls(piece(0, "a", "f", "{}"), piece(0, "b", "f", "{}")) == [("a", "f", "{}"), ("b", "f", "{}")]


def test_calls_without_a_number_are_told_apart_by_their_ids() -> None:
    assert calls(piece(None, "a", "f", "{"), piece(None, arguments="}"), piece(None, "b", "g", "{}")) == [
        ("a", "f", "{}"),
        ("b", "g", "{}"),
    ]


def test_an_id_and_a_name_that_come_with_every_piece_count_once() -> None:
    assert calls(piece(0, "a", "f", "{"), piece(0, "a", "f", "}")) == [("a", "f", "{}")]


def test_a_name_that_comes_after_the_id_still_starts_the_call() -> None:
    assert calls(piece(0, "a"), piece(0, name="f"), piece(0, arguments="{}")) == [("a", "f", "{}")]


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("name", ["f", "g"])
def test_whole_calls_with_one_number_and_no_ids_are_told_apart_by_their_names(index: int | None, name: str) -> None:
    told = calls(piece(index, "", "f", '{"x":1}'), piece(index, "", name, '{"y":2}'))
    assert [(called, arguments) for _, called, arguments in told] == [("f", '{"x":1}'), (name, '{"y":2}')]
    assert len({id_ for id_, _, _ in told}) == 2


def test_a_name_that_comes_with_every_piece_of_a_call_without_an_id_counts_once() -> None:
    told = calls(piece(0, name="f", arguments='{"x"'), piece(0, name="f", arguments=":1}"), piece(0, name="f"))
    assert [(name, arguments) for _, name, arguments in told] == [("f", '{"x":1}')]


def test_calls_without_ids_get_some_that_differ() -> None:
    told = calls(piece(0, name="f", arguments="{}"), piece(1, name="f", arguments="{}"))
    ids = {id_ for id_, _, _ in told}
    assert len(ids) == 2
    assert None not in ids


def test_arguments_that_are_no_text_but_the_value_itself_become_text() -> None:
    assert calls(piece(0, "a", "f", {"x": [1, None]})) == [("a", "f", '{"x":[1,null]}')]


def test_the_old_form_of_a_call_is_one() -> None:
    reply = fold(
        events_of(
            [
                stream(
                    says({"function_call": {"name": "f", "arguments": "{"}}),
                    says({"function_call": {"arguments": "}"}}, "function_call"),
                )
            ]
        )
    )
    assert [(block.name, block.text) for block in reply.blocks] == [("f", "{}")]
    assert reply.finish == Finish(FinishReason.TOOL_CALLS, "function_call")


def test_a_stop_after_a_call_is_a_finish_for_tools() -> None:
    events = events_of([stream(says({"tool_calls": [piece(0, "a", "f", "{}")]}), says({}, "stop"))])
    assert events[-1] == Finish(FinishReason.TOOL_CALLS, "stop")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_call_that_was_cut_is_no_finish_for_tools(finish: str) -> None:
    events = events_of([stream(says({"tool_calls": [piece(0, "a", "f", "{")]}), says({}, finish))])
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == finish


def test_text_before_and_after_a_call_are_blocks_of_their_own() -> None:
    chunks = [says({"content": "a"}), says({"tool_calls": [piece(0, "i", "f", "{}")]}), says({"content": "b"}, "stop")]
    assert events_of([stream(*chunks)]) == [
        Start(0, BlockKind.TEXT),
        Delta(0, "a"),
        End(0),
        Start(1, BlockKind.TOOL_CALL, "i", "f"),
        Delta(1, "{}"),
        End(1),
        Start(2, BlockKind.TEXT),
        Delta(2, "b"),
        End(2),
        Finish(FinishReason.TOOL_CALLS, "stop"),
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(
            [piece(0, "a", "f", "{}"), piece(1, "b", "g"), piece(0, arguments="{}")], id="a call that has ended"
        ),
        pytest.param([piece(0, "a", "f", "{"), piece(1, arguments="}")], id="a number that was not announced"),
        pytest.param([piece(0, arguments="{}")], id="a call that never began"),
        pytest.param([piece(None, arguments="{}")], id="no call at all"),
        pytest.param([piece(0, "a", arguments="{}")], id="arguments before the name"),
        pytest.param([piece(0, "a")], id="no name until the finish"),
        pytest.param([piece(0, "a"), piece(1, "b", "g")], id="no name until the next"),
        pytest.param([piece(0, "a", "f", 5)], id="arguments that are a number"),
    ],
)
def test_a_call_that_cannot_be_joined_is_an_invalid_answer(pieces: list[Any]) -> None:
    with pytest.raises(Problem) as caught:
        calls(*pieces)
    assert caught.value.kind is Kind.UPSTREAM_INVALID


def test_an_empty_piece_of_a_call_that_has_ended_does_no_harm() -> None:
    assert calls(piece(0, "a", "f", "{}"), piece(1, "b", "g", "{}"), piece(0, arguments="")) == [
        ("a", "f", "{}"),
        ("b", "g", "{}"),
    ]


def details(*entries: Any, **delta: Any) -> dict[str, Any]:
    return says({"reasoning_details": list(entries), **delta})


def test_reasoning_that_is_only_in_its_details_is_told_in_their_words() -> None:
    entry = {"type": "reasoning.summary", "summary": "Hm.", "index": 0}
    reply = fold(events_of([stream(details(entry), says({"content": "Yes."}, "stop"))]))
    assert reply.blocks == (
        Block(BlockKind.REASONING, "Hm.", opaque=Opaque("openai_chat", msgspec.json.encode([entry]))),
        Block(BlockKind.TEXT, "Yes."),
    )


def test_words_and_their_details_are_told_once() -> None:
    whole = {"type": "reasoning.text", "text": "Hm, so.", "signature": "s"}
    reply = fold(
        events_of(
            [
                stream(
                    says({"reasoning": "Hm, "}),
                    says({"reasoning": "so."}),
                    details(whole),
                    says({"content": "Y"}, "stop"),
                )
            ]
        )
    )
    assert reply.blocks[0] == Block(
        BlockKind.REASONING, "Hm, so.", opaque=Opaque("openai_chat", msgspec.json.encode([whole]))
    )


def test_encrypted_reasoning_alone_is_a_block_without_words() -> None:
    entry = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1"}
    reply = fold(events_of([stream(details(entry), says({"content": "Yes."}, "stop"))]))
    assert reply.blocks[0] == Block(BlockKind.REASONING, "", opaque=Opaque("openai_chat", msgspec.json.encode([entry])))


def test_a_proof_that_comes_during_the_text_is_told_at_the_end_and_does_not_cut_it() -> None:
    entry = {"type": "reasoning.encrypted", "data": "gAAA"}
    chunks = [says({"content": "Ye"}), details(entry, content="s."), says({}, "stop")]
    reply = fold(events_of([stream(*chunks)]))
    assert reply.blocks == (
        Block(BlockKind.TEXT, "Yes."),
        Block(BlockKind.REASONING, "", opaque=Opaque("openai_chat", msgspec.json.encode([entry]))),
    )


def test_pieces_of_one_text_become_one_entry_and_two_texts_stay_two() -> None:
    chunks = [
        details({"type": "reasoning.text", "text": "a", "index": 0}, reasoning="a"),
        details({"type": "reasoning.text", "text": "b", "signature": "s", "index": 0, "x": [1]}, reasoning="b"),
        details({"type": "reasoning.text", "text": "c", "index": 1}, reasoning="c"),
        details({"type": "reasoning.encrypted", "data": "d", "index": 2}),
        details({"type": "reasoning.encrypted", "data": "e", "index": 2}),
    ]
    reply = fold(events_of([stream(*chunks, says({}, "stop"))]))
    assert reply.blocks[0].opaque is not None
    assert msgspec.json.decode(reply.blocks[0].opaque.raw) == [
        {"type": "reasoning.text", "text": "ab", "signature": "s", "index": 0, "x": [1]},
        {"type": "reasoning.text", "text": "c", "index": 1},
        {"type": "reasoning.encrypted", "data": "d", "index": 2},
        {"type": "reasoning.encrypted", "data": "e", "index": 2},
    ]


@pytest.mark.parametrize("odd", ["x", 5, {}, [5], ["x"], None, []])
def test_details_of_another_shape_do_not_cost_the_answer(odd: object) -> None:
    chunks = [says({"reasoning": "Hm.", "reasoning_details": odd}), says({"content": "Yes."}, "stop")]
    assert fold(events_of([stream(*chunks)])).blocks == (
        Block(BlockKind.REASONING, "Hm."),
        Block(BlockKind.TEXT, "Yes."),
    )


def test_proofs_are_held_up_to_a_bound() -> None:
    reader = Reader(target())
    big = frame(details({"type": "reasoning.encrypted", "data": "x" * (MAX_DETAILS_BYTES // 2)}))
    reader.read(big)
    with pytest.raises(Problem) as caught:
        reader.read(big)
    assert caught.value.kind is Kind.UPSTREAM_INVALID


def test_an_answer_in_sound_is_read_by_its_transcript() -> None:
    chunks = [says({"audio": {"id": "a", "transcript": "Hel"}}), says({"audio": {"data": "AAA", "transcript": "lo"}})]
    assert fold(events_of([stream(*chunks, says({}, "stop"))])).text == "Hello"


def whole(name: str) -> Reply:
    return OpenAIChat().read_reply((TRANSCRIPTS / name).read_bytes(), target())


def test_a_whole_answer_of_llamacpp() -> None:
    assert whole("llamacpp-chat.json") == Reply(
        head=Head(id="chatcmpl-lv86bogtEjh9J0b4NBb30rv87Ezv10Tv", model="smollm2-135m"),
        blocks=(Block(BlockKind.TEXT, "Hello! I'm here to help with any kind of creative"),),
        usage=Usage(input_tokens=33, output_tokens=12, cached_tokens=26),
        finish=Finish(FinishReason.LENGTH, "length"),
    )


def test_a_whole_answer_with_two_calls() -> None:
    reply = whole("openai-tools-whole.json")
    assert [(block.id, block.name, block.text) for block in reply.blocks] == [
        ("call_abc123", "get_current_weather", '{\n"location": "Boston, MA"\n}'),
        ("call_abc124", "get_current_weather", "{}"),
    ]
    assert reply.usage == Usage(input_tokens=82, output_tokens=17, cached_tokens=64, reasoning_tokens=0)
    assert reply.finish == Finish(FinishReason.TOOL_CALLS, "tool_calls")


def test_a_whole_answer_keeps_the_proof_of_its_reasoning_as_it_came() -> None:
    reply = whole("openrouter-reasoning-whole.json")
    proof = b'[{"type":"reasoning.text","text":"Hm.","signature":"EqQB","format":"anthropic-claude-v1","index":0}]'
    assert reply.blocks == (
        Block(BlockKind.REASONING, "Hm.", opaque=Opaque("openai_chat", proof)),
        Block(BlockKind.TEXT, "Yes."),
    )
    assert reply.finish == Finish(FinishReason.STOP, "end_turn")


def test_calls_of_a_whole_answer_need_no_number() -> None:
    message = {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}] * 2}
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    reply = OpenAIChat().read_reply(body, target())
    assert [block.name for block in reply.blocks] == ["f", "f"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.UPSTREAM_INVALID),
        (b"null", Kind.UPSTREAM_INVALID),
        (b"[]", Kind.UPSTREAM_INVALID),
        (b"{}", Kind.UPSTREAM_INVALID),
        (b'{"choices":[]}', Kind.UPSTREAM_INVALID),
        (b'{"choices":[{"finish_reason":"stop"}]}', Kind.UPSTREAM_INVALID),
        (b'{"choices":[{"index":1,"message":{},"finish_reason":"stop"}]}', Kind.UPSTREAM_INVALID),
        (b'{"choices":[{"message":{"content":"Hi"}}]}', Kind.TRUNCATED),
        (b'{"error":{"code":429}}', Kind.RATE_LIMITED),
        (b'{"choices":[{"error":{"code":429},"finish_reason":"error"}]}', Kind.RATE_LIMITED),
        (b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"error"}]}', Kind.UPSTREAM_FAILED),
        (b"[" * 100_000, Kind.UPSTREAM_INVALID),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_whole_answer_is_a_problem(body: bytes, kind: Kind) -> None:
    with pytest.raises(Problem) as caught:
        OpenAIChat().read_reply(body, target())
    assert caught.value.kind is kind


def test_an_end_carries_the_proof_of_its_call() -> None:
    chunk = says(
        {"tool_calls": [{**piece(0, "a", "f", "{}"), "extra_content": {"google": {"thought_signature": "s"}}}]}
    )
    events = events_of([stream(chunk, says({}, "stop"))])
    assert End(0, Opaque("openai_chat", b'{"google":{"thought_signature":"s"}}')) in events
