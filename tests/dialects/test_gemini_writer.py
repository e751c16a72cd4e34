"""Events become Gemini's answers: what is written is read back the same, whole and in a stream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from dialects.gemini_streams import FOREIGN, OPENING, target
from trunkline.core.call import Opaque
from trunkline.core.problem import Kind, Problem
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
)
from trunkline.dialects.gemini.reader import read_reply
from trunkline.dialects.gemini.sides import GeminiIngress
from trunkline.dialects.gemini.writer import Forwarder, Writer, write_reply
from trunkline.dialects.sse import Frame, Framer

WORDS = {FinishReason.LENGTH: "MAX_TOKENS", FinishReason.CONTENT_FILTER: "SAFETY"}


def chunks(*events: Event) -> list[dict[str, Any]]:
    return [msgspec.json.decode(frame.data) for frame in Framer().feed(Writer(OPENING).write(events))]


HEAD = Head(id="up-1", model="gpt-5")
STOP = Finish(FinishReason.STOP, "end_turn")


def test_a_stream_to_the_byte() -> None:
    events = [HEAD, Start(0, BlockKind.TEXT), Delta(0, "Hi\n"), End(0), Usage(input_tokens=3, output_tokens=1), STOP]
    assert Writer(OPENING).write(events) == (
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hi\\n"}],"role":"model"},"index":0}],'
        b'"modelVersion":"gpt-5","responseId":"up-1"}\n\n'
        b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],'
        b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1,"totalTokenCount":4},'
        b'"modelVersion":"gpt-5","responseId":"up-1"}\n\n'
    )


def test_without_a_head_the_answer_has_the_requests_id_and_the_clients_name_for_the_model() -> None:
    (last,) = chunks(STOP)
    assert (last["responseId"], last["modelVersion"]) == ("req-1", "gemini/gemini-3-pro")


def test_a_call_is_one_part_however_its_arguments_came() -> None:
    events: list[Event] = [
        HEAD,
        Start(0, BlockKind.TOOL_CALL, "call_1", "f"),
        Delta(0, '{"a":\n'),
        Delta(0, " 1}"),
        End(0),
        Finish(FinishReason.TOOL_CALLS, "tool_calls"),
    ]
    first, last = chunks(*events)
    (part,) = first["candidates"][0]["content"]["parts"]
    assert part == {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}}
    assert last["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("arguments", ["", " ", "{}"])
def test_a_call_without_arguments_has_none(arguments: str) -> None:
    reply = Reply(blocks=(Block(BlockKind.TOOL_CALL, arguments, "1", "f"),), finish=STOP)
    (part,) = msgspec.json.decode(write_reply(reply, OPENING))["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["args"] == {}


@pytest.mark.parametrize("arguments", ['{"a": 1', "not json", "[1]", "1"])
@pytest.mark.parametrize(
    ("reason", "word"),
    [(FinishReason.TOOL_CALLS, "MALFORMED_FUNCTION_CALL"), (FinishReason.LENGTH, "MAX_TOKENS")],
)
def test_a_call_whose_arguments_are_no_object_ends_in_googles_word_for_it(
    arguments: str, reason: FinishReason, word: str
) -> None:
    reply = Reply(blocks=(Block(BlockKind.TOOL_CALL, arguments, "1", "f"),), finish=Finish(reason))
    (candidate,) = msgspec.json.decode(write_reply(reply, OPENING))["candidates"]
    assert candidate["content"]["parts"] == [{"text": ""}]
    assert candidate["finishReason"] == word


def test_a_refusal_is_what_the_model_says() -> None:
    reply = Reply(blocks=(Block(BlockKind.REFUSAL, "No."),), finish=STOP)
    assert read_reply(write_reply(reply, OPENING), target()).blocks == (Block(BlockKind.TEXT, "No."),)


def test_a_proof_on_plain_text_reaches_the_client_beside_it() -> None:
    foreign = Opaque("openai_responses", b'{"a":1}')
    reply = Reply(blocks=(Block(BlockKind.TEXT, "Hi", opaque=foreign),), finish=STOP)
    assert read_reply(write_reply(reply, OPENING), target()).blocks == (
        Block(BlockKind.TEXT, "Hi"),
        Block(BlockKind.REASONING, "", opaque=foreign),
    )


@given(opaque=FOREIGN)
@settings(deadline=None, max_examples=50)
def test_a_proof_of_another_dialect_is_base64_as_googles_sdk_wants_it(opaque: Opaque) -> None:
    reply = Reply(blocks=(Block(BlockKind.REASONING, "Hm", opaque=opaque),), finish=STOP)
    (part,) = msgspec.json.decode(write_reply(reply, OPENING))["candidates"][0]["content"]["parts"]
    assert part["text"] == "Hm"  # clients drop a thought without words, and its proof with it
    assert part["thought"] is True
    assert len(part["thoughtSignature"]) % 4 == 0
    assert set(part["thoughtSignature"]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_googles_own_word_for_a_finish_is_kept() -> None:
    reply = Reply(finish=Finish(FinishReason.CONTENT_FILTER, "RECITATION"))
    assert b'"finishReason":"RECITATION"' in write_reply(reply, OPENING)
    assert b'"finishReason":"SAFETY"' in write_reply(
        Reply(finish=Finish(FinishReason.CONTENT_FILTER, "content_filter")), OPENING
    )


def test_thoughts_are_counted_beside_the_answer() -> None:
    usage = Usage(input_tokens=5, output_tokens=30, reasoning_tokens=20, cached_tokens=2, cache_write_tokens=1)
    assert msgspec.json.decode(write_reply(Reply(usage=usage, finish=STOP), OPENING))["usageMetadata"] == {
        "promptTokenCount": 5,
        "candidatesTokenCount": 10,
        "cachedContentTokenCount": 2,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 35,
    }


def test_arguments_without_end_are_an_invalid_answer() -> None:
    writer = Writer(OPENING)
    writer.write([Start(0, BlockKind.TOOL_CALL, "1", "f")])
    with pytest.raises(Problem) as caught:
        writer.write(Delta(0, "x" * 1_000_000) for _ in range(20))
    assert caught.value.kind is Kind.UPSTREAM_INVALID


def test_a_chunk_is_passed_on_as_it_came() -> None:
    forwarder = GeminiIngress().forwarder(OPENING)
    assert forwarder.forward(Frame(b'{ "a" : "\xc3\xa9" }', b"message")) == b'data: { "a" : "\xc3\xa9" }\n\n'
    assert forwarder.forward(Frame(b'{\n"a":1}')) == b'data: {\ndata: "a":1}\n\n'
    assert Framer().feed(forwarder.forward(Frame(b'{\n"a":1}'))) == [Frame(b'{\n"a":1}')]
    assert forwarder.close() == b""


@pytest.mark.parametrize("data", [b"", b"[DONE]", b": ping"])
def test_what_is_no_chunk_stays_behind(data: bytes) -> None:
    assert Forwarder().forward(Frame(data)) == b""
