"""Hypothesis strategies for the hub's values: messages, calls, replies and event streams.

A dialect has words for a part of them; its tests narrow these (`kinds`, `parts`, `.map`) to what it can say.
Normal form of a stream: `unfold(fold(events))`, one delta for each block that is not empty.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
from hypothesis import strategies as st

from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Format,
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
    Url,
)
from trunkline.core.reply import (
    Block,
    BlockKind,
    Citation,
    Delta,
    End,
    Event,
    Finish,
    FinishReason,
    Head,
    Logprob,
    Reply,
    Start,
    Usage,
    fold,
    unfold,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text that UTF-8 can hold."""

SOME_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]{0,11}", fullmatch=True)
BASE64 = st.from_regex(r"([A-Za-z0-9+/]{4}){1,4}", fullmatch=True)
URLS = st.from_regex(r"https://[a-z]{1,8}\.example/[a-z0-9]{0,8}\.png", fullmatch=True)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
RAW_OBJECTS = st.dictionaries(WORDS, JSON_VALUES, max_size=3).map(msgspec.json.encode)
"""A JSON object as compact bytes: an opaque continuation, a schema, metadata."""

ARGUMENTS = RAW_OBJECTS.map(bytes.decode) | st.sampled_from(["", "{}", '{"a": 1', "not json"])
"""A tool call's arguments as models write them: mostly JSON."""


def opaques(*dialects: str) -> st.SearchStrategy[Opaque | None]:
    """A continuation of one of these dialects, or none."""
    return st.none() | st.builds(Opaque, st.sampled_from(dialects), RAW_OBJECTS) if dialects else st.none()


URL_MEDIA = st.builds(Url, URLS)
PICTURES = st.builds(Inline, st.sampled_from(["image/png", "image/jpeg"]), BASE64)
PDFS = st.builds(Inline, st.just("application/pdf"), BASE64)

TEXTS = st.builds(Text, SOME_WORDS, st.booleans())
IMAGES = st.builds(Image, URL_MEDIA | PICTURES, st.none() | st.sampled_from(["auto", "low", "high"]), st.booleans())
DOCUMENTS = st.builds(Document, PDFS, st.none() | SOME_WORDS, st.booleans())
AUDIOS = st.builds(Audio, BASE64, st.sampled_from(["wav", "mp3"]))


def tool_calls(*dialects: str) -> st.SearchStrategy[ToolCall]:
    """A tool call with a continuation of one of these dialects."""
    return st.builds(ToolCall, NAMES, NAMES, ARGUMENTS, opaques(*dialects))


def tool_results() -> st.SearchStrategy[ToolResult]:
    """What a tool gave, in words."""
    return st.builds(ToolResult, NAMES, st.lists(TEXTS, min_size=1, max_size=2).map(tuple))


def reasonings(*dialects: str) -> st.SearchStrategy[Reasoning]:
    """A thought in words, with a continuation of one of these dialects."""
    return st.builds(Reasoning, SOME_WORDS, opaques(*dialects))


def messages(
    *,
    system: st.SearchStrategy[Part] = TEXTS,
    user: st.SearchStrategy[Part] = TEXTS | IMAGES | DOCUMENTS | AUDIOS,
    assistant: st.SearchStrategy[Part] | None = None,
    tool: st.SearchStrategy[Part] | None = None,
) -> st.SearchStrategy[Message]:
    """One turn whose blocks fit its role. A tool's message holds one result."""
    if assistant is None:
        assistant = TEXTS | tool_calls() | reasonings() | st.builds(Refusal, SOME_WORDS)

    def turn(role: Role, part: st.SearchStrategy[Part], max_size: int) -> st.SearchStrategy[Message]:
        return st.builds(Message, st.just(role), st.lists(part, min_size=1, max_size=max_size).map(tuple))

    return st.one_of(
        turn(Role.SYSTEM, system, 2),
        turn(Role.USER, user, 3),
        turn(Role.ASSISTANT, assistant, 4),
        turn(Role.TOOL, tool_results() if tool is None else tool, 1),
    )


