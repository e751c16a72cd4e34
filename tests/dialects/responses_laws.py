"""OpenAI's responses, for the laws: items, and what must stand on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.laws import Laws
from trunkline.core.call import (
    Audio,
    Call,
    Document,
    Inline,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Role,
    ToolCall,
    ToolResult,
)
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Logprob, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping


def kept(part: Any) -> Any:
    """A block as it comes back: less what is dropped, with what must be there."""
    match part:
        case Reasoning() | Refusal() | Audio():
            return part
        case ToolCall():
            return msgspec.structs.replace(part, is_cached=False)
        case ToolResult(parts=parts):
            return msgspec.structs.replace(part, is_cached=False, name=None, parts=tuple(kept(one) for one in parts))
        case Document(media=Inline(), name=None):
            return msgspec.structs.replace(part, is_cached=False, name="document.pdf")
        case _:
            return msgspec.structs.replace(part, is_cached=False)


def told_back(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation as it comes back: the assistant's messages in a row are one; thoughts without proof are gone."""
    turns: list[Message] = []
    for message in messages:
        parts = tuple(kept(part) for part in message.parts if not isinstance(part, Reasoning))
        if turns and turns[-1].role is message.role is Role.ASSISTANT:
            parts = turns.pop().parts + parts
        if parts:
            turns.append(Message(message.role, parts))
    return tuple(turns)


def call_back(call: Call) -> Call:
    """What this dialect can say of a call."""
    thinking = call.thinking
    return msgspec.structs.replace(
        call,
        messages=told_back(call.messages),
        top_k=None,
        seed=None,
        frequency_penalty=None,
        presence_penalty=None,
        logprobs=True if call.logprobs or call.top_logprobs else None,
        n=None,
        tools=tuple(msgspec.structs.replace(tool, is_strict=tool.is_strict or False) for tool in call.tools),
        thinking=thinking and msgspec.structs.replace(thinking, is_shown=thinking.is_shown or None),
    )


def lost(call: Call) -> Mapping[str, bool]:
    """The names of what `call_back` takes away."""
    return {
        "top_k": call.top_k is not None,
        "seed": call.seed is not None,
        "frequency_penalty": bool(call.frequency_penalty),
        "presence_penalty": bool(call.presence_penalty),
        "reasoning": any(isinstance(part, Reasoning) for part in call.parts()),
        "cache_control": any(getattr(part, "is_cached", False) for part in call.parts()),
    }


def answer_back(reply: Reply, is_whole: bool) -> Reply:
    """Less an unknown count beside a known one, a native reason, a finish's finer kind."""
    del is_whole
    usage, finish = reply.usage, reply.finish
    if usage is not None:
        counts = {name: getattr(usage, name) or 0 for name in usage.__struct_fields__ if name != "cost_nano"}
        is_known = usage.input_tokens is not None or usage.output_tokens is not None
        usage = msgspec.structs.replace(usage, **counts) if is_known else None
    assert finish is not None
    match finish.reason:
        case FinishReason.LENGTH:
            finish = Finish(finish.reason, "max_output_tokens")
        case FinishReason.CONTENT_FILTER:
            finish = Finish(finish.reason, "content_filter")
        case _:
            has_calls = any(block.kind is BlockKind.TOOL_CALL for block in reply.blocks)
            finish = Finish(FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP, "completed")
    blocks = tuple(with_bytes(block) for block in reply.blocks)
    return msgspec.structs.replace(reply, blocks=blocks, usage=usage, finish=finish)


def with_bytes(block: Block) -> Block:
    """Tokens of a text say their bytes; those of a refusal have no place."""

    def known(token: Logprob) -> Logprob:
        utf8 = token.token.encode() if token.utf8 is None else token.utf8
        return Logprob(token.token, token.logprob, utf8, tuple(map(known, token.others)))

    tokens = tuple(map(known, block.logprobs)) if block.kind is BlockKind.TEXT else ()
    return msgspec.structs.replace(block, logprobs=tokens)


PROOFS = st.builds(
    lambda text: Opaque("openai_responses", msgspec.json.encode(text)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text[:5] != "~tl1."),
)


def proven(block: Block, proof: Opaque | None) -> Block:
    """A thought with a proof in this dialect's own form; other blocks have none."""
    return msgspec.structs.replace(block, opaque=proof) if block.kind is BlockKind.REASONING else block


def echo(answer: Any) -> dict[str, Any]:
    """The items, sent back."""
    return {"model": "m", "input": [{"role": "user", "content": "Hi"}, *answer["output"]]}


RESPONSES_LAWS = Laws(
    calls=hub.calls()
    .map(lambda call: msgspec.structs.replace(call, n=None if call.n is None else 1, stop=()))
    .filter(lambda call: bool(told_back(call.messages))),
    call_back=call_back,
    lost=lost,
    answers=hub.replies(st.builds(proven, hub.blocks(), st.none() | PROOFS)),
    answer_back=answer_back,
    changed=frozenset({"model", "store", "models", "fallbacks", "provider", "include", "input"}),
    echo=echo,
)
