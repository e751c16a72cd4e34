"""Anthropic's messages, for the laws: turns of two sides, thoughts only with their proof."""

from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.anthropic_targets import arguments, proof
from dialects.laws import Laws
from trunkline.core.call import (
    Call,
    ChoiceMode,
    Document,
    Image,
    Inline,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Reply, Usage
from trunkline.dialects.anthropic_messages.state import STATE_FIELDS
from trunkline.dialects.anthropic_messages.words import stop_reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def thought(text: str, signature: str) -> Reasoning:
    """A thought with its proof."""
    return Reasoning(text, proof(type="thinking", thinking=text, signature=signature))


THOUGHTS = st.builds(thought, hub.SOME_WORDS, hub.SOME_WORDS) | st.builds(
    lambda data: Reasoning("", proof(type="redacted_thinking", data=data), is_redacted=True), hub.SOME_WORDS
)
TEXT_FILES = st.builds(lambda text: Inline("text/plain", b64encode(text.encode()).decode()), hub.SOME_WORDS)
DOCUMENTS = st.builds(Document, hub.PDFS | hub.URL_MEDIA | TEXT_FILES, st.none() | hub.SOME_WORDS, st.booleans())
RESULTS = st.builds(
    ToolResult,
    hub.NAMES,
    st.lists(hub.TEXTS | hub.IMAGES | DOCUMENTS, max_size=2).map(tuple),
    is_error=st.booleans(),
    is_cached=st.booleans(),
)
TURNS = hub.messages(
    user=hub.TEXTS | hub.IMAGES | DOCUMENTS,
    assistant=hub.TEXTS
    | hub.tool_calls("gemini")
    | THOUGHTS
    | st.builds(Reasoning, hub.SOME_WORDS)
    | st.builds(Refusal, hub.SOME_WORDS),
    tool=RESULTS,
)


def is_sayable(call: Call) -> bool:
    """Whether this dialect takes it: one answer, a temperature up to 1, JSON by a schema, words to stop at."""
    return (
        (call.temperature is None or call.temperature <= 1)
        and (call.format is None or call.format.schema is not None)
        and all(stop.strip() for stop in call.stop)
        and any(message.role is not Role.SYSTEM for message in call_back(call).messages)
    )


def call_back(call: Call) -> Call:
    """What a call is after it was written and read again: less what is dropped, in this dialect's order."""
    tools = tuple(_tool(tool) for tool in call.tools)
    choice, is_parallel = call.tool_choice, call.parallel_tool_calls
    if not tools:
        choice = is_parallel = None
    elif is_parallel is not None:
        choice = choice or ToolChoice(ChoiceMode.AUTO)
        is_parallel = None if choice.mode is ChoiceMode.NONE else is_parallel
    form = call.format
    return Call(
        messages=_messages(call.messages),
        temperature=call.temperature,
        max_tokens=call.max_tokens or 4096,
        stream=call.stream,
        top_p=call.top_p,
        top_k=call.top_k,
        stop=call.stop,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        format=form and msgspec.structs.replace(form, name=None, description=None, is_strict=None),
        thinking=_thinking(call.thinking),
        user=call.user,
        service_tier=call.service_tier if call.service_tier in {"auto", "default"} else None,
    )


def lost(call: Call) -> Mapping[str, bool]:
    """The names of what `call_back` takes away."""
    parts = list(call.parts())
    texts = [part.text for part in parts if isinstance(part, Text | Refusal)]
    thinking, choice, form = call.thinking, call.tool_choice, call.format
    return {
        "seed": call.seed is not None,
        "frequency_penalty": bool(call.frequency_penalty),
        "presence_penalty": bool(call.presence_penalty),
        "logprobs": bool(call.logprobs),
        "top_logprobs": bool(call.top_logprobs),
        "metadata": call.metadata is not None,
        "service_tier": call.service_tier in {"flex", "priority"},
        "reasoning": any(isinstance(part, Reasoning) and part.opaque is None for part in parts),
        "tool_call.signature": any(isinstance(part, ToolCall) and part.opaque for part in parts),
        "image.detail": any(isinstance(part, Image) and part.detail in {"low", "high"} for part in parts),
        "text.blank": any(text and not text.strip() for text in texts),
        "system.position": _is_out_of_place(call.messages),
        "thinking.effort": thinking is not None and thinking.effort == "minimal",
        "tool_choice": not call.tools and choice is not None and choice.mode in {ChoiceMode.REQUIRED, ChoiceMode.NAMED},
        "response_format.description": form is not None and form.description is not None,
    }


def _is_out_of_place(messages: tuple[Message, ...]) -> bool:
    roles = [message.role is Role.SYSTEM for message in messages]
    return any(is_system and not all(roles[:place]) for place, is_system in enumerate(roles))


def _thinking(thinking: Thinking | None) -> Thinking | None:
    if thinking is None:
        return None
    effort = "low" if thinking.effort == "minimal" else thinking.effort
    return msgspec.structs.replace(thinking, effort=effort)


def _tool(tool: Tool) -> Tool:
    schema = tool.schema or b"{}"
    if "type" not in msgspec.json.decode(schema, type=dict[str, Any]):
        schema = b'{"type":"object"' + (b"," if schema != b"{}" else b"") + schema[1:]
    return msgspec.structs.replace(tool, schema=schema)


def _messages(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    system = tuple(part for m in messages if m.role is Role.SYSTEM for part in _parts(m.parts))
    read = [Message(Role.SYSTEM, system)] if system else []
    turns = (message for message in messages if message.role is not Role.SYSTEM)
    for is_assistant, group in groupby(turns, lambda message: message.role is Role.ASSISTANT):
        parts = tuple(part for message in group for part in _parts(message.parts))
        read += [Message(Role.TOOL, (part,)) for part in parts if isinstance(part, ToolResult)]
        rest = tuple(part for part in parts if not isinstance(part, ToolResult))
        if rest:
            read.append(Message(Role.ASSISTANT if is_assistant else Role.USER, rest))
    return tuple(read)


def _parts(parts: tuple[Part, ...]) -> Iterable[Part]:
    for part in parts:
        match part:
            case Text(text=text) | Refusal(text=text):
                if text.strip():
                    yield Text(text) if isinstance(part, Refusal) else part
            case Reasoning():
                if part.opaque is not None and part.opaque.dialect == "anthropic_messages":
                    yield part
            case Image():
                yield msgspec.structs.replace(part, detail=None)
            case Document(media=Inline(media_type="text/plain", data=data)):
                yield msgspec.structs.replace(part, media=Inline("text/plain", b64encode(b64decode(data)).decode()))
            case ToolCall():
                yield msgspec.structs.replace(part, arguments=arguments(part.arguments), opaque=None)
            case ToolResult():
                yield msgspec.structs.replace(part, parts=tuple(_parts(part.parts)))
            case _:
                yield part


def proven(text: str, signature: str) -> Block:
    """A thought of an answer with its proof."""
    raw = msgspec.json.encode({"type": "thinking", "thinking": text, "signature": signature})
    return Block(BlockKind.REASONING, text, opaque=Opaque("anthropic_messages", raw))


def redacted(data: str) -> Block:
    """A thought of which only the proof is told."""
    raw = msgspec.json.encode({"type": "redacted_thinking", "data": data})
    return Block(BlockKind.REASONING, "", opaque=Opaque("anthropic_messages", raw))


BLOCKS = st.one_of(
    st.builds(Block, st.sampled_from([BlockKind.TEXT, BlockKind.REFUSAL, BlockKind.REASONING]), hub.SOME_WORDS),
    st.builds(proven, hub.SOME_WORDS | st.just(""), hub.SOME_WORDS),
    st.builds(redacted, hub.SOME_WORDS),
    st.builds(Block, st.just(BlockKind.TOOL_CALL), hub.ARGUMENTS, hub.NAMES, hub.NAMES),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that add up: this dialect counts the cached tokens apart."""
    cached, written, reasoning, fresh = (draw(hub.COUNTS) for _ in range(4))
    return Usage(
        input_tokens=None if fresh is None else fresh + (cached or 0) + (written or 0),
        output_tokens=draw(hub.COUNTS),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
    )


FINISHES = st.builds(
    Finish, st.sampled_from(FinishReason), st.none() | st.sampled_from(["stop", "pause_turn", "max_tokens", "refusal"])
) | st.builds(Finish, st.just(FinishReason.STOP), st.none(), hub.SOME_WORDS)


def answer_back(reply: Reply, is_whole: bool) -> Reply:
    """Less what this dialect has no word for; what must be a number is one."""
    blocks: list[Block] = []
    for block in reply.blocks:
        if block.kind is BlockKind.REFUSAL:
            blocks.append(Block(BlockKind.TEXT, block.text))
        elif block.kind is BlockKind.TOOL_CALL:
            text = arguments(block.text) if is_whole else block.text or "{}"
            blocks.append(msgspec.structs.replace(block, text=text))
        else:
            blocks.append(block)
    usage = reply.usage or Usage()
    usage = msgspec.structs.replace(usage, output_tokens=usage.output_tokens or 0)
    cache = (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    is_early = not is_whole and not reply.blocks  # the message start has it, where every count is a number
    if is_whole or (is_early and ((usage.input_tokens or 0) or cache)):
        tokens = cache if usage.input_tokens is None else usage.input_tokens
        usage = msgspec.structs.replace(usage, input_tokens=tokens)
    if is_early and (usage.input_tokens or 0):
        usage = msgspec.structs.replace(
            usage, cached_tokens=usage.cached_tokens or 0, cache_write_tokens=usage.cache_write_tokens or 0
        )
    assert reply.finish is not None
    finish = msgspec.structs.replace(reply.finish, native_reason=stop_reason_of(reply.finish))
    return Reply(head=reply.head, blocks=tuple(blocks), usage=usage, finish=finish)


def echo(answer: Any) -> dict[str, Any]:
    """The blocks, sent back."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer["content"]}]
    return {"model": "m", "max_tokens": 100, "messages": turns}


ANTHROPIC_LAWS = Laws(
    calls=hub.calls(TURNS)
    .map(lambda call: msgspec.structs.replace(call, n=None if call.n is None else 1))
    .filter(is_sayable),
    call_back=call_back,
    lost=lost,
    answers=hub.replies(BLOCKS, usages=st.none() | usages(), finishes=FINISHES),
    answer_back=answer_back,
    changed=frozenset({"model", "max_tokens", "models", "fallbacks", "provider", "messages", *STATE_FIELDS}),
    echo=echo,
)
