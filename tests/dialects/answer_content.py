"""What an answer can hold, in the hub's terms and in each dialect's own.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming,
https://platform.openai.com/docs/api-reference/responses-streaming,
https://platform.claude.com/docs/en/build-with-claude/streaming, https://ai.google.dev/api/generate-content; what is
OpenRouter's, https://openrouter.ai/docs/api-reference/overview (read 2026-11-25).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dialects.answer_native import (
    HI,
    ONLY_WORDS,
    anthropic,
    blocks,
    candidate,
    chat,
    chat_message,
    chat_says,
    completion,
    gemini,
    part_says,
    reply,
    responses,
    said_item,
    text_block,
    text_delta,
)
from dialects.every_dialect import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dialects.features import COMPLETIONS, SEED, AnswerFeature
from trunkline.core.call import Opaque
from trunkline.core.reply import Block, BlockKind, Citation, Finish, FinishReason, Logprob
from trunkline.dialects.opaque import wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = AnswerFeature(
    "text",
    reply(HI),
    blocks(HI),
    whole={
        CHAT: chat_message(content="Hi."),
        RESPONSES: said_item({"type": "output_text", "text": "Hi."}),
        ANTHROPIC: {"content": [{"type": "text", "text": "Hi."}]},
        GEMINI: candidate({"text": "Hi."}),
        COMPLETIONS: completion(),
    },
    stream={
        CHAT: chat({"content": "Hi"}, {"content": "."}),
        RESPONSES: responses(text_delta("Hi"), text_delta(".")),
        ANTHROPIC: anthropic(text_block("Hi", ".")),
        GEMINI: gemini({"text": "Hi"}, {"text": "."}),
    },
    told={
        SEED: {"content": "Hi."},
        CHAT: chat_says(content="Hi."),
        RESPONSES: {"type": "response.output_text.delta", "delta": "Hi."},
        ANTHROPIC: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi."}},
        GEMINI: part_says(text="Hi."),
        COMPLETIONS: completion(),
    },
)

CALL: Final = Block(BlockKind.TOOL_CALL, '{"city":"Rome"}', "call_1", "look_up")
OTHER_CALL: Final = Block(BlockKind.TOOL_CALL, '{"city":"Oslo"}', "call_2", "look_up")
BY_TOOLS: Final = Finish(FinishReason.TOOL_CALLS)


def chat_call(block: Block, index: int) -> dict[str, Any]:
    """A tool call of chat completions."""
    return {
        "index": index,
        "id": block.id,
        "type": "function",
        "function": {"name": block.name, "arguments": block.text},
    }


def chat_pieces(block: Block, index: int) -> list[dict[str, Any]]:
    """The same in three deltas."""
    call = chat_call(Block(block.kind, "", block.id, block.name), index)
    pieces = ({"index": index, "function": {"arguments": text}} for text in (block.text[:5], block.text[5:]))
    return [{"tool_calls": [one]} for one in (call, *pieces)]


def response_call(block: Block) -> dict[str, Any]:
    """A tool call as an item."""
    return {"type": "function_call", "call_id": block.id, "name": block.name, "arguments": block.text}


def response_pieces(block: Block, index: int) -> list[dict[str, Any]]:
    """The same in events."""
    name = "response.function_call_arguments.delta"
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**response_call(block), "arguments": ""},
        },
        {"type": name, "output_index": index, "delta": block.text[:5]},
        {"type": name, "output_index": index, "delta": block.text[5:]},
        {"type": "response.output_item.done", "output_index": index, "item": response_call(block)},
    ]


def tool_use(block: Block) -> dict[str, Any]:
    """A tool call as a block."""
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": msgspec.json.decode(block.text)}


def tool_pieces(block: Block) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same in deltas."""
    pieces = [{"type": "input_json_delta", "partial_json": text} for text in (block.text[:5], block.text[5:])]
    return {**tool_use(block), "input": {}}, pieces


def function_call(block: Block) -> dict[str, Any]:
    """A tool call as a part."""
    return {"functionCall": {"id": block.id, "name": block.name, "args": msgspec.json.decode(block.text)}}


