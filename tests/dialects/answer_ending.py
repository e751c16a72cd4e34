"""How an answer ends, what it counts and who gave it, in the hub's terms and in each dialect's own.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming,
https://platform.openai.com/docs/api-reference/responses-streaming,
https://platform.claude.com/docs/en/build-with-claude/streaming, https://ai.google.dev/api/generate-content; what is
OpenRouter's, https://openrouter.ai/docs/api-reference/overview (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dialects.answer_native import (
    HI,
    ONLY_WORDS,
    anthropic,
    candidate,
    chat,
    chat_message,
    completion,
    ends,
    gemini,
    reply,
    responses,
    said_item,
    text_block,
    text_delta,
)
from dialects.every_dialect import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dialects.features import COMPLETIONS, SEED, AnswerFeature
from trunkline.core.reply import Finish, FinishReason, Head, Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def finish(title: str, reason: FinishReason, words: Mapping[str, str], **more: Any) -> AnswerFeature:
    """An ending, in each dialect's word for it."""
    status = {FinishReason.STOP: ("completed", {})}.get(
        reason, ("incomplete", {"incomplete_details": {"reason": words[RESPONSES]}})
    )
    cut, why = status
    return AnswerFeature(
        title,
        reply(HI, finish=Finish(reason)),
        ends(reason),
        whole={
            CHAT: chat_message(words[CHAT], content="Hi."),
            RESPONSES: {**said_item({"type": "output_text", "text": "Hi."}), "status": cut, **why},
            ANTHROPIC: {"content": [{"type": "text", "text": "Hi."}], "stop_reason": words[ANTHROPIC]},
            GEMINI: candidate({"text": "Hi."}, finish=words[GEMINI]),
            COMPLETIONS: completion(finish_reason=words[CHAT]),
        },
        stream={
            CHAT: chat({"content": "Hi."}, finish=words[CHAT]),
            RESPONSES: responses(text_delta("Hi."), status=cut, **why),
            ANTHROPIC: anthropic(text_block("Hi."), stop=words[ANTHROPIC]),
            GEMINI: gemini({"text": "Hi."}, finish=words[GEMINI]),
        },
        told={
            CHAT: {"choices": [{"finish_reason": words[CHAT]}]},
            RESPONSES: {"type": f"response.{cut}", "response": {"status": cut, **why}},
            ANTHROPIC: {"type": "message_delta", "delta": {"stop_reason": words[ANTHROPIC]}},
            GEMINI: {"candidates": [{"finishReason": words[GEMINI]}]},
            COMPLETIONS: completion("", finish_reason=words[CHAT]),
            **more.pop("told", {}),
        },
        **more,
    )


STOP = finish(
    "finish: done",
    FinishReason.STOP,
    {CHAT: "stop", RESPONSES: "completed", ANTHROPIC: "end_turn", GEMINI: "STOP"},
    told={SEED: {"content": "Hi."}},
    notes={SEED: "`[DONE]`"},
)
LENGTH = finish(
    "finish: cut at its length",
    FinishReason.LENGTH,
    {CHAT: "length", RESPONSES: "max_output_tokens", ANTHROPIC: "max_tokens", GEMINI: "MAX_TOKENS"},
    unsaid={SEED: "`[DONE]`, as for any other end"},
)
SAFETY = finish(
    "finish: stopped by a filter",
    FinishReason.CONTENT_FILTER,
    {CHAT: "content_filter", RESPONSES: "content_filter", ANTHROPIC: "refusal", GEMINI: "SAFETY"},
    told={SEED: {"type": "invalid_request"}},
    notes={SEED: "as an error event"},
)

AT_END: Final = Finish(FinishReason.STOP, "stop_sequence", "END")

