"""A vendor that speaks messages, as Anthropic does.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming and
https://platform.claude.com/docs/en/build-with-claude/extended-thinking (read 2026-11-24).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from acceptance.sdk.talk import Called
from acceptance.sdk.vendors.vendor import Told, halves, json_script
from trunkline.dialects import sse
from trunkline.upstream.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from acceptance.sdk.vendors.vendor import Answer
    from trunkline.upstream.journal import ReceivedRequest

_REFUSALS = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "api_error",
}
_STOP = {"stop": "end_turn", "tools": "tool_use", "length": "max_tokens"}
Block = dict[str, Any]


class AnthropicMessages:
    """Anthropic."""

    name = "anthropic_messages"
    broken = "anthropic_messages/error-overloaded.sse"

    def streams(self, request: ReceivedRequest) -> bool:
        return request.json().get("stream") is True

    def stream(self, answer: Answer) -> Script:
        events = [{"type": "message_start", "message": {**_message([]), "usage": _usage(answer, output=1)}}]
        for index, block in enumerate(_blocks(answer)):
            events += _block_events(index, block, answer)
        if answer.finish is not None:
            delta = {"stop_reason": _STOP[answer.finish], "stop_sequence": None}
            events.append({"type": "message_delta", "delta": delta, "usage": _usage(answer)})
            events.append({"type": "message_stop"})
        body = (f"event: {event['type']}\n".encode() + sse.event(msgspec.json.encode(event)) for event in events)
        return Script(body=tuple(body))

    def whole(self, answer: Answer) -> Script:
        message = _message(_blocks(answer))
        return json_script({**message, "stop_reason": _STOP[answer.finish or "stop"], "usage": _usage(answer)})

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        error = {"type": _REFUSALS[status], "message": message}
        return {"type": "error", "error": error, "request_id": "req_vendor"}

    def told(self, request: ReceivedRequest) -> Told:
        body = request.json()
        messages: list[dict[str, Any]] = body["messages"]
        blocks = [(message["role"], block) for message in messages for block in _as_blocks(message["content"])]
        output = body.get("output_config") or {}
        thoughts = [block for _, block in blocks if block["type"] in {"thinking", "redacted_thinking"}]
        return Told(
            stream=self.streams(request),
            system="".join(block["text"] for block in _as_blocks(body.get("system", ""))),
            texts=tuple(block["text"] for role, block in blocks if role == "user" and block["type"] == "text"),
            tools={tool["name"]: tool["input_schema"] for tool in body.get("tools", ())},
            calls=tuple(Called(b["name"], b["input"], b["id"]) for _, b in blocks if b["type"] == "tool_use"),
            results=tuple(
                (b["tool_use_id"], "".join(part["text"] for part in _as_blocks(b["content"])))
                for _, b in blocks
                if b["type"] == "tool_result"
            ),
            schema=(output.get("format") or {}).get("schema"),
            pictures=tuple(_address(block["source"]) for _, block in blocks if block["type"] == "image"),
            effort=output.get("effort"),
            budget=(body.get("thinking") or {}).get("budget_tokens"),
            thoughts=tuple(block["thinking"] for block in thoughts if block.get("thinking")),
            temperature=body.get("temperature"),
            stop=tuple(body.get("stop_sequences") or ()),
            proofs=tuple(block.get("signature") or block["data"] for block in thoughts),
        )


def _as_blocks(content: str | list[Block]) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def _address(source: dict[str, str]) -> str:
    if source["type"] == "url":
        return source["url"]
    return f"data:{source['media_type']};base64,{source['data']}"


def _message(content: list[Block]) -> dict[str, Any]:
    return {
        "id": "msg_vendor",
        "type": "message",
        "role": "assistant",
        "model": "vendor-1",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(answer: Answer, output: int | None = None) -> dict[str, Any]:
    """Anthropic counts what the cache gave apart from the rest of the input."""
    spent = answer.spent
    cached = spent.cached or 0
    usage: dict[str, Any] = {
        "input_tokens": spent.input - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": spent.output if output is None else output,
    }
    if output is None and spent.reasoning is not None:
        usage["output_tokens_details"] = {"thinking_tokens": spent.reasoning}
    return usage


def _blocks(answer: Answer) -> list[Block]:
    blocks: list[Block] = []
    if answer.thoughts:
        blocks.append({"type": "thinking", "thinking": "".join(answer.thoughts), "signature": answer.proof or ""})
    if answer.text:
        blocks.append({"type": "text", "text": "".join(answer.text)})
    blocks += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in answer.calls]
    return blocks


def _block_events(index: int, block: Block, answer: Answer) -> Iterator[dict[str, Any]]:
    deltas: list[dict[str, str]]
    match block["type"]:
        case "thinking":
            begun = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thoughts]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "text":
            begun = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in answer.text]
        case _:
            begun = {**block, "input": {}}
            pieces = halves(json.dumps(block["input"]))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
