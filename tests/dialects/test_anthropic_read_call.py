"""Anthropic's requests become a call, and any JSON at all only ever a problem."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from dialects.anthropic_targets import FULL, body, proof, target
from trunkline.core.call import (
    Call,
    ChoiceMode,
    Document,
    Extras,
    Format,
    Image,
    Inline,
    Message,
    Opaque,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from trunkline.core.catalog import Model
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress
from trunkline.dialects.opaque import wrap

EGRESS, INGRESS = AnthropicMessages(), AnthropicMessagesIngress()
NAME = "anthropic_messages"


def test_a_full_request_is_read() -> None:
    call = INGRESS.read_call(body(**FULL))
    assert call == Call(
        messages=(
            Message(
                Role.SYSTEM,
                (
                    Text(
                        "Be kind.",
                        is_cached=True,
                        extras=Extras(NAME, (("cache_control", b'{"type":"ephemeral","ttl":"1h"}'),)),
                    ),
                ),
            ),
            Message(
                Role.USER,
                (
                    Text("See:"),
                    Image(Inline("image/png", "AAAA")),
                    Document(
                        Inline("text/plain", b64encode("über".encode()).decode()),
                        "T",
                        extras=Extras(NAME, (("citations", b'{"enabled":true}'),)),
                    ),
                ),
            ),
            Message(
                Role.ASSISTANT,
                (
                    thought_block(type="thinking", thinking="hm", signature="s"),
                    thought_block(type="redacted_thinking", data="d"),
                    Text("I look."),
                    ToolCall("t", "f", '{"a":1}', is_cached=True),
                ),
            ),
            Message(Role.TOOL, (ToolResult("t", (Text("no"),), is_error=True),)),
            Message(Role.USER, (Text("Well?"),)),
        ),
        temperature=0.5,
        max_tokens=100,
        stream=True,
        top_p=0.9,
        top_k=5,
        stop=("END",),
        tools=(
            Tool(
                name="f",
                schema=b'{"type":"object"}',
                is_strict=True,
                extras=Extras(NAME, (("eager_input_streaming", b"true"),)),
            ),
        ),
        tool_choice=ToolChoice(ChoiceMode.NAMED, "f"),
        parallel_tool_calls=False,
        format=Format(schema=b'{"type":"object"}'),
        thinking=Thinking(effort="high", budget_tokens=2000),
        user="u",
        service_tier="default",
        extras=Extras(NAME, (("inference_geo", b'"eu"'), ("metadata", b'{"team":"x"}'))),
    )


def thought_block(**block: str) -> Reasoning:
    return Reasoning(block.get("thinking", ""), proof(**block), is_redacted=block["type"] == "redacted_thinking")


def test_a_full_request_comes_out_as_it_went_in() -> None:
    written = msgspec.json.decode(EGRESS.write_call(INGRESS.read_call(body(**FULL)), target(model=Model(id="m"))).body)
    assert written == {"model": "m", "max_tokens": 100, **FULL}


def test_a_document_in_blocks_is_one_text_to_others_and_its_own_blocks_to_anthropic() -> None:
    source = {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    call = INGRESS.read_call(body(messages=[{"role": "user", "content": [{"type": "document", "source": source}]}]))
    (part,) = call.messages[0].parts
    assert isinstance(part, Document)
    assert part.media == Inline("text/plain", b64encode(b"a\nb").decode())
    written = msgspec.json.decode(EGRESS.write_call(call, target()).body)
    assert written["messages"][0]["content"] == [{"type": "document", "source": source}]


def test_other_dialects_proofs_are_taken_out_of_where_the_writer_put_them() -> None:
    first, second = Opaque("openai_responses", b'"gAAAA"'), Opaque("gemini", b'{"sig":"x"}')
    content = [
        {"type": "thinking", "thinking": "hm", "signature": wrap(first)},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "redacted_thinking", "data": wrap(second)},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
    ]
    call = INGRESS.read_call(body(messages=[{"role": "assistant", "content": content}]))
    assert call.messages[0].parts == (
        Reasoning("hm", first),
        ToolCall("t", "f", "{}", second),
        Reasoning("unsigned"),
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages[0].content[0].source.file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
            "messages[0].content[0].cache_control",
        ),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"stream": 1}, "stream"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    sent = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    with pytest.raises(Problem) as raised:
        INGRESS.read_call(msgspec.json.encode({name: value for name, value in sent.items() if value is not None}))
    assert (raised.value.kind, raised.value.param) == (Kind.INVALID_REQUEST, param)