ARGUMENTS = AnswerFeature(
    "a tool call, its arguments streamed",
    reply(CALL, finish=BY_TOOLS),
    blocks(CALL),
    whole={
        CHAT: chat_message("tool_calls", tool_calls=[{k: v for k, v in chat_call(CALL, 0).items() if k != "index"}]),
        RESPONSES: {"output": [response_call(CALL)]},
        ANTHROPIC: {"content": [tool_use(CALL)], "stop_reason": "tool_use"},
        GEMINI: candidate(function_call(CALL)),
    },
    stream={
        CHAT: chat(*chat_pieces(CALL, 0), finish="tool_calls"),
        RESPONSES: responses(*response_pieces(CALL, 0)),
        ANTHROPIC: anthropic(tool_pieces(CALL), stop="tool_use"),
        GEMINI: gemini(function_call(CALL)),
    },
    told={
        CHAT: chat_says(tool_calls=[{"index": 0, "function": {"arguments": CALL.text}}]),
        RESPONSES: {"type": "response.function_call_arguments.delta", "delta": CALL.text},
        ANTHROPIC: {"delta": {"type": "input_json_delta", "partial_json": CALL.text}},
        GEMINI: part_says(**function_call(CALL)),
    },
    unsaid={SEED: ONLY_WORDS, COMPLETIONS: ONLY_WORDS},
)

PARALLEL = AnswerFeature(
    "parallel tool calls",
    reply(CALL, OTHER_CALL, finish=BY_TOOLS),
    blocks(CALL, OTHER_CALL),
    whole={
        CHAT: chat_message(
            "tool_calls",
            tool_calls=[{k: v for k, v in chat_call(call, 0).items() if k != "index"} for call in (CALL, OTHER_CALL)],
        ),
        RESPONSES: {"output": [response_call(CALL), response_call(OTHER_CALL)]},
        ANTHROPIC: {"content": [tool_use(CALL), tool_use(OTHER_CALL)], "stop_reason": "tool_use"},
        GEMINI: candidate(function_call(CALL), function_call(OTHER_CALL)),
    },
    stream={
        CHAT: chat(*chat_pieces(CALL, 0), *chat_pieces(OTHER_CALL, 1), finish="tool_calls"),
        RESPONSES: responses(*response_pieces(CALL, 0), *response_pieces(OTHER_CALL, 1)),
        ANTHROPIC: anthropic(tool_pieces(CALL), tool_pieces(OTHER_CALL), stop="tool_use"),
        GEMINI: gemini(function_call(CALL), function_call(OTHER_CALL)),
    },
    told={
        CHAT: chat_says(tool_calls=[{"index": 1, "function": {"arguments": OTHER_CALL.text}}]),
        RESPONSES: {"type": "response.output_item.done", "output_index": 1, "item": response_call(OTHER_CALL)},
        ANTHROPIC: {"index": 1, "delta": {"type": "input_json_delta", "partial_json": OTHER_CALL.text}},
        GEMINI: part_says(**function_call(OTHER_CALL)),
    },
    unsaid={SEED: ONLY_WORDS, COMPLETIONS: ONLY_WORDS},
)

THOUGHT: Final = Block(BlockKind.REASONING, "A city.")
SUMMARY: Final = {"type": "summary_text", "text": "A city."}


def summary_delta(text: str) -> dict[str, Any]:
    """A piece of a response's thought."""
    return {
        "type": "response.reasoning_summary_text.delta",
        "output_index": 0,
        "summary_index": 0,
        "delta": text,
    }


