"""A vendor that speaks responses, as OpenAI does.

Source: https://platform.openai.com/docs/api-reference/responses-streaming (the types of openai-python 3.54.0), read
2026-11-24.
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
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
}
Event = dict[str, Any]


class OpenAIResponses:
    """OpenAI."""

    name = "openai_responses"
    broken = "openai_responses/openai-error-event.sse"

    def streams(self, request: ReceivedRequest) -> bool:
        return request.json().get("stream") is True

    def stream(self, answer: Answer) -> Script:
        events: list[Event] = [
            {"type": f"response.{state}", "response": _response("in_progress", [])}
            for state in ("created", "in_progress")
        ]
        items = _items(answer)
        told = [list(_item_events(item, place, answer)) for place, item in enumerate(items)]
        others = len(items) - len(answer.calls) if answer.in_turns else len(items)
        events += itertools.chain(*told[:others], in_turns(told[others:]))
        if answer.finish is not None:
            ending = "incomplete" if answer.finish == "length" else "completed"
            events.append({"type": f"response.{ending}", "response": _ended(answer, items)})
        numbers = itertools.count()
        return Script(
            body=tuple(
                f"event: {event['type']}\n".encode()
                + sse.event(msgspec.json.encode({**event, "sequence_number": next(numbers)}))
                for event in events
            )
        )

    def whole(self, answer: Answer) -> Script:
        return json_script(_ended(answer, _items(answer)))

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": _REFUSALS[status], "param": None, "code": None}}

    def told(self, request: ReceivedRequest) -> Told:
        body = request.json()
        given: str | list[dict[str, Any]] = body["input"]
        items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        said = [item for item in items if item.get("type", "message") == "message"]
        thoughts = [item for item in items if item.get("type") == "reasoning"]
        reasoning = body.get("reasoning") or {}
        form = (body.get("text") or {}).get("format") or {}
        system = [body.get("instructions") or ""]
        system += [_text(item["content"]) for item in said if item["role"] in {"system", "developer"}]
        return Told(
            stream=self.streams(request),
            system="".join(system),
            texts=tuple(_text(item["content"]) for item in said if item["role"] == "user"),
            tools={tool["name"]: tool["parameters"] for tool in body.get("tools", ())},
            calls=tuple(
                Called(item["name"], json.loads(item["arguments"]), item["call_id"])
                for item in items
                if item.get("type") == "function_call"
            ),
            results=tuple(
                (item["call_id"], _text(item["output"])) for item in items if item.get("type") == "function_call_output"
            ),
            schema=form.get("schema"),
            pictures=tuple(
                part["image_url"]
                for item in said
                if isinstance(item["content"], list)
                for part in item["content"]
                if part["type"] == "input_image"
            ),
            effort=reasoning.get("effort"),
            thoughts=tuple(part["text"] for item in thoughts for part in item["summary"]),
            temperature=body.get("temperature"),
            proofs=tuple(item["encrypted_content"] for item in thoughts if item.get("encrypted_content")),
        )


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _response(status: str, output: list[Event]) -> Event:
    return {
        "id": "resp_vendor",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "vendor-1",
        "output": output,
        "parallel_tool_calls": True,
        "store": False,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
    }


def _ended(answer: Answer, items: list[Event]) -> Event:
    spent = answer.spent
    is_cut = answer.finish == "length"
    usage = {
        "input_tokens": spent.input,
        "input_tokens_details": {"cached_tokens": spent.cached or 0, "cache_write_tokens": 0},
        "output_tokens": spent.output,
        "output_tokens_details": {"reasoning_tokens": spent.reasoning or 0},
        "total_tokens": spent.input + spent.output,
    }
    details = {"reason": "max_output_tokens"} if is_cut else None
    response = _response("incomplete" if is_cut else "completed", items)
    return {**response, "incomplete_details": details, "usage": usage}


def _items(answer: Answer) -> list[Event]:
    items: list[Event] = []
    if answer.thoughts:
        summary = [{"type": "summary_text", "text": "".join(answer.thoughts)}]
        items.append({"id": "rs_1", "type": "reasoning", "encrypted_content": answer.proof, "summary": summary})
    if answer.text:
        part = {"type": "output_text", "text": "".join(answer.text), "annotations": [], "logprobs": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        items.append(message)
    items += [
        {
            "id": f"fc_{place}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "status": "completed",
            "arguments": json.dumps(call.arguments),
        }
        for place, call in enumerate(answer.calls)
    ]
    return items


def _item_events(item: Event, place: int, answer: Answer) -> Iterator[Event]:
    at = {"output_index": place, "item_id": item["id"]}
    match item["type"]:
        case "reasoning":
            begun = {**item, "summary": []}
            inner = _thought_events({**at, "summary_index": 0}, answer.thoughts)
        case "message":
            begun = {**item, "status": "in_progress", "content": []}
            inner = _text_events({**at, "content_index": 0}, answer.text)
        case _:
            begun = {**item, "status": "in_progress", "arguments": ""}
            inner = _call_events(at, item["arguments"])
    yield {"type": "response.output_item.added", "output_index": place, "item": begun}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _thought_events(at: Event, pieces: tuple[str, ...]) -> Iterator[Event]:
    whole = "".join(pieces)
    part = {"type": "summary_text", "text": whole}
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
    for piece in pieces:
        yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **at, "text": whole}
    yield {"type": "response.reasoning_summary_part.done", **at, "part": part}


def _text_events(at: Event, pieces: tuple[str, ...]) -> Iterator[Event]:
    whole = "".join(pieces)
    part = {"type": "output_text", "text": whole, "annotations": [], "logprobs": []}
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    for piece in pieces:
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": whole, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}


def _call_events(at: Event, arguments: str) -> Iterator[Event]:
    for piece in halves(arguments):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **at, "arguments": arguments}
