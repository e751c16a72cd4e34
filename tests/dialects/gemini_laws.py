"""Gemini, for the laws: parts, and proofs that stand on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.gemini_streams import FOREIGN, SIGNATURES
from dialects.laws import Laws
from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Format,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Logprob, Reply, Usage
from trunkline.dialects.gemini.part import is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

PROOFS = st.none() | SIGNATURES | FOREIGN


def with_proof(part: ToolCall | Reasoning, proof: Opaque | None) -> ToolCall | Reasoning:
    """The same block with this proof."""
    return msgspec.structs.replace(part, opaque=proof)


RESULTS = st.builds(
    ToolResult,
    hub.NAMES,
    st.tuples(hub.TEXTS) | st.tuples(hub.TEXTS, hub.IMAGES),
    name=hub.NAMES,
    is_error=st.booleans(),
)
TURNS = hub.messages(
    user=hub.TEXTS | hub.IMAGES | hub.DOCUMENTS | hub.AUDIOS,
    assistant=st.one_of(
        hub.TEXTS,
        st.builds(with_proof, hub.tool_calls(), PROOFS),
        st.builds(with_proof, hub.reasonings(), PROOFS),
        st.builds(Refusal, hub.SOME_WORDS),
    ),
    tool=RESULTS,
)


def sayable(call: Call) -> Call:
    """One answer, a seed of 32 bits."""
    return msgspec.structs.replace(
        call, n=None if call.n is None else 1, seed=None if call.seed is None else call.seed % 2**31
    )


def own(part: ToolCall | Reasoning) -> Opaque | None:
    """A proof of Google's own."""
    return part.opaque if part.opaque is not None and part.opaque.dialect == "gemini" else None


def expected_part(part: Part) -> Part:
    """The same without what Google has no word for."""
    kept = part
    match part:
        case Text(text=text) | Refusal(text=text):
            kept = Text(text)
        case Image():
            kept = Image(part.media)
        case Document():
            kept = Document(part.media)
        case ToolCall():
            kept = ToolCall(part.id, part.name, part.arguments if is_object(part.arguments) else "{}", own(part))
        case ToolResult():
            inner = tuple(expected_part(one) for one in part.parts)
            kept = msgspec.structs.replace(part, parts=inner, is_cached=False)
        case Reasoning():
            kept = Reasoning(part.text, own(part))
        case Audio():
            pass
    return kept


