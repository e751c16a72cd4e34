"""What a scripted upstream plays for one request: `Script`, a value, and builders of the answers that occur.

Sources: https://platform.openai.com/docs/api-reference/chat and, for what OpenRouter adds (comments, provider and
cost fields, errors inside an answer), https://openrouter.ai/docs/api-reference/overview (read 2026-08-22).
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.dialects import sse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trunkline.upstream.journal import ReceivedRequest

Headers = tuple[tuple[str, str], ...]

CREATED: Final = 1_767_225_600
"""When every scripted answer was made, in Unix seconds: scripts have no clock."""


class End(StrEnum):
    """What happens after the last byte of the body that a script sends."""

    CLEAN = "clean"
    """The body ends as its framing says, and the connection serves the next request."""
    FIN = "fin"
    """The connection is closed at once: a chunked body has no last chunk."""
    RST = "rst"
    """The connection is reset."""
    STALL = "stall"
    """Silence, until the peer leaves."""


class Framing(StrEnum):
    """How the peer learns where the body ends."""

    CHUNKED = "chunked"
    LENGTH = "length"
    EOF = "eof"
    """By the end of the connection."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, as a server may give it: right, late, in odd pieces, cut, or wrong.

    `body` is written piece by piece; `slice_bytes` cuts it into pieces of that many bytes instead; `repeat` starts it
    again for ever. `cut_at` is the number of bytes of the body after which `end` happens; None means after all.
    `headers` replace the ones of the same name that the script has of its own: an event stream's content type and
    what the framing needs. `content_length` is a lie for Content-Length; `head` replaces status line and headers
    with these very bytes. Delays are in seconds: before the headers, then before the first piece, then between
    pieces.
    """

    status: int = 200
    headers: Headers = ()
    body: tuple[bytes, ...] = ()
    delay_headers_s: float = 0.0
    delay_first_s: float = 0.0
    delay_between_s: float = 0.0
    slice_bytes: int | None = None
    repeat: bool = False
    cut_at: int | None = None
    end: End = End.CLEAN
    framing: Framing = Framing.CHUNKED
    content_length: int | None = None
    head: bytes | None = None

    def __post_init__(self) -> None:
        if self.repeat and not any(self.body):
            raise ValueError("a body that repeats must not be empty")

    def but(self, **changes: Any) -> Script:
        """The same script with some fields changed: `chat_stream(["Hello"]).but(end=End.RST, cut_at=100)`."""
        return msgspec.structs.replace(self, **changes)

    def cut_after(self, pieces: int, end: End) -> Script:
        """The same script, with `end` after so many whole pieces of its body."""
        return self.but(cut_at=sum(len(piece) for piece in self.body[:pieces]), end=end)

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can serve another request after this answer."""
        closes = any(name.lower() == "connection" and value == "close" for name, value in self.headers)
        return self.end is End.CLEAN and self.framing is not Framing.EOF and not closes

    def head_bytes(self, *, keep_alive: bool) -> bytes:
        """Status line and headers."""
        if self.head is not None:
            return self.head
        own = {"content-type": sse.MEDIA_TYPE}
        if self.framing is Framing.CHUNKED:
            own["transfer-encoding"] = "chunked"
        elif self.framing is Framing.LENGTH:
            length = self.content_length
            own["content-length"] = str(sum(map(len, self.body)) if length is None else length)
        if not keep_alive and self.keeps_alive:
            own["connection"] = "close"
        given = {name.lower() for name, _ in self.headers}
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in own.items() if name not in given]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def writes(self) -> Iterator[bytes]:
        """The pieces of the body in order, none of them empty, up to `cut_at`."""
        left = self.cut_at
        while True:
            for piece in self._pieces():
                part = piece if left is None else piece[:left]
                if left is not None:
                    left -= len(part)
                if part:
                    yield part
                if left == 0:
                    return
            if not self.repeat:
                return

    def _pieces(self) -> Iterator[bytes]:
        if self.slice_bytes is None:
            yield from self.body
            return
        whole = b"".join(self.body)
        for start in range(0, len(whole), self.slice_bytes):
            yield whole[start : start + self.slice_bytes]

    def framed(self, piece: bytes) -> bytes:
        """A piece as it goes onto the wire."""
        if self.framing is Framing.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(piece), piece)
        return piece

    @property
    def last_bytes(self) -> bytes:
        """What the framing needs after the whole body."""
        return b"0\r\n\r\n" if self.framing is Framing.CHUNKED else b""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def chat_stream(
    pieces: Sequence[str],
    *,
    finish: str | None = "stop",
    usage: tuple[int, int] | None = (9, 12),
    cost: float | None = None,
    model: str = "scripted-1",
    done: bool = True,
    comments: Sequence[str] = (),
    role_chunk: bool = True,
    newline: bytes = b"\n",
) -> Script:
    """A stream as OpenAI sends it; each event is one piece of the body.

    `finish=None` and `done=False` leave out the last choice and `[DONE]`. `usage` is (prompt tokens, completion
    tokens), None for no usage chunk; `cost` is dollars. `comments` come first. `newline` ends every line.
    """
    chunk = _chunk("chatcmpl-scripted", model)
    payloads: list[dict[str, Any]] = []
    if role_chunk:
        payloads.append(chunk | _choice({"role": "assistant", "content": ""}))
    payloads += [chunk | _choice({"content": piece}) for piece in pieces]
    if finish is not None:
        payloads.append(chunk | _choice({}, finish))
    if usage is not None:
        payloads.append(chunk | {"choices": [], "usage": _usage(usage, cost)})
    return _stream(payloads, comments=comments, done=done, newline=newline)