REASONING = AnswerFeature(
    "reasoning",
    reply(THOUGHT),
    blocks(THOUGHT),
    whole={
        CHAT: chat_message(content="", reasoning="A city."),
        RESPONSES: {"output": [{"type": "reasoning", "summary": [SUMMARY]}]},
        ANTHROPIC: {"content": [{"type": "thinking", "thinking": "A city."}]},
        GEMINI: candidate({"text": "A city.", "thought": True}),
    },
    stream={
        CHAT: chat({"reasoning": "A "}, {"reasoning": "city."}),
        RESPONSES: responses(summary_delta("A "), summary_delta("city.")),
        ANTHROPIC: anthropic(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [{"type": "thinking_delta", "thinking": "A "}, {"type": "thinking_delta", "thinking": "city."}],
            )
        ),
        GEMINI: gemini({"text": "A ", "thought": True}, {"text": "city.", "thought": True}),
    },
    told={
        CHAT: chat_says(reasoning="A city."),
        RESPONSES: {"type": "response.reasoning_summary_text.delta", "delta": "A city."},
        ANTHROPIC: {"delta": {"type": "thinking_delta", "thinking": "A city."}},
        GEMINI: part_says(text="A city.", thought=True),
    },
    unsaid={SEED: ONLY_WORDS, COMPLETIONS: ONLY_WORDS},
)

FOREIGN: Final = Opaque("elsewhere", b'"proof"')
WRAPPED: Final = wrap(FOREIGN)
PROVEN: Final = Block(BlockKind.REASONING, "A city.", opaque=FOREIGN)
OWN: Final[Mapping[str, bytes]] = {
    CHAT: b'[{"type":"reasoning.text","text":"A city.","signature":"c2ln"}]',
    RESPONSES: b'"gAAAAABo"',
    ANTHROPIC: b'{"type":"thinking","thinking":"A city.","signature":"c2ln"}',
    GEMINI: b'"c2ln"',
}
"""Each dialect's own proof of that thought."""

SIGNATURES = AnswerFeature(
    "the proof of reasoning (signature, encrypted content)",
    reply(PROVEN),
    lambda told: (
        [(block.text, block.opaque.dialect if block.opaque else None) for block in told.blocks]
        in [[("A city.", name)] for name in (*OWN, FOREIGN.dialect)]
    ),
    whole={
        CHAT: chat_message(
            content="",
            reasoning="A city.",
            reasoning_details=[
                {"type": "reasoning.text", "text": "A city."},
                {"type": "reasoning.encrypted", "data": WRAPPED},
            ],
        ),
        RESPONSES: {"output": [{"type": "reasoning", "summary": [SUMMARY], "encrypted_content": WRAPPED}]},
        ANTHROPIC: {"content": [{"type": "thinking", "thinking": "A city.", "signature": WRAPPED}]},
        GEMINI: candidate(
            {"text": "A city.", "thought": True, "thoughtSignature": urlsafe_b64encode(WRAPPED.encode()).decode()},
        ),
    },
    stream={
        CHAT: chat({"reasoning": "A city.", "reasoning_details": msgspec.json.decode(OWN[CHAT])}),
        RESPONSES: responses(
            summary_delta("A city."),
            {
                "type": "response.output_item.done",
                "output_index": 0,
                "item": {"type": "reasoning", "summary": [SUMMARY], "encrypted_content": "gAAAAABo"},
            },
        ),
        ANTHROPIC: anthropic(
            (
                {"type": "thinking", "thinking": "", "signature": ""},
                [
                    {"type": "thinking_delta", "thinking": "A city."},
                    {"type": "signature_delta", "signature": "c2ln"},
                ],
            )
        ),
        GEMINI: gemini({"text": "A city.", "thought": True}, {"thought": True, "text": "", "thoughtSignature": "c2ln"}),
    },
    told={
        CHAT: chat_says(reasoning_details=[{"type": "reasoning.encrypted", "data": WRAPPED}]),
        RESPONSES: {"type": "response.output_item.done", "item": {"encrypted_content": WRAPPED}},
        ANTHROPIC: {"delta": {"type": "signature_delta", "signature": WRAPPED}},
        GEMINI: part_says(thought=True, thoughtSignature=urlsafe_b64encode(WRAPPED.encode()).decode()),
    },
    unsaid={SEED: ONLY_WORDS, COMPLETIONS: ONLY_WORDS},
)

NO: Final = Block(BlockKind.REFUSAL, "I cannot.")