def expected_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Each part as Google has it; thoughts that follow each other are one up to their proof."""
    joined: list[Part] = []
    for part in map(expected_part, parts):
        before = joined[-1] if joined else None
        if isinstance(part, Reasoning) and isinstance(before, Reasoning) and before.opaque is None:
            joined[-1] = Reasoning(before.text + part.text, part.opaque)
        else:
            joined.append(part)
    return tuple(joined)


def call_back(call: Call) -> Call:
    """The call as Gemini can tell it: one system message in front, nothing of what is dropped."""
    turns = [Message(message.role, expected_parts(message.parts)) for message in call.messages]
    system = tuple(part for turn in turns if turn.role is Role.SYSTEM for part in turn.parts)
    head = (Message(Role.SYSTEM, system),) if system else ()
    choice = call.tool_choice
    if choice is not None and choice.mode in {ChoiceMode.AUTO, ChoiceMode.NONE} and not call.tools:
        choice = None
    return msgspec.structs.replace(
        call,
        messages=head + tuple(turn for turn in turns if turn.role is not Role.SYSTEM),
        tools=tuple(msgspec.structs.replace(tool, is_strict=None) for tool in call.tools),
        tool_choice=choice,
        format=None if call.format is None else Format(schema=call.format.schema),
        logprobs=True if call.logprobs or call.top_logprobs else None,
        top_logprobs=call.top_logprobs if call.logprobs or call.top_logprobs else None,
        parallel_tool_calls=None,
        user=None,
        metadata=None,
        service_tier=None if call.service_tier == "auto" else call.service_tier,
    )


def lost(call: Call) -> Mapping[str, bool]:
    """The names of all that `call_back` takes away."""
    parts = list(call.parts())
    systems = [message.role is Role.SYSTEM for message in call.messages]
    proofs = [part for part in parts if isinstance(part, ToolCall | Reasoning) and part.opaque is not None]
    foreign = [part for part in proofs if part.opaque and part.opaque.dialect != "gemini"]
    calls_made = [part for part in parts if isinstance(part, ToolCall)]
    return {
        "cache_control": any(getattr(part, "is_cached", False) for part in parts),
        "image.detail": any(isinstance(part, Image) and part.detail not in {None, "auto"} for part in parts),
        "document.name": any(isinstance(part, Document) and part.name is not None for part in parts),
        "reasoning.signature": any(isinstance(part, Reasoning) for part in foreign),
        "tool_call.signature": any(isinstance(part, ToolCall) for part in foreign),
        "tool_call.arguments": any(one.arguments and not is_object(one.arguments) for one in calls_made),
        "system.position": any(is_system and not all(systems[:place]) for place, is_system in enumerate(systems)),
        "tools.strict": any(tool.is_strict for tool in call.tools),
        "format.name": call.format is not None and call.format.name is not None,
        "format.description": call.format is not None and call.format.description is not None,
        "parallel_tool_calls": call.parallel_tool_calls is False,
        "user": call.user is not None,
        "metadata": call.metadata is not None,
    }


COUNTS = st.none() | st.integers(0, 10**6)


def plain(tokens: tuple[Logprob, ...]) -> tuple[Logprob, ...]:
    """Google says no bytes."""
    return tuple(msgspec.structs.replace(token, utf8=None, others=plain(token.others)) for token in tokens)


BLOCKS = st.one_of(
    st.builds(Block, st.just(BlockKind.TEXT), hub.SOME_WORDS, logprobs=hub.TOKENS.map(plain)).flatmap(hub.cited),
    st.builds(Block, st.just(BlockKind.REASONING), hub.SOME_WORDS, opaque=PROOFS),
    st.builds(Block, st.just(BlockKind.REASONING), st.just(""), opaque=SIGNATURES | FOREIGN),
    st.builds(
        Block,
        st.just(BlockKind.REASONING),
        st.just(""),
        opaque=hub.RAW_OBJECTS.map(lambda raw: Opaque("gemini", b'{"executableCode":' + raw + b"}")),
    ),
    st.builds(Block, st.just(BlockKind.TOOL_CALL), hub.RAW_OBJECTS.map(bytes.decode), hub.NAMES, hub.NAMES, PROOFS),
)
USAGES = st.builds(
    lambda said, thought, asked, cached: Usage(
        input_tokens=asked,
        output_tokens=None if said is None else said + (thought or 0),
        reasoning_tokens=None if said is None else thought,
        cached_tokens=cached,
    ),
    *(COUNTS, COUNTS, COUNTS, COUNTS),
)


def apart(before: Block, after: Block) -> bool:
    """Google joins neighbours of one kind; a proof ends a thought."""
    return hub.apart(before, after) or before.opaque is not None


WORDS = {FinishReason.LENGTH: "MAX_TOKENS", FinishReason.CONTENT_FILTER: "SAFETY"}


def grounded(reply: Reply) -> Reply:
    """Google tells the sources at the end, so only a text that is still open then can have them."""
    last = len(reply.blocks) - 1
    blocks = tuple(
        msgspec.structs.replace(
            block, citations=tuple(one for one in block.citations if place == last and one.start != one.end)
        )
        for place, block in enumerate(reply.blocks)
    )
    return msgspec.structs.replace(reply, blocks=blocks)


def answer_back(reply: Reply, is_whole: bool) -> Reply:
    """What Gemini can say of it: that calls were made is seen from the calls."""
    finish = reply.finish
    assert finish is not None
    reason = finish.reason
    if reason in {FinishReason.STOP, FinishReason.TOOL_CALLS}:
        called = any(block.kind is BlockKind.TOOL_CALL for block in reply.blocks)
        reason = FinishReason.TOOL_CALLS if called else FinishReason.STOP
    blocks = gathered(reply.blocks) if is_whole else reply.blocks
    return msgspec.structs.replace(reply, blocks=blocks, finish=Finish(reason, WORDS.get(reason, "STOP")))


def gathered(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """A whole answer has one list of tokens: they are read with its first text."""
    tokens = tuple(token for block in blocks for token in block.logprobs)
    first = next((place for place, block in enumerate(blocks) if block.kind is BlockKind.TEXT), None)
    return tuple(
        msgspec.structs.replace(block, logprobs=tokens if place == first else ()) for place, block in enumerate(blocks)
    )


def echo(answer: Any) -> dict[str, Any]:
    """The content, sent back."""
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, answer["candidates"][0]["content"]]}


GEMINI_LAWS = Laws(
    calls=hub.calls(TURNS)
    .map(sayable)
    .filter(lambda call: any(message.role is not Role.SYSTEM for message in call.messages)),
    call_back=call_back,
    lost=lost,
    answers=hub.replies(BLOCKS, follows=apart, usages=st.none() | USAGES).map(grounded),
    answer_back=answer_back,
    changed=frozenset({"model", "store"}),
    echo=echo,
)
