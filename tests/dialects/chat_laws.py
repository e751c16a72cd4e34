"""OpenAI's chat completions, for the laws: one place for each kind of text, and calls after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.laws import Laws
from trunkline.core.call import (
    Call,
    ChoiceMode,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from trunkline.core.reply import Block, BlockKind, Citation, Finish, FinishReason, Head, Reply
from trunkline.dialects.openai_chat.fields import OPENROUTER, PLANNED

if TYPE_CHECKING:
    from collections.abc import Mapping

PROOFS = st.none() | st.lists(st.fixed_dictionaries({"type": st.just("x"), "n": st.integers(0, 9)}), min_size=1).map(
    lambda entries: Opaque("openai_chat", msgspec.json.encode(entries))
)
SIGNED = st.none() | hub.RAW_OBJECTS.map(lambda raw: Opaque("openai_chat", raw))


def own(block: Block) -> st.SearchStrategy[Block]:
    """The same block with a proof in this dialect's own form."""
    if block.kind is BlockKind.REASONING:
        return PROOFS.map(lambda proof: msgspec.structs.replace(block, opaque=proof))
    if block.kind is BlockKind.TOOL_CALL:
        return SIGNED.map(lambda proof: msgspec.structs.replace(block, opaque=proof))
    return st.just(block)


def numbered(reply: Reply) -> Reply:
    """Calls have ids that differ: by these, pieces are joined."""
    blocks = tuple(
        msgspec.structs.replace(block, id=f"call_{place}") if block.kind is BlockKind.TOOL_CALL else block
        for place, block in enumerate(reply.blocks)
    )
    return msgspec.structs.replace(reply, blocks=blocks)


def answer_back(reply: Reply, is_whole: bool) -> Reply:
    """A finish in this dialect's words, where a call stops for its tool; the router's id; usage that is known."""
    finish = reply.finish
    assert finish is not None
    has_calls = any(block.kind is BlockKind.TOOL_CALL for block in reply.blocks)
    reason = FinishReason.TOOL_CALLS if has_calls and finish.reason is FinishReason.STOP else finish.reason
    usage = reply.usage
    is_counted = usage is not None and usage.input_tokens is not None and usage.output_tokens is not None
    return msgspec.structs.replace(
        reply,
        usage=usage if is_counted else None,
        head=Head(id="chatcmpl-req-1", model=reply.head.model),
        blocks=in_places(reply.blocks) if is_whole else reply.blocks,
        finish=Finish(reason, finish.native_reason or finish.reason.value),
    )


def in_places(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks as a message holds them: one thought, one text, one refusal, then the calls."""
    whole: list[Block] = []
    for kind in (BlockKind.REASONING, BlockKind.TEXT, BlockKind.REFUSAL):
        same = [block for block in blocks if block.kind is kind]
        if same:
            tokens = tuple(token for block in same for token in block.logprobs)
            text = "".join(block.text for block in same)
            whole.append(Block(kind, text, opaque=details(same), logprobs=tokens, citations=moved(same)))
    return (*whole, *(block for block in blocks if block.kind is BlockKind.TOOL_CALL))


def moved(texts: list[Block]) -> tuple[Citation, ...]:
    """The sources of texts that are one: their places count from its start."""
    citations: list[Citation] = []
    before = 0
    for text in texts:
        for one in text.citations:
            assert one.start is not None
            assert one.end is not None
            citations.append(msgspec.structs.replace(one, start=before + one.start, end=before + one.end))
        before += len(text.text)
    return tuple(citations)


def details(thoughts: list[Block]) -> Opaque | None:
    """The proofs of this dialect's own, one after the other."""
    entries = [entry for thought in thoughts if thought.opaque for entry in msgspec.json.decode(thought.opaque.raw)]
    return Opaque("openai_chat", msgspec.json.encode(entries)) if entries else None


def joined(parts: list[Text], between: str = "") -> list[Part]:
    """Plain texts are one."""
    if parts and not any(part.is_cached for part in parts):
        return [Text(between.join(part.text for part in parts))]
    return list(parts)


def message_in_places(message: Message) -> Message:
    """A message as this dialect holds it."""
    parts: list[Part] = list(message.parts)
    texts = [part for part in parts if isinstance(part, Text)]
    if message.role is Role.ASSISTANT:
        thoughts = "".join(part.text for part in parts if isinstance(part, Reasoning))
        refusals = "".join(part.text for part in parts if isinstance(part, Refusal))
        calls = [part for part in parts if isinstance(part, ToolCall)]
        parts = [Reasoning(thoughts)] if thoughts else []
        parts += joined(texts) or ([] if refusals or calls else [Text("")])
        parts += [Refusal(refusals)] if refusals else []
        parts += calls
    elif message.role is Role.TOOL:
        (result,) = (part for part in parts if isinstance(part, ToolResult))
        inner = [part for part in result.parts if isinstance(part, Text)]
        told = tuple(part for part in joined(inner, "\n") if isinstance(part, Text))
        parts = [msgspec.structs.replace(result, parts=told)]
    elif len(texts) == len(parts):
        parts = joined(texts, "\n" if message.role is Role.SYSTEM else "")
    return Message(message.role, tuple(parts), message.name)


def call_back(call: Call) -> Call:
    """What this dialect can say of a call, its declared drops and its normal form taken into account."""
    thinking = call.thinking
    if thinking is not None:
        thinking = Thinking(is_on=thinking.is_on, effort=thinking.effort, is_shown=thinking.is_shown)
    choice = call.tool_choice
    if choice is not None and choice.mode in {ChoiceMode.AUTO, ChoiceMode.NONE} and not call.tools:
        choice = None
    return msgspec.structs.replace(
        call,
        messages=tuple(message_in_places(message) for message in call.messages),
        logprobs=True if asks_logprobs(call) else None,
        top_logprobs=call.top_logprobs if asks_logprobs(call) else None,
        n=None,
        tool_choice=choice,
        parallel_tool_calls=call.parallel_tool_calls if call.tools else None,
        thinking=thinking,
    )


def asks_logprobs(call: Call) -> bool:
    """Whether tokens are wanted; how many of the others means nothing without."""
    return bool(call.logprobs or call.top_logprobs)


def lost(call: Call) -> Mapping[str, bool]:
    """Nothing: this dialect has a word for all that the hub knows."""
    del call
    return {}


def echo(answer: Any) -> dict[str, Any]:
    """The message, sent back."""
    return {"model": "m", "messages": [answer["choices"][0]["message"]]}


TURNS = hub.messages(
    assistant=hub.TEXTS | st.builds(Refusal, hub.SOME_WORDS) | hub.tool_calls() | st.builds(Reasoning, hub.SOME_WORDS),
)

CHAT_LAWS = Laws(
    calls=hub.calls(TURNS).map(lambda call: msgspec.structs.replace(call, n=None if call.n is None else 1)),
    call_back=call_back,
    lost=lost,
    answers=hub.replies(hub.blocks().flatmap(own), follows=hub.apart).map(numbered),
    answer_back=answer_back,
    changed=frozenset({"model", "stream_options", "usage", "store", *PLANNED, *OPENROUTER}),
    echo=echo,
)
