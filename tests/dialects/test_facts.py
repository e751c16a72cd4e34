"""What one scan tells of a request is the same in every dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from trunkline.core.call import LAST_TEXT_CHARACTERS, Need
from trunkline.dialects.anthropic_messages.sides import AnthropicMessagesIngress
from trunkline.dialects.gemini.sides import GeminiIngress
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.openai_responses.sides import OpenAIResponses

if TYPE_CHECKING:
    from trunkline.core.call import Facts
    from trunkline.dialects.dialect import Ingress

INGRESSES: dict[str, Ingress] = {
    "openai_chat": OpenAIChatIngress(),
    "openai_responses": OpenAIResponses(),
    "anthropic_messages": AnthropicMessagesIngress(),
    "gemini": GeminiIngress("m"),
}

PNG = "aGVsbG8="

CONVERSATIONS: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "messages": [
            {"role": "system", "content": "Be brief. "},
            {"role": "user", "content": [{"type": "text", "text": "Höre: "}]},
            {"role": "assistant", "content": "Ja?"},
            {"role": "user", "content": "What is this?"},
        ]
    },
    "openai_responses": {
        "instructions": "Be brief. ",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Höre: "}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Ja?"}]},
            {"role": "user", "content": "What is this?"},
        ],
    },
    "anthropic_messages": {
        "max_tokens": 9,
        "system": "Be brief. ",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Höre: "}]},
            {"role": "assistant", "content": "Ja?"},
            {"role": "user", "content": "What is this?"},
        ],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief. "}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Höre: "}]},
            {"role": "model", "parts": {"text": "Ja?"}},
            {"parts": [{"text": "What is this?"}]},
        ],
    },
}

NEEDS: list[tuple[str, dict[str, Any], Need]] = [
    ("openai_chat", {"tools": [{"type": "function"}]}, Need.TOOLS),
    ("openai_chat", {"response_format": {"type": "json_schema"}}, Need.SCHEMA),
    ("openai_chat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, Need.IMAGES),
    ("openai_chat", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}, Need.FILES),
    ("openai_chat", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, Need.AUDIO),
    ("openai_responses", {"tools": [{"type": "function"}]}, Need.TOOLS),
    ("openai_responses", {"text": {"format": {"type": "json_schema"}}}, Need.SCHEMA),
    ("openai_responses", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, Need.IMAGES),
    ("openai_responses", {"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, Need.FILES),
    ("anthropic_messages", {"tools": [{"name": "f"}]}, Need.TOOLS),
    ("anthropic_messages", {"output_config": {"format": {"type": "json_schema"}}}, Need.SCHEMA),
    ("anthropic_messages", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, Need.IMAGES),
    ("anthropic_messages", {"messages": [{"role": "user", "content": [{"type": "document"}]}]}, Need.FILES),
    ("gemini", {"tools": [{"functionDeclarations": []}]}, Need.TOOLS),
    ("gemini", {"generationConfig": {"responseJsonSchema": {}}}, Need.SCHEMA),
    ("gemini", {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}]}, Need.IMAGES),
    ("gemini", {"contents": [{"parts": {"file_data": {"mime_type": "application/pdf"}}}]}, Need.FILES),
    ("gemini", {"contents": [{"parts": [{"inline_data": {"mime_type": "audio/wav"}}]}]}, Need.AUDIO),
]

THINKING: list[tuple[str, dict[str, Any], bool]] = [
    ("openai_chat", {}, False),
    ("openai_chat", {"reasoning_effort": "low"}, False),
    ("openai_chat", {"reasoning_effort": "medium"}, True),
    ("openai_chat", {"reasoning": {"effort": "high"}}, True),
    ("openai_chat", {"reasoning": {"max_tokens": 2000}}, True),
    ("openai_chat", {"reasoning": {"enabled": False}}, False),
    ("openai_chat", {"reasoning": 5}, False),
    ("openai_responses", {"reasoning": {"effort": "xhigh", "summary": "auto"}}, True),
    ("openai_responses", {"reasoning": {"effort": "none"}}, False),
    ("anthropic_messages", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, True),
    ("anthropic_messages", {"thinking": {"type": "adaptive"}}, True),
    ("anthropic_messages", {"thinking": {"type": "disabled"}}, False),
    ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, True),
    ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, True),
    ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, False),
]


def facts(dialect: str, **fields: Any) -> Facts:
    ingress = INGRESSES[dialect]
    body = msgspec.json.encode({"model": "m", **CONVERSATIONS[dialect], **fields})
    return ingress.facts(ingress.peek(body))


@pytest.mark.parametrize("dialect", INGRESSES)
def test_a_conversation_has_the_same_facts_in_every_dialect(dialect: str) -> None:
    told = facts(dialect)
    assert told.needs == frozenset()
    assert told.last_text == "What is this?"
    assert told.opening == "Be brief. Höre: "
    assert told.text_bytes == len("Be brief. Höre: Ja?What is this?".encode())


@pytest.mark.parametrize(("dialect", "fields", "need"), NEEDS, ids=repr)
def test_what_a_request_needs_is_seen(dialect: str, fields: dict[str, Any], need: Need) -> None:
    assert facts(dialect, **fields).needs == {need}


@pytest.mark.parametrize(("dialect", "fields", "thinks"), THINKING, ids=repr)
def test_whether_it_asks_for_more_than_a_little_thinking_is_seen(
    dialect: str, fields: dict[str, Any], *, thinks: bool
) -> None:
    assert facts(dialect, **fields).thinks is thinks


@pytest.mark.parametrize("dialect", INGRESSES)
def test_a_long_text_is_kept_only_from_its_start(dialect: str) -> None:
    text = "x" * 100_000
    shapes: dict[str, Any] = {
        "openai_chat": {"messages": [{"role": "user", "content": text}]},
        "openai_responses": {"input": text},
        "anthropic_messages": {"messages": [{"role": "user", "content": text}]},
        "gemini": {"contents": {"parts": {"text": text}}},
    }
    told = facts(dialect, **shapes[dialect])
    assert told.text_bytes >= len(text)
    assert len(told.last_text) == LAST_TEXT_CHARACTERS


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("openai_chat", {"messages": [5]}),
        ("openai_responses", {"input": [5]}),
        ("anthropic_messages", {"messages": [5]}),
        ("gemini", {"contents": [5]}),
    ],
)
def test_what_cannot_be_read_tells_nothing_and_raises_nothing(dialect: str, fields: dict[str, Any]) -> None:
    assert facts(dialect, **fields).last_text == ""
