"""Events become OpenAI's stream of responses, or a whole response: every event in the documented order.

Source: https://platform.openai.com/docs/api-reference/responses-streaming (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.reply import BlockKind, Delta, End, Event, Finish, FinishReason, Head, Start, Usage, unfold
from trunkline.dialects import sse, url_citations
from trunkline.dialects.opaque import PREFIX, wrap
from trunkline.dialects.openai_responses.call import CALL_PREFIX, NAME
from trunkline.dialects.openai_responses.problem import error_data, response_error
from trunkline.dialects.token_logprobs import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.call import Opaque
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Citation, Logprob, Reply
    from trunkline.dialects.dialect import Opening

MAX_ID_CHARACTERS: Final = 40
"""What is left of the request's id within an item's: OpenAI takes items back whose id has at most 64 characters."""

_NO_ID = re.compile(r"[^A-Za-z0-9_-]")
_ENCODE = msgspec.json.Encoder()

_Fields = dict[str, object]
_NO_LOGPROBS: Final = b',"logprobs":[],"sequence_number":'

_INCOMPLETE: Final[Mapping[FinishReason, str]] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}
_DELTA_EVENT: Final[Mapping[BlockKind, str]] = {
    BlockKind.TEXT: "response.output_text.delta",
    BlockKind.REFUSAL: "response.refusal.delta",
    BlockKind.REASONING: "response.reasoning_summary_text.delta",
    BlockKind.TOOL_CALL: "response.function_call_arguments.delta",
}


class _Open:
    """The block that is being written: its text so far, and how its deltas begin and end."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.pieces: list[str] = []
        self.logprobs: list[Logprob] = []
        self.before = b""
        self.after = b""