REFUSAL = AnswerFeature(
    "refusal in words",
    reply(NO),
    blocks(NO),
    whole={
        CHAT: chat_message(refusal="I cannot."),
        RESPONSES: said_item({"type": "refusal", "refusal": "I cannot."}),
        ANTHROPIC: {"content": [{"type": "text", "text": "I cannot."}]},
        GEMINI: candidate({"text": "I cannot."}),
        COMPLETIONS: completion("I cannot."),
    },
    stream={
        CHAT: chat({"refusal": "I "}, {"refusal": "cannot."}),
        RESPONSES: responses(
            {"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "I "},
            {"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "cannot."},
        ),
    },
    told={
        SEED: {"content": "I cannot."},
        CHAT: chat_says(refusal="I cannot."),
        RESPONSES: {"type": "response.refusal.delta", "delta": "I cannot."},
        ANTHROPIC: {"delta": {"type": "text_delta", "text": "I cannot."}},
        GEMINI: part_says(text="I cannot."),
        COMPLETIONS: completion("I cannot."),
    },
    notes=dict.fromkeys((SEED, ANTHROPIC, GEMINI, COMPLETIONS), "as plain text"),
)

TOKENS: Final = (
    Logprob("Hi", -0.25, b"Hi", (Logprob("Hi", -0.25, b"Hi"), Logprob("Yo", -2.5, b"Yo"))),
    Logprob(".", -0.5, b"."),
)
GOOGLES: Final = tuple(
    Logprob(token.token, token.logprob, None, tuple(Logprob(other.token, other.logprob) for other in token.others))
    for token in TOKENS
)
"""The same as Google tells them, without bytes."""

COUNTED: Final = Block(BlockKind.TEXT, "Hi.", logprobs=TOKENS)
OPENAIS: Final[list[dict[str, Any]]] = [
    {
        "token": "Hi",
        "logprob": -0.25,
        "bytes": [72, 105],
        "top_logprobs": [
            {"token": "Hi", "logprob": -0.25, "bytes": [72, 105]},
            {"token": "Yo", "logprob": -2.5, "bytes": [89, 111]},
        ],
    },
    {"token": ".", "logprob": -0.5, "bytes": [46], "top_logprobs": []},
]
CHOSEN: Final = [{"token": "Hi", "logProbability": -0.25}, {"token": ".", "logProbability": -0.5}]
LIKELIEST: Final = [
    {"candidates": [{"token": "Hi", "logProbability": -0.25}, {"token": "Yo", "logProbability": -2.5}]},
    {"candidates": []},
]
RESULT: Final = {"chosenCandidates": CHOSEN, "topCandidates": LIKELIEST}
COLUMNS: Final = {
    "tokens": ["Hi", "."],
    "token_logprobs": [-0.25, -0.5],
    "top_logprobs": [{"Hi": -0.25, "Yo": -2.5}, {}],
    "text_offset": [0, 2],
}


def counted_chunk(text: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """A chunk of chat completions with its tokens."""
    (chunk, _) = chat({"content": text})
    return {**chunk, "choices": [{**chunk["choices"][0], "logprobs": {"content": tokens, "refusal": None}}]}


def counted_candidate(text: str, place: int) -> dict[str, Any]:
    """A chunk of Gemini's with its token."""
    (chunk, _) = gemini({"text": text})
    tokens = {"chosenCandidates": [CHOSEN[place]], "topCandidates": [LIKELIEST[place]]}
    return {**chunk, "candidates": [{**chunk["candidates"][0], "logprobsResult": tokens}]}


LOGPROBS = AnswerFeature(
    "log probabilities of its tokens",
    reply(COUNTED),
    lambda told: [block.logprobs for block in told.blocks] in ([TOKENS], [GOOGLES]),
    whole={
        CHAT: {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hi."},
                    "logprobs": {"content": OPENAIS, "refusal": None},
                    "finish_reason": "stop",
                }
            ]
        },
        RESPONSES: said_item({"type": "output_text", "text": "Hi.", "logprobs": OPENAIS}),
        GEMINI: {"candidates": [{**candidate({"text": "Hi."})["candidates"][0], "logprobsResult": RESULT}]},
        COMPLETIONS: completion(logprobs=COLUMNS),
    },
    stream={
        CHAT: [counted_chunk("Hi", OPENAIS[:1]), counted_chunk(".", OPENAIS[1:]), chat()[0]],
        RESPONSES: responses(text_delta("Hi", logprobs=OPENAIS[:1]), text_delta(".", logprobs=OPENAIS[1:])),
        GEMINI: [counted_candidate("Hi", 0), counted_candidate(".", 1), gemini()[0]],
    },
    told={
        CHAT: {"choices": [{"delta": {"content": "Hi."}, "logprobs": {"content": OPENAIS}}]},
        RESPONSES: {"type": "response.output_text.delta", "delta": "Hi.", "logprobs": OPENAIS},
        GEMINI: {"candidates": [{"content": {"parts": [{"text": "Hi."}]}, "logprobsResult": RESULT}]},
        COMPLETIONS: completion(logprobs=COLUMNS),
    },
    unsaid={SEED: ONLY_WORDS, ANTHROPIC: "there is no field for them"},
)

SITE: Final = "https://cats.example/"
CITED: Final = Block(BlockKind.TEXT, "Hi.", citations=(Citation(SITE, "Cats", 0, 3),))
PLACES: Final = {"url": SITE, "title": "Cats", "start_index": 0, "end_index": 3}
FLAT: Final = {"type": "url_citation", **PLACES}
NESTED: Final = {"type": "url_citation", "url_citation": PLACES}
FOUND: Final = {"type": "web_search_result_location", "url": SITE, "title": "Cats", "encrypted_index": "e"}
GROUNDING: Final = {
    "groundingChunks": [{"web": {"uri": SITE, "title": "Cats"}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 3, "text": "Hi."}, "groundingChunkIndices": [0]}],
}