def openrouter_stream(
    pieces: Sequence[str],
    *,
    reasoning: Sequence[str] = (),
    finish: str = "stop",
    native_finish: str = "completed",
    usage: tuple[int, int] = (9, 12),
    cost: float = 0.00042,
    model: str = "openai/gpt-4o",
    provider: str = "OpenAI",
    comments: int = 2,
) -> Script:
    """A stream as OpenRouter sends it: comments while it waits, who serves it, and what it cost, in the last message.

    `cost` is credits, that is dollars; `comments` is how many processing comments come first.
    """
    chunk = _chunk("gen-scripted", model) | {"provider": provider}
    deltas: list[dict[str, str]] = [{"content": "", "reasoning": thought} for thought in reasoning]
    deltas += [{"content": piece} for piece in pieces]
    payloads: list[dict[str, Any]] = [
        chunk | _choice({"role": "assistant", **delta}, native_finish_reason=None) for delta in deltas
    ]
    payloads.append(chunk | _choice({"role": "assistant", "content": ""}, finish, native_finish_reason=native_finish))
    payloads.append(chunk | {"choices": [], "usage": _usage(usage, cost)})
    script = _stream(payloads, comments=["OPENROUTER PROCESSING"] * comments)
    return script.but(headers=(("x-generation-id", "gen-scripted"),))


def error_midstream(
    pieces: Sequence[str],
    code: int | str = 429,
    error_type: str = "rate_limit_exceeded",
    *,
    message: str = "Rate limit exceeded",
    model: str = "openai/gpt-4o",
    provider: str = "OpenAI",
) -> Script:
    """A stream that breaks off with an error in OpenRouter's documented form, without `[DONE]`.

    `code` is a number on one of its pages, a word on another. With no pieces the error is the first event.
    """
    chunk = _chunk("gen-scripted", model) | {"provider": provider}
    payloads = [chunk | _choice({"role": "assistant", "content": piece}) for piece in pieces]
    error = _error(code, message, error_type)
    payloads.append(chunk | {"error": error} | _choice({"content": ""}, "error"))
    return _stream(payloads, done=False)


def chat_whole(
    text: str,
    *,
    finish: str = "stop",
    usage: tuple[int, int] | None = (9, 12),
    cost: float | None = None,
    model: str = "scripted-1",
) -> Script:
    """An answer that is not a stream. `usage` is (prompt tokens, completion tokens); `cost` is dollars."""
    message = {"role": "assistant", "content": text}
    answer = _chunk("chatcmpl-scripted", model) | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if usage is not None:
        answer["usage"] = _usage(usage, cost)
    return json_answer(answer)


def json_error(status: int, error_body: Mapping[str, Any], headers: Headers = ()) -> Script:
    """An error status with this JSON object as its body."""
    return json_answer(error_body, status=status, headers=headers)


def openrouter_error(status: int, message: str, *, error_type: str | None = None, headers: Headers = ()) -> Script:
    """An error before the stream, as OpenRouter sends it: the status is repeated as `code`."""
    return json_error(status, {"error": _error(status, message, error_type)}, headers)


def error_in_200(
    code: int | str = 502,
    error_type: str = "provider_unavailable",
    *,
    message: str = "Provider disconnected mid-stream",
    partial: str | None = None,
) -> Script:
    """A 200 that holds an error: alone, or, with `partial`, on a choice beside what was written until then."""
    error = _error(code, message, error_type)
    if partial is None:
        return json_answer({"error": error})
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": partial},
        "finish_reason": "error",
        "error": error,
    }
    return json_answer(_chunk("gen-scripted", "openai/gpt-4o") | {"object": "chat.completion", "choices": [choice]})