TOOLS = st.builds(
    Tool,
    name=NAMES,
    description=st.none() | SOME_WORDS,
    schema=st.none() | RAW_OBJECTS,
    is_strict=st.none() | st.booleans(),
)
CHOICES = st.builds(ToolChoice, st.sampled_from([ChoiceMode.AUTO, ChoiceMode.NONE, ChoiceMode.REQUIRED])) | st.builds(
    ToolChoice, st.just(ChoiceMode.NAMED), NAMES
)
FORMATS = st.just(Format()) | st.builds(
    Format,
    schema=RAW_OBJECTS,
    name=NAMES,
    description=st.none() | SOME_WORDS,
    is_strict=st.none() | st.booleans(),
)
THINKINGS = st.just(Thinking(is_on=False)) | st.builds(
    Thinking,
    effort=st.sampled_from(["minimal", "low", "medium", "high"]),
    is_shown=st.none() | st.booleans(),
)


def calls(turns: st.SearchStrategy[Message] | None = None) -> st.SearchStrategy[Call]:
    """A request that says any of what the hub knows, extras left out."""
    return st.builds(
        Call,
        messages=st.lists(messages() if turns is None else turns, min_size=1, max_size=4).map(tuple),
        temperature=st.none() | st.floats(0, 2),
        max_tokens=st.none() | st.integers(1, 10**6),
        stream=st.booleans(),
        top_p=st.none() | st.floats(0, 1),
        top_k=st.none() | st.integers(1, 500),
        stop=st.lists(SOME_WORDS, max_size=4).map(tuple),
        seed=st.none() | st.integers(-(2**53), 2**53),
        frequency_penalty=st.none() | st.floats(-2, 2),
        presence_penalty=st.none() | st.floats(-2, 2),
        logprobs=st.none() | st.booleans(),
        top_logprobs=st.none() | st.integers(0, 20),
        n=st.none() | st.integers(1, 4),
        tools=st.lists(TOOLS, max_size=3, unique_by=lambda tool: tool.name).map(tuple),
        tool_choice=st.none() | CHOICES,
        parallel_tool_calls=st.none() | st.booleans(),
        format=st.none() | FORMATS,
        thinking=st.none() | THINKINGS,
        user=st.none() | SOME_WORDS,
        metadata=st.none() | RAW_OBJECTS,
        service_tier=st.none() | st.sampled_from(["auto", "default", "flex", "priority"]),
    )


COUNTS = st.none() | st.integers(0, 10**9)
USAGES = st.builds(
    Usage,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cached_tokens=COUNTS,
    cache_write_tokens=COUNTS,
    reasoning_tokens=COUNTS,
    cost_nano=st.none() | st.integers(0, 10**15),
)
MAYBE_USAGES = st.none() | USAGES
HEADS = st.builds(Head, id=SOME_WORDS, model=SOME_WORDS)
FINISHES = st.builds(Finish, st.sampled_from(FinishReason))


LIKELIHOODS = st.floats(-100, 0)
PLAIN_TOKENS = st.builds(Logprob, WORDS, LIKELIHOODS, st.none() | st.binary(max_size=4))
TOKENS = st.lists(
    st.builds(
        Logprob,
        WORDS,
        LIKELIHOODS,
        st.none() | st.binary(max_size=4),
        st.lists(PLAIN_TOKENS, max_size=2).map(tuple),
    ),
    max_size=3,
).map(tuple)
"""Some tokens, with the likeliest in their place."""

SITES = st.from_regex(r"https://[a-z]{1,8}\.example/", fullmatch=True)