class Writer:
    """Events -> the client's bytes. Owns the response as it grows.

    Text and refusals in a row are the parts of one message; every thought and every call is an item of its own.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._id = f"resp_{opening.id}"
        self._model = opening.model
        self._suffix = _NO_ID.sub("", opening.id)[:MAX_ID_CHARACTERS]
        self._sequence = 0
        self._is_begun = False
        self._output: list[_Fields] = []
        self._message: _Fields | None = None
        self._content: list[_Fields] = []
        self._block: _Open | None = None
        self._usage: Usage | None = None
        self._status = "in_progress"
        self._reason: str | None = None
        self._error: _Fields | None = None

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events."""
        out: list[bytes] = []
        for event in events:
            if type(event) is Delta:
                self._delta(event, out)
                continue
            if isinstance(event, Head) and not self._is_begun:
                self._id = event.id or self._id
                self._model = event.model or self._model
            if not self._is_begun:
                self._begin(out)
            match event:
                case Start():
                    self._start(event, out)
                case End():
                    self._end(event, out)
                case Usage():
                    self._usage = event
                case Finish():
                    self._finish(event, out)
                case _:
                    pass
        return b"".join(out)

    def write_problem(self, problem: Problem) -> bytes:
        """The end of a stream that breaks: the `error` event, then `response.failed` with what there is."""
        out: list[bytes] = []
        if not self._is_begun:
            self._begin(out)
        self._cut()
        self._tell("error", error_data(problem), out)
        self._status = "failed"
        self._error = response_error(problem)
        self._tell("response.failed", {"response": self.response()}, out)
        return b"".join(out)

    def response(self) -> _Fields:
        """The response object, as far as it has come."""
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._opening.created,
            "status": self._status,
            "background": False,
            "completed_at": None,
            "error": self._error,
            "incomplete_details": None if self._reason is None else {"reason": self._reason},
            "instructions": None,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "model": self._model,
            "output": self._output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "prompt_cache_key": None,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": None,
            "service_tier": None,
            "store": False,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": None,
            "truncation": "disabled",
            "usage": _usage(self._usage),
            "user": None,
            "metadata": {},
        }

    def _begin(self, out: list[bytes]) -> None:
        self._is_begun = True
        self._tell("response.created", {"response": self.response()}, out)
        self._tell("response.in_progress", {"response": self.response()}, out)

    def _start(self, start: Start, out: list[bytes]) -> None:
        block = self._block = _Open(start)
        where: _Fields
        match start.kind:
            case BlockKind.TEXT | BlockKind.REFUSAL:
                where = self._start_part(start.kind, out)
            case BlockKind.REASONING:
                where = self._start_item({"type": "reasoning", "id": self._item_id("rs"), "summary": []}, out)
                where["summary_index"] = 0
            case BlockKind.TOOL_CALL:
                item_id = self._item_id("fc")
                call = {"call_id": start.id or item_id.replace("fc", "call", 1), "name": start.name or ""}
                item: _Fields = {"type": "function_call", "id": item_id, **call, "arguments": ""}
                where = self._start_item({**item, "status": "in_progress"}, out)
        name = _DELTA_EVENT[start.kind]
        prefix = _ENCODE.encode({"type": name, **where})[:-1]
        block.before = b"event: " + name.encode() + b"\ndata: " + prefix + b',"delta":'
        block.after = _NO_LOGPROBS if start.kind is BlockKind.TEXT else b',"sequence_number":'

    def _start_part(self, kind: BlockKind, out: list[bytes]) -> _Fields:
        if self._message is None:
            self._message = {
                "type": "message",
                "id": self._item_id("msg"),
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            self._content = []
            self._output.append(self._message)
            self._tell("response.output_item.added", {**self._place(), "item": self._message}, out)
        where = {"item_id": self._message["id"], **self._place(), "content_index": len(self._content)}
        self._tell("response.content_part.added", {**where, "part": _part(kind, "", [])}, out)
        return where

    def _start_item(self, item: _Fields, out: list[bytes]) -> _Fields:
        self._close_message("completed", out)
        self._output.append(item)
        self._tell("response.output_item.added", {**self._place(), "item": item}, out)
        return {"item_id": item["id"], **self._place()}

    def _delta(self, delta: Delta, out: list[bytes]) -> None:
        block, text = self._block, delta.text
        if block is None or not (text or delta.logprobs):
            return
        if block.start.kind is BlockKind.REASONING and not block.pieces:
            part = {"type": "summary_text", "text": ""}
            where = {**self._where(), "summary_index": 0}
            self._tell("response.reasoning_summary_part.added", {**where, "part": part}, out)
        block.pieces.append(text)
        after = block.after
        if delta.logprobs and block.start.kind is BlockKind.TEXT:
            block.logprobs += delta.logprobs
            after = b',"logprobs":%b,"sequence_number":' % _ENCODE.encode(written(delta.logprobs, needs_bytes=True))
        out += (block.before, _ENCODE.encode(text), after, str(self._sequence).encode(), b"}\n\n")
        self._sequence += 1

    def _end(self, end: End, out: list[bytes]) -> None:
        opaque = end.opaque
        block, self._block = self._block, None
        if block is None:
            return
        text = "".join(block.pieces)
        match block.start.kind:
            case BlockKind.TEXT | BlockKind.REFUSAL:
                self._end_part(block, text, end.citations, out)
            case BlockKind.REASONING:
                self._end_thought(text, opaque, out)
            case BlockKind.TOOL_CALL:
                self._end_call(text, opaque, out)

    def _end_part(self, block: _Open, text: str, citations: tuple[Citation, ...], out: list[bytes]) -> None:
        kind, logprobs = block.start.kind, written(block.logprobs, needs_bytes=True)
        where = {**self._where(), "content_index": len(self._content)}
        part = _part(kind, text, logprobs)
        if kind is BlockKind.TEXT:
            part["annotations"] = self._annotate(where, url_citations.written(citations, len(text)), out)
            self._tell("response.output_text.done", {**where, "text": text, "logprobs": logprobs}, out)
        else:
            self._tell("response.refusal.done", {**where, "refusal": text}, out)
        self._tell("response.content_part.done", {**where, "part": part}, out)
        self._content.append(part)

    def _annotate(self, where: _Fields, told: list[_Fields], out: list[bytes]) -> list[_Fields]:
        """The sources of the text that ends, each in an event of its own."""
        annotations = [{"type": "url_citation", **fields} for fields in told]
        for place, annotation in enumerate(annotations):
            fields = {**where, "annotation_index": place, "annotation": annotation}
            self._tell("response.output_text.annotation.added", fields, out)
        return annotations

    def _end_thought(self, text: str, opaque: Opaque | None, out: list[bytes]) -> None:
        item = self._output[-1]
        if text:
            part = {"type": "summary_text", "text": text}
            where = {**self._where(), "summary_index": 0}
            self._tell("response.reasoning_summary_text.done", {**where, "text": text}, out)
            self._tell("response.reasoning_summary_part.done", {**where, "part": part}, out)
            item["summary"] = [part]
        if opaque is not None:
            item["encrypted_content"] = _encrypted(opaque)
        self._tell("response.output_item.done", {**self._place(), "item": item}, out)

    def _end_call(self, text: str, opaque: Opaque | None, out: list[bytes]) -> None:
        item = self._output[-1]
        self._tell("response.function_call_arguments.done", {**self._where(), "arguments": text}, out)
        item.update(arguments=text, status="completed")
        self._tell("response.output_item.done", {**self._place(), "item": item}, out)
        if opaque is not None:  # an item of its own, as a call has no place for it, and clients send items back
            proof = CALL_PREFIX + wrap(opaque)[len(PREFIX) :]
            thought: _Fields = {
                "type": "reasoning",
                "id": self._item_id("rs"),
                "summary": [],
                "encrypted_content": proof,
            }
            self._start_item(thought, out)
            self._tell("response.output_item.done", {**self._place(), "item": thought}, out)

    def _close_message(self, status: str, out: list[bytes]) -> None:
        message, self._message = self._message, None
        if message is not None:
            message.update(status=status, content=self._content)
            self._tell("response.output_item.done", {**self._place(), "item": message}, out)

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        self._reason = _INCOMPLETE.get(finish.reason)
        self._status = "completed" if self._reason is None else "incomplete"
        self._close_message(self._status, out)
        self._tell(f"response.{self._status}", {"response": self.response()}, out)

    def _cut(self) -> None:
        """The item that was being written stays as it is: nobody is told that it is done, least of all half a call."""
        block = self._block
        if self._message is not None:
            content = list(self._content)
            if block is not None:
                tokens = written(block.logprobs, needs_bytes=True)
                content.append(_part(block.start.kind, "".join(block.pieces), tokens))
            self._message.update(status="incomplete", content=content)
        elif block is not None and block.start.kind is BlockKind.TOOL_CALL:
            self._output[-1].update(status="incomplete", arguments="".join(block.pieces))

    def _place(self) -> _Fields:
        return {"output_index": len(self._output) - 1}

    def _where(self) -> _Fields:
        return {"item_id": self._output[-1]["id"], **self._place()}

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{self._suffix}_{len(self._output)}"

    def _tell(self, name: str, fields: Mapping[str, object], out: list[bytes]) -> None:
        data = _ENCODE.encode({"type": name, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        out.append(sse.event(data, name.encode()))


def write_reply(reply: Reply, opening: Opening) -> bytes:
    """A whole answer as a JSON body: what the stream of it would end with."""
    writer = Writer(opening)
    writer.write(unfold(reply))
    return _ENCODE.encode(writer.response())


def _part(kind: BlockKind, text: str, logprobs: list[_Fields]) -> _Fields:
    if kind is BlockKind.TEXT:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
    return {"type": "refusal", "refusal": text}


def _encrypted(opaque: Opaque) -> object:
    """The proof of a thought: OpenAI's own as it came, another's wrapped. One of ours from further up is another's."""
    if opaque.dialect == NAME and not opaque.raw.startswith(b'"' + PREFIX.encode()):
        return msgspec.Raw(opaque.raw)
    return wrap(opaque)


def _usage(usage: Usage | None) -> _Fields | None:
    """The usage. The dialect has no word for a count that is unknown: there it is 0, and with none at all null."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    told: _Fields = {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": given + made,
    }
    if usage.cost_nano is not None:
        told["cost"] = msgspec.Raw(f"{Decimal(usage.cost_nano).scaleb(-9):f}".encode())
    return told