def html(status: int = 200) -> Script:
    """A web page: what a captive portal or somebody else's gateway answers."""
    page = b"<!doctype html><title>Bad gateway</title><h1>502 Bad Gateway</h1>\n"
    return _whole(page, "text/html; charset=utf-8", status=status)


def empty(status: int = 200) -> Script:
    """A body of no bytes."""
    return _whole(b"", "application/json", status=status)


def null() -> Script:
    """A 200 whose JSON is `null`."""
    return _whole(b"null", "application/json")


def bad_gzip() -> Script:
    """A body that calls itself gzip and breaks off after the first bytes of one."""
    start_of_gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56"
    return _whole(start_of_gzip, "application/json", headers=(("content-encoding", "gzip"),))


def transcript(path: Path, *, slice_bytes: int | None = 1) -> Script:
    """A recorded answer: a body (`.sse`, `.json`) or one with status line and headers (`.http`), byte by byte."""
    recorded = path.read_bytes()
    if path.suffix != ".http":
        media_type = "application/json" if path.suffix == ".json" else sse.MEDIA_TYPE
        return Script(headers=(("content-type", media_type),), body=(recorded,), slice_bytes=slice_bytes)
    head, _, body = recorded.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Script(
        status=int(status_line.split()[1]),
        headers=tuple((name, value) for name, value in fields if name.lower() not in _OF_THE_CONNECTION),
        body=(body,),
        slice_bytes=slice_bytes,
    )


_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


def model_list(ids: Sequence[str]) -> Script:
    """The answer to `GET /models`, with the fields of OpenAI and those of OpenRouter. Prices are dollars a token."""
    pricing = {"prompt": "0.000001", "completion": "0.000002", "request": "0", "image": "0"}
    models = [
        {
            "id": model_id,
            "object": "model",
            "created": CREATED,
            "owned_by": "scripted",
            "name": model_id,
            "context_length": 8192,
            "pricing": pricing,
        }
        for model_id in ids
    ]
    return json_answer({"object": "list", "data": models})


def key_info() -> Script:
    """OpenRouter's answer to `GET /key` for a key that it knows. Amounts are dollars."""
    data = {
        "label": "sk-or-v1-scr...ted",
        "limit": 100,
        "limit_remaining": 74.5,
        "limit_reset": "monthly",
        "usage": 25.5,
        "is_free_tier": False,
        "is_management_key": False,
    }
    return json_answer({"data": data})


class _Turn(msgspec.Struct):
    role: str
    content: Any = None


class _Ask(msgspec.Struct):
    messages: list[_Turn]
    model: str = "scripted-1"
    stream: bool = False


def echo(request: ReceivedRequest) -> Script:
    """What is answered without a script: the last message, said back; a stream where one was asked for."""
    try:
        ask = msgspec.json.decode(request.body, type=_Ask)
    except msgspec.DecodeError as error:
        return json_error(400, {"error": {"message": str(error), "type": "invalid_request_error", "code": None}})
    last = ask.messages[-1].content if ask.messages else ""
    words = ["You ", "said: ", *str(last).splitlines(keepends=True)]
    usage = (len(request.body) // 4, len(words))
    if ask.stream:
        return chat_stream(words, usage=usage, model=ask.model)
    return chat_whole("".join(words), usage=usage, model=ask.model)


def _chunk(answer_id: str, model: str) -> dict[str, Any]:
    return {"id": answer_id, "object": "chat.completion.chunk", "created": CREATED, "model": model}


def _choice(delta: Mapping[str, str], finish: str | None = None, **extra: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **extra}]}


def _usage(tokens: tuple[int, int], cost: float | None) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
    return usage if cost is None else usage | {"cost": cost}


def _error(code: int | str, message: str, error_type: str | None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    return error if error_type is None else error | {"metadata": {"error_type": error_type}}


def _stream(
    payloads: Sequence[Mapping[str, Any]],
    *,
    comments: Sequence[str] = (),
    done: bool = True,
    newline: bytes = b"\n",
) -> Script:
    body = [f": {comment}\n\n".encode() for comment in comments]
    body += [sse.event(msgspec.json.encode(payload)) for payload in payloads]
    if done:
        body.append(sse.DONE)
    # Compact JSON holds no line break, so every LF here ends a line.
    return Script(body=tuple(piece.replace(b"\n", newline) for piece in body))


def json_answer(payload: Mapping[str, Any], *, status: int = 200, headers: Headers = ()) -> Script:
    """A whole answer: this JSON object."""
    return _whole(msgspec.json.encode(payload), "application/json", status=status, headers=headers)


def _whole(body: bytes, content_type: str, *, status: int = 200, headers: Headers = ()) -> Script:
    return Script(
        status=status,
        headers=(("content-type", content_type), *headers),
        body=(body,),
        framing=Framing.LENGTH,
    )
