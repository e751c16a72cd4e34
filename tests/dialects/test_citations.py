"""The sources of an answer's words pass between the dialects that have them, each with its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.answer_native import anthropic, chat, gemini
from dialects.every_dialect import ANTHROPIC, CHAT, DIALECTS, GEMINI, OPENING, RESPONSES, read_stream
from dialects.features import decoded, encoded
from trunkline.core.reply import Block, BlockKind, Citation, Finish, FinishReason, Head, Reply, fold, unfold
from trunkline.dialects.url_citations import read_citations, written

A, B = "https://a.example/", "https://b.example/"


def raw(*annotations: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(list(annotations)))


def cited(url: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {"url": url, "start_index": start, "end_index": end, **more}}


def read(name: str, events: list[dict[str, Any]]) -> Reply:
    return fold(read_stream(DIALECTS[name], [encoded(name, events)]))


def test_places_count_from_the_block_and_not_from_the_message() -> None:
    assert read_citations(raw(cited(A, 12, 15, title="A", content="so")), before=10) == (Citation(A, "A", 2, 5, "so"),)
    (told,) = written([Citation(A, "A", 2, 5)], length=20, before=10)
    assert (told["start_index"], told["end_index"]) == (12, 15)


def test_a_source_without_a_place_stands_for_its_whole_block() -> None:
    assert read_citations(raw({"type": "url_citation", "url": A})) == (Citation(A),)
    (told,) = written([Citation(A)], length=20, before=10)
    assert told == {"url": A, "title": A, "start_index": 10, "end_index": 30}


@pytest.mark.parametrize("places", [(5, 2), (-1, 2), (1, None)])
def test_a_place_that_cannot_be_one_is_none(places: tuple[Any, Any]) -> None:
    assert read_citations(raw(cited(A, *places))) == (Citation(A),)


@pytest.mark.parametrize(
    "annotation",
    [
        {"type": "file_citation", "file_id": "f"},
        {"type": "url_citation"},
        {"url": A},
        5,
        {"type": "url_citation", "url": 1},
    ],
)
def test_what_names_no_address_is_left_out_and_does_not_cost_the_others(annotation: Any) -> None:
    assert read_citations(raw(annotation, cited(A, 0, 1))) == (Citation(A, None, 0, 1),)


@pytest.mark.parametrize("value", [b"", b"null", b"5", b"{}", b"[", b"[" * 10_000])
def test_what_is_no_list_of_sources_is_none(value: bytes) -> None:
    assert read_citations(msgspec.Raw(value)) == ()


def test_perplexitys_list_of_sources_counts_where_no_annotation_says_more() -> None:
    beside = {"citations": [A], "search_results": [{"title": "A", "url": A, "date": None}]}
    told = read(CHAT, [{**chunk, **beside} for chunk in chat({"content": "So [1]."})])
    assert told.blocks == (Block(BlockKind.TEXT, "So [1].", citations=(Citation(A, "A"),)),)
    bare = read(CHAT, [{**chunk, "citations": [A, B]} for chunk in chat({"content": "So [1]."})])
    assert [one.url for one in bare.blocks[0].citations] == [A, B]
    odd = read(CHAT, [{**chunk, "citations": [5], "search_results": {}} for chunk in chat({"content": "So."})])
    assert odd.blocks == (Block(BlockKind.TEXT, "So."),)


def test_googles_bytes_become_characters_and_bytes_again() -> None:
    words = "漢字 👋🏽 naïve."
    start, end = words.index("👋"), words.index(" naïve")
    place = {"startIndex": len(words[:start].encode()), "endIndex": len(words[:end].encode()), "text": "👋🏽"}
    grounding = {
        "groundingChunks": [{"web": {"uri": A, "title": "A"}}, {"web": {"uri": B}}, {"retrievedContext": {}}],
        "groundingSupports": [{"segment": place, "groundingChunkIndices": [0, 7]}],
    }
    last = {"candidates": [{"index": 0, "finishReason": "STOP", "groundingMetadata": grounding}]}
    told = read(GEMINI, [*gemini({"text": words[:4]}, {"text": words[4:]})[:2], last])
    assert told.blocks[0].citations == (Citation(A, "A", start, end), Citation(B))
    again = msgspec.json.decode(DIALECTS[GEMINI].ingress.write_reply(told, OPENING))["candidates"][0][
        "groundingMetadata"
    ]
    assert again["groundingSupports"] == [{"segment": place, "groundingChunkIndices": [0]}]
    assert again["groundingChunks"] == grounding["groundingChunks"][:2]


@pytest.mark.parametrize("odd", [5, [], {"groundingChunks": 5}, {"groundingChunks": [5]}])
def test_grounding_that_cannot_be_read_does_not_cost_the_answer(odd: Any) -> None:
    last = {"candidates": [{"index": 0, "finishReason": "STOP", "groundingMetadata": odd}]}
    assert read(GEMINI, [*gemini({"text": "Hi."})[:1], last]).blocks == (Block(BlockKind.TEXT, "Hi."),)


def test_a_source_of_anthropics_is_one_of_its_whole_block_and_one_without_an_address_is_none() -> None:
    found = {"type": "web_search_result_location", "url": A, "title": "A", "cited_text": "so", "encrypted_index": "e"}
    given = {"type": "search_result_location", "source": B, "title": None, "cited_text": "it", "search_result_index": 0}
    page = {"type": "char_location", "cited_text": "x", "document_index": 0, "document_title": "T"}
    deltas = [{"type": "citations_delta", "citation": one} for one in (found, given, page)]
    block = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "It is."}, *deltas])
    told = read(ANTHROPIC, anthropic(block))
    assert told.blocks[0].citations == (Citation(A, "A", 0, 6, "so"), Citation(B, None, 0, 6, "it"))


TWO_TEXTS = Reply(
    head=Head(id="a", model="m"),
    blocks=(
        Block(BlockKind.TEXT, "One.", citations=(Citation(A, "A", 0, 3),)),
        Block(BlockKind.TOOL_CALL, "{}", "call_1", "f"),
        Block(BlockKind.TEXT, "Two.", citations=(Citation(B, "B", 0, 3),)),
    ),
    finish=Finish(FinishReason.TOOL_CALLS),
)


def test_the_places_of_a_second_text_count_on_in_chat_completions() -> None:
    ingress = DIALECTS[CHAT].ingress
    streamed = [
        annotation["url_citation"]["start_index"]
        for chunk in decoded(ingress.writer(OPENING).write(unfold(TWO_TEXTS)))
        for annotation in chunk["choices"][0]["delta"].get("annotations", ())
    ]
    assert streamed == [0, 4]
    message = msgspec.json.decode(ingress.write_reply(TWO_TEXTS, OPENING))["choices"][0]["message"]
    assert [one["url_citation"]["start_index"] for one in message["annotations"]] == [0, 4]


def test_each_text_of_a_response_has_its_own_sources() -> None:
    whole = msgspec.json.decode(DIALECTS[RESPONSES].ingress.write_reply(TWO_TEXTS, OPENING))
    told = [item["content"][0]["annotations"] for item in whole["output"] if item["type"] == "message"]
    assert [[one["url"] for one in annotations] for annotations in told] == [[A], [B]]
