"""How an answer says things in each dialect: what its features are written with.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming,
https://platform.openai.com/docs/api-reference/responses-streaming,
https://platform.claude.com/docs/en/build-with-claude/streaming, https://ai.google.dev/api/generate-content; what is
OpenRouter's, https://openrouter.ai/docs/api-reference/overview (read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Head, Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

ONLY_WORDS: Final = "its clients know words alone"


def reply(*blocks: Block, finish: Finish | None = None, usage: Usage | None = None) -> Reply:
    """An answer with these blocks."""
    stop = Finish(FinishReason.STOP) if finish is None else finish
    return Reply(head=Head(id="a", model="m"), blocks=blocks, finish=stop, usage=usage)


def chat(*deltas: dict[str, Any], finish: str = "stop", **more: Any) -> list[dict[str, Any]]:
    """A stream of chunks. `more` stands on the last one."""
    head = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*chunks, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], **more}]


def chat_message(finish: str = "stop", **message: Any) -> dict[str, Any]:
    """The choice of a whole completion."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


def responses(*events: dict[str, Any], status: str = "completed", **response: Any) -> list[dict[str, Any]]:
    """A stream of a response."""
    head = {"id": "a", "object": "response", "model": "m"}
    last = {**head, "status": status, "output": [], **response}
    return [
        {"type": "response.created", "response": {**head, "status": "in_progress", "output": []}},
        *events,
        {"type": f"response.{status}", "response": last},
    ]


def text_delta(text: str, **more: Any) -> dict[str, Any]:
    """A piece of a response's text."""
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text, **more}


def said_item(*content: dict[str, Any]) -> dict[str, Any]:
    """The output of a whole response that is one message."""
    return {"output": [{"type": "message", "role": "assistant", "content": list(content)}]}


def anthropic(
    *blocks: tuple[dict[str, Any], list[dict[str, Any]]],
    stop: str = "end_turn",
    sequence: str | None = None,
    usage: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """A stream of a message: how each block begins, and its deltas."""
    message = {"id": "a", "type": "message", "role": "assistant", "model": "m", "content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    ]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": stop, "stop_sequence": sequence}
    events.append({"type": "message_delta", "delta": end, "usage": usage or {"output_tokens": 2}})
    return [*events, {"type": "message_stop"}]


def text_block(*texts: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block of text in deltas."""
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]


def gemini(*parts: dict[str, Any], finish: str = "STOP", **more: Any) -> list[dict[str, Any]]:
    """A stream of chunks, one for each part."""
    head = {"responseId": "a", "modelVersion": "m"}
    chunks = [{**head, "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]} for part in parts]
    return [*chunks, {**head, "candidates": [{"index": 0, "finishReason": finish}], **more}]


def candidate(*parts: dict[str, Any], finish: str = "STOP") -> dict[str, Any]:
    """The candidate of a whole answer."""
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": list(parts)}, "finishReason": finish}]}


def completion(text: str = "Hi.", **choice: Any) -> dict[str, Any]:
    """The choice of a completion, or of a chunk of one."""
    return {"choices": [{"index": 0, "text": text, **choice}]}


def chat_says(**delta: Any) -> dict[str, Any]:
    """A chunk that says this."""
    return {"choices": [{"delta": delta}]}


def part_says(**part: Any) -> dict[str, Any]:
    """A chunk whose only part is this."""
    return {"candidates": [{"content": {"parts": [part]}}]}


def ends(reason: FinishReason) -> Callable[[Reply], bool]:
    """Whether a reply ended for this."""
    return lambda told: told.finish is not None and told.finish.reason is reason


def blocks(*wanted: Block) -> Callable[[Reply], bool]:
    """Whether a reply holds exactly these blocks."""
    return lambda told: told.blocks == wanted


HI: Final = Block(BlockKind.TEXT, "Hi.")