@st.composite
def cited(draw: st.DrawFn, block: Block) -> Block:
    """The same text with some sources, each of a part of it."""
    citations: list[Citation] = []
    for _ in range(draw(st.integers(0, 2))):
        start, end = sorted((draw(st.integers(0, len(block.text))), draw(st.integers(0, len(block.text)))))
        citations.append(Citation(draw(SITES), draw(SOME_WORDS), start, end))
    return msgspec.structs.replace(block, citations=tuple(citations))


def blocks(
    *dialects: str, kinds: Iterable[BlockKind] = BlockKind, proven: Iterable[BlockKind] | None = None
) -> st.SearchStrategy[Block]:
    """One block that is not empty. Those of the kinds `proven` may carry a continuation of one of these dialects."""
    provable = {BlockKind.REASONING, BlockKind.TOOL_CALL} if proven is None else set(proven)

    def of(kind: BlockKind) -> st.SearchStrategy[Block]:
        opaque = opaques(*dialects) if kind in provable else st.none()
        if kind is BlockKind.TOOL_CALL:
            return st.builds(Block, st.just(kind), ARGUMENTS, NAMES, NAMES, opaque)
        tokens = TOKENS if kind in {BlockKind.TEXT, BlockKind.REFUSAL} else st.just(())
        block = st.builds(Block, st.just(kind), SOME_WORDS, opaque=opaque, logprobs=tokens)
        return block.flatmap(cited) if kind is BlockKind.TEXT else block

    return st.sampled_from(list(kinds)).flatmap(of)


def replies(
    one: st.SearchStrategy[Block] | None = None,
    *,
    follows: Callable[[Block, Block], bool] | None = None,
    heads: st.SearchStrategy[Head] = HEADS,
    usages: st.SearchStrategy[Usage | None] = MAYBE_USAGES,
    finishes: st.SearchStrategy[Finish] = FINISHES,
) -> st.SearchStrategy[Reply]:
    """A whole answer. A block for which `follows(the one before, it)` is False is left out.

    `follows=apart` keeps two blocks of one kind from touching, where a dialect cannot tell them apart.
    """

    def fit(drawn: list[Block]) -> tuple[Block, ...]:
        kept: list[Block] = []
        for block in drawn:
            if not kept or follows is None or follows(kept[-1], block):
                kept.append(block)
        return tuple(kept)

    return st.builds(
        Reply,
        head=heads,
        blocks=st.lists(blocks() if one is None else one, max_size=5).map(fit),
        usage=usages,
        finish=finishes,
    )


def apart(before: Block, after: Block) -> bool:
    """Whether a dialect that joins neighbours of one kind can still tell these two apart."""
    return before.kind is BlockKind.TOOL_CALL or before.kind is not after.kind


@st.composite
def streams(draw: st.DrawFn, of: st.SearchStrategy[Reply] | None = None) -> list[Event]:
    """The events of an answer, its blocks cut into deltas of any length that is not zero."""
    events: list[Event] = []
    for event in unfold(draw(replies() if of is None else of)):
        if isinstance(event, Delta):
            cuts = sorted(draw(st.sets(st.integers(1, len(event.text)), max_size=3)) | {0, len(event.text)})
            pieces = [Delta(event.index, event.text[start:end]) for start, end in pairwise(cuts)]
            events += [*pieces[:-1], msgspec.structs.replace(pieces[-1], logprobs=event.logprobs)]
        else:
            events.append(event)
    return events


def normal(events: Iterable[Event]) -> list[Event]:
    """The same stream in normal form."""
    return unfold(fold(events))


def assert_well_formed(events: list[Event]) -> None:
    """One block open at a time, numbered in order, no delta that says nothing, nothing after the one finish."""
    is_open: int | None = None
    begun = 0
    for event in events:
        match event:
            case Start(index=index):
                assert (is_open, index) == (None, begun)
                is_open, begun = index, begun + 1
            case Delta(index=index, text=words, logprobs=tokens):
                assert index == is_open
                assert words or tokens
            case End(index=index):
                assert index == is_open
                is_open = None
            case _:
                pass
    assert is_open is None
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(event, Finish) for event in events) == 1
