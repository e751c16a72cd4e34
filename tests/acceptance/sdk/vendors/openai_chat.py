"""A vendor that speaks chat completions: OpenAI itself, or OpenRouter with what it adds.

Sources: https://platform.openai.com/docs/api-reference/chat and, for `reasoning` and `reasoning_details`,
https://openrouter.ai/docs/use-cases/reasoning-tokens; `reasoning_content` as in
https://api-docs.deepseek.com/guides/reasoning_model (read 2026-11-24).
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import msgspec

from acceptance.sdk.talk import Called
from acceptance.sdk.vendors.vendor import Told, halves, in_turns, json_script
from trunkline.dialects import sse
from trunkline.upstream.script import CREATED, Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from acceptance.sdk.vendors.vendor import Answer
    from trunkline.upstream.journal import ReceivedRequest

_REFUSALS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
}
_FINISH = {"stop": "stop", "tools": "tool_calls", "length": "length"}


class OpenAIChat:
    """`is_openrouter`: it gives proofs of thoughts, and takes them back."""

    name = "openai_chat"
    broken = "openai_chat/openrouter-midstream-error.sse"

    def __init__(self, *, is_openrouter: bool = False) -> None:
        self._is_openrouter = is_openrouter

    def streams(self, request: ReceivedRequest) -> bool:
        return request.json().get("stream") is True

    def stream(self, answer: Answer) -> Script:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [self._thought(thought) for thought in answer.thoughts]
        if answer.proof is not None and self._is_openrouter:
            deltas.append({"reasoning_details": [{**_DETAIL, "signature": answer.proof}]})
        deltas += [{"content": piece} for piece in answer.text]
        calls = [list(_call_deltas(place, call)) for place, call in enumerate(answer.calls)]
        deltas += in_turns(calls) if answer.in_turns else itertools.chain.from_iterable(calls)
        chunks = [_chunk(delta) for delta in deltas]
        if answer.finish is not None:
            chunks.append(_chunk({}, _FINISH[answer.finish]))
            chunks.append({**_HEAD, "choices": [], "usage": _usage(answer)})
        body = [sse.event(msgspec.json.encode(chunk)) for chunk in chunks]
        if answer.finish is not None:
            body.append(sse.DONE)
        return Script(body=tuple(body))

    def _thought(self, text: str) -> dict[str, Any]:
        if not self._is_openrouter:
            return {"reasoning_content": text}
        return {"reasoning": text, "reasoning_details": [{**_DETAIL, "text": text}]}

    def whole(self, answer: Answer) -> Script:
        thoughts = "".join(answer.thoughts)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text) or None}
        if thoughts and self._is_openrouter:
            message["reasoning"] = thoughts
            message["reasoning_details"] = [{**_DETAIL, "text": thoughts, "signature": answer.proof}]
        elif thoughts:
            message["reasoning_content"] = thoughts
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for call in answer.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": _FINISH[answer.finish or "stop"]}
        head = {**_HEAD, "object": "chat.completion", **({"provider": "Anthropic"} if self._is_openrouter else {})}
        return json_script({**head, "choices": [choice], "usage": _usage(answer)})

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        if self._is_openrouter:
            return {"error": {"code": status, "message": message}}
        kind, code = _REFUSALS[status]
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def told(self, request: ReceivedRequest) -> Told:
        body = request.json()
        messages: list[dict[str, Any]] = body["messages"]
        parts = [part for message in messages for part in _parts(message)]
        calls = [call for message in messages for call in message.get("tool_calls") or ()]
        details = [detail for message in messages for detail in message.get("reasoning_details") or ()]
        reasoning = body.get("reasoning") or {}
        schema = (body.get("response_format") or {}).get("json_schema")
        return Told(
            stream=self.streams(request),
            system="".join(_text(message) for message in messages if message["role"] in {"system", "developer"}),
            texts=tuple(_text(message) for message in messages if message["role"] == "user"),
            tools={tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", ())},
            calls=tuple(
                Called(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
                for call in calls
            ),
            results=tuple((m["tool_call_id"], _text(m)) for m in messages if m["role"] == "tool"),
            schema=schema["schema"] if schema else None,
            pictures=tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url"),
            effort=body.get("reasoning_effort") or reasoning.get("effort"),
            budget=reasoning.get("max_tokens"),
            thoughts=tuple(m["reasoning"] for m in messages if m.get("reasoning")),
            temperature=body.get("temperature"),
            stop=tuple(body.get("stop") or ()),
            seed=body.get("seed"),
            proofs=tuple(detail["signature"] for detail in details if detail.get("signature")),
        )


_HEAD = {"id": "chatcmpl-vendor", "object": "chat.completion.chunk", "created": CREATED, "model": "vendor-1"}
_DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}


def _call_deltas(place: int, call: Called) -> Iterator[dict[str, Any]]:
    head = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    yield {"tool_calls": [{"index": place, **head}]}
    for piece in halves(json.dumps(call.arguments)):
        yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _usage(answer: Answer) -> dict[str, Any]:
    spent = answer.spent
    usage: dict[str, Any] = {
        "prompt_tokens": spent.input,
        "completion_tokens": spent.output,
        "total_tokens": spent.input + spent.output,
    }
    if spent.cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": spent.cached}
    if spent.reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": spent.reasoning}
    return usage


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in _parts(message) if part["type"] == "text")