CITATIONS = AnswerFeature(
    "the sources of its words (citations)",
    reply(CITED),
    lambda told: (
        [(one.url, one.title, one.start, one.end) for block in told.blocks for one in block.citations]
        == [(SITE, "Cats", 0, 3)]
    ),
    whole={
        CHAT: chat_message(content="Hi.", annotations=[NESTED]),
        RESPONSES: said_item({"type": "output_text", "text": "Hi.", "annotations": [FLAT]}),
        ANTHROPIC: {"content": [{"type": "text", "text": "Hi.", "citations": [{**FOUND, "cited_text": "Meow."}]}]},
        GEMINI: {"candidates": [{**candidate({"text": "Hi."})["candidates"][0], "groundingMetadata": GROUNDING}]},
    },
    stream={
        CHAT: chat({"content": "Hi."}, {"annotations": [NESTED]}),
        RESPONSES: responses(
            text_delta("Hi."),
            {
                "type": "response.output_text.annotation.added",
                "output_index": 0,
                "content_index": 0,
                "annotation_index": 0,
                "annotation": FLAT,
            },
        ),
        ANTHROPIC: anthropic(
            (
                {"type": "text", "text": "", "citations": []},
                [
                    {"type": "text_delta", "text": "Hi."},
                    {"type": "citations_delta", "citation": {**FOUND, "cited_text": "Meow."}},
                ],
            )
        ),
        GEMINI: [
            *gemini({"text": "Hi."})[:1],
            {"candidates": [{"index": 0, "finishReason": "STOP", "groundingMetadata": GROUNDING}]},
        ],
    },
    told={
        CHAT: chat_says(annotations=[NESTED]),
        RESPONSES: {"type": "response.output_text.annotation.added", "annotation": FLAT},
        GEMINI: {"candidates": [{"finishReason": "STOP", "groundingMetadata": GROUNDING}]},
    },
    unsaid={
        SEED: ONLY_WORDS,
        COMPLETIONS: ONLY_WORDS,
        ANTHROPIC: "its citations must be proved by its own search",
    },
)

CONTENT: Final = (TEXT, ARGUMENTS, PARALLEL, REASONING, SIGNATURES, REFUSAL, CITATIONS, LOGPROBS)
