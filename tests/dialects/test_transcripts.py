"""Every feature of an answer has a transcript in each dialect that has a word for it; each says where it is from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dialects.every_dialect import ANTHROPIC, CHAT, DIALECTS, GEMINI, RESPONSES, told
from trunkline.core.problem import Problem
from trunkline.core.reply import BlockKind, FinishReason, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def has(kind: BlockKind, count: int = 1) -> Callable[[Reply], object]:
    """Whether an answer has so many blocks of a kind."""
    return lambda reply: sum(block.kind is kind and bool(block.text) for block in reply.blocks) >= count


def ended(reason: FinishReason) -> Callable[[Reply], object]:
    """Whether an answer ended so."""
    return lambda reply: reply.finish is not None and reply.finish.reason is reason


def counted(name: str) -> Callable[[Reply], object]:
    """Whether an answer counts something of this."""
    return lambda reply: reply.usage is not None and getattr(reply.usage, name)


SHOWN: dict[str, Callable[[Reply], object]] = {
    "text": has(BlockKind.TEXT),
    "a tool call": has(BlockKind.TOOL_CALL),
    "parallel tool calls": has(BlockKind.TOOL_CALL, 2),
    "reasoning": has(BlockKind.REASONING),
    "proof of reasoning": lambda reply: any(block.opaque for block in reply.blocks),
    "refusal": has(BlockKind.REFUSAL),
    "length": ended(FinishReason.LENGTH),
    "filter": ended(FinishReason.CONTENT_FILTER),
    "stop sequence": lambda reply: reply.finish is not None and reply.finish.stop_sequence,
    "usage": counted("output_tokens"),
    "cached tokens": counted("cached_tokens"),
    "cache writes": counted("cache_write_tokens"),
    "reasoning tokens": counted("reasoning_tokens"),
    "cost": counted("cost_nano"),
    "citations": lambda reply: any(block.citations for block in reply.blocks),
    "log probabilities": lambda reply: any(block.logprobs for block in reply.blocks),
}
NO_WORD = {
    CHAT: {"stop sequence"},
    RESPONSES: {"stop sequence"},
    ANTHROPIC: {"refusal", "cost", "log probabilities"},
    GEMINI: {"refusal", "stop sequence", "cache writes", "cost"},
}


def answers(name: str) -> list[Reply]:
    """Every answer that this dialect's transcripts tell, streamed or whole."""
    dialect = DIALECTS[name]
    found = [told(dialect, [path.read_bytes()]) for path in dialect.transcripts]
    replies = [reply for reply in found if isinstance(reply, Reply)]
    for path in sorted(dialect.transcripts[0].parent.glob("*.json")):
        try:
            replies.append(dialect.egress.read_reply(path.read_bytes(), dialect.target))
        except Problem:
            continue  # an error, or what is no answer
    return replies


@pytest.mark.parametrize("name", DIALECTS)
def test_every_feature_has_a_transcript_where_the_dialect_has_a_word_for_it(name: str) -> None:
    replies = answers(name)
    missing = {feature for feature, is_shown in SHOWN.items() if not any(map(is_shown, replies))}
    assert missing == NO_WORD[name]


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_has_a_transcript_of_an_error_in_the_stream(name: str) -> None:
    failed = [told(DIALECTS[name], [path.read_bytes()]) for path in DIALECTS[name].transcripts]
    assert any(not isinstance(one, Reply) for one in failed)


SOURCES = [path for dialect in DIALECTS.values() for path in dialect.transcripts]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_transcript_says_on_its_first_line_where_and_when_it_is_from(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith(": ")
    assert re.search(r"20\d\d-\d\d-\d\d", first)