STOP_SEQUENCE = AnswerFeature(
    "which stop sequence ended it",
    reply(HI, finish=AT_END),
    lambda told: told.finish is not None and told.finish.stop_sequence == "END",
    whole={
        ANTHROPIC: {
            "content": [{"type": "text", "text": "Hi."}],
            "stop_reason": "stop_sequence",
            "stop_sequence": "END",
        }
    },
    stream={ANTHROPIC: anthropic(text_block("Hi."), stop="stop_sequence", sequence="END")},
    told={
        ANTHROPIC: {
            "type": "message_delta",
            "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        }
    },
    unsaid={
        SEED: ONLY_WORDS,
        **dict.fromkeys((CHAT, RESPONSES, GEMINI, COMPLETIONS), "there is no field for it"),
    },
)


def usage(
    title: str,
    counted: Usage,
    holds: Callable[[Usage], bool],
    words: Mapping[str, dict[str, Any]],
    unsaid: Mapping[str, str] | None = None,
) -> AnswerFeature:
    """A count, and the usage object of each dialect that has a word for it."""
    whole: dict[str, dict[str, Any]] = {
        CHAT: {**chat_message(content="Hi."), "usage": words.get(CHAT)},
        RESPONSES: {**said_item({"type": "output_text", "text": "Hi."}), "usage": words.get(RESPONSES)},
        ANTHROPIC: {"content": [{"type": "text", "text": "Hi."}], "usage": words.get(ANTHROPIC)},
        GEMINI: {**candidate({"text": "Hi."}), "usageMetadata": words.get(GEMINI)},
        COMPLETIONS: {**completion(), "usage": words.get(CHAT)},
    }
    stream: dict[str, list[dict[str, Any]]] = {
        CHAT: chat({"content": "Hi."}, usage=words.get(CHAT)),
        RESPONSES: responses(text_delta("Hi."), usage=words.get(RESPONSES)),
        ANTHROPIC: anthropic(text_block("Hi."), usage=words.get(ANTHROPIC)),
        GEMINI: gemini({"text": "Hi."}, usageMetadata=words.get(GEMINI)),
    }
    told: dict[str, dict[str, Any]] = {
        CHAT: {"choices": [], "usage": words.get(CHAT)},
        RESPONSES: {"type": "response.completed", "response": {"usage": words.get(RESPONSES)}},
        ANTHROPIC: {"type": "message_delta", "usage": words.get(ANTHROPIC)},
        GEMINI: {"usageMetadata": words.get(GEMINI)},
        COMPLETIONS: {"choices": [], "usage": words.get(CHAT)},
    }
    return AnswerFeature(
        title,
        reply(HI, usage=counted),
        lambda told: told.usage is not None and holds(told.usage),
        whole={name: body for name, body in whole.items() if name in {*words, COMPLETIONS}},
        stream={name: events for name, events in stream.items() if name in words},
        told={name: event for name, event in told.items() if name in {*words, COMPLETIONS}},
        unsaid={SEED: ONLY_WORDS, **(unsaid or {})},
        is_receipted=True,
    )


TOKENS = usage(
    "usage",
    Usage(input_tokens=4321, output_tokens=1234),
    lambda told: (told.input_tokens, told.output_tokens) == (4321, 1234),
    {
        CHAT: {"prompt_tokens": 4321, "completion_tokens": 1234},
        RESPONSES: {"input_tokens": 4321, "output_tokens": 1234},
        ANTHROPIC: {"input_tokens": 4321, "output_tokens": 1234},
        GEMINI: {"promptTokenCount": 4321, "candidatesTokenCount": 1234},
    },
)
CACHED = usage(
    "cached tokens",
    Usage(input_tokens=4321, output_tokens=1234, cached_tokens=321),
    lambda told: (told.input_tokens, told.cached_tokens) == (4321, 321),
    {
        CHAT: {"prompt_tokens": 4321, "completion_tokens": 1234, "prompt_tokens_details": {"cached_tokens": 321}},
        RESPONSES: {"input_tokens": 4321, "output_tokens": 1234, "input_tokens_details": {"cached_tokens": 321}},
        ANTHROPIC: {"input_tokens": 4000, "output_tokens": 1234, "cache_read_input_tokens": 321},
        GEMINI: {"promptTokenCount": 4321, "candidatesTokenCount": 1234, "cachedContentTokenCount": 321},
    },
)
CACHE_WRITES = usage(
    "tokens written to the cache",
    Usage(input_tokens=4321, output_tokens=1234, cache_write_tokens=321),
    lambda told: (told.input_tokens, told.cache_write_tokens) == (4321, 321),
    {
        CHAT: {"prompt_tokens": 4321, "completion_tokens": 1234, "prompt_tokens_details": {"cache_write_tokens": 321}},
        RESPONSES: {"input_tokens": 4321, "output_tokens": 1234, "input_tokens_details": {"cache_write_tokens": 321}},
        ANTHROPIC: {"input_tokens": 4000, "output_tokens": 1234, "cache_creation_input_tokens": 321},
    },
    unsaid={GEMINI: "Google counts no writes"},
)
REASONING_TOKENS = usage(
    "reasoning tokens",
    Usage(input_tokens=4321, output_tokens=1234, reasoning_tokens=1000),
    lambda told: (told.output_tokens, told.reasoning_tokens) == (1234, 1000),
    {
        CHAT: {
            "prompt_tokens": 4321,
            "completion_tokens": 1234,
            "completion_tokens_details": {"reasoning_tokens": 1000},
        },
        RESPONSES: {"output_tokens": 1234, "input_tokens": 4321, "output_tokens_details": {"reasoning_tokens": 1000}},
        ANTHROPIC: {"input_tokens": 4321, "output_tokens": 1234, "output_tokens_details": {"thinking_tokens": 1000}},
        GEMINI: {"promptTokenCount": 4321, "candidatesTokenCount": 234, "thoughtsTokenCount": 1000},
    },
)
COST = usage(
    "what the provider charged (OpenRouter's `cost`)",
    Usage(input_tokens=4321, output_tokens=1234, cost_nano=12_500_000),
    lambda told: told.cost_nano == 12_500_000,
    {
        CHAT: {"prompt_tokens": 4321, "completion_tokens": 1234, "cost": 0.0125},
        RESPONSES: {"input_tokens": 4321, "output_tokens": 1234, "cost": 0.0125},
    },
    unsaid=dict.fromkeys((ANTHROPIC, GEMINI), "there is no field for it"),
)

NAMES = AnswerFeature(
    "which model served it",
    Reply(head=Head(id="a", model="served-model"), blocks=(HI,), finish=Finish(FinishReason.STOP)),
    lambda told: told.head.model == "served-model",
    whole={
        CHAT: {**chat_message(content="Hi."), "model": "served-model"},
        RESPONSES: {**said_item({"type": "output_text", "text": "Hi."}), "model": "served-model"},
        ANTHROPIC: {"content": [{"type": "text", "text": "Hi."}], "model": "served-model"},
        GEMINI: {**candidate({"text": "Hi."}), "modelVersion": "served-model"},
        COMPLETIONS: {**completion(), "model": "served-model"},
    },
    stream={
        CHAT: [{**chunk, "model": "served-model"} for chunk in chat({"content": "Hi."})],
        RESPONSES: [
            {**event, "response": {**event["response"], "model": "served-model"}} if "response" in event else event
            for event in responses(text_delta("Hi."))
        ],
        ANTHROPIC: [
            {**event, "message": {**event["message"], "model": "served-model"}} if "message" in event else event
            for event in anthropic(text_block("Hi."))
        ],
        GEMINI: [{**chunk, "modelVersion": "served-model"} for chunk in gemini({"text": "Hi."})],
    },
    told={
        CHAT: {"model": "served-model"},
        RESPONSES: {"type": "response.created", "response": {"model": "served-model"}},
        ANTHROPIC: {"type": "message_start", "message": {"model": "served-model"}},
        GEMINI: {"modelVersion": "served-model"},
        COMPLETIONS: {"model": "served-model"},
    },
    unsaid={SEED: "it stands in the header `x-trunkline-model`"},
    is_receipted=True,
)

ENDING: Final = (
    *(STOP, LENGTH, SAFETY, STOP_SEQUENCE),
    *(TOKENS, CACHED, CACHE_WRITES, REASONING_TOKENS, COST, NAMES),
)
