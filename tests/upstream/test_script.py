"""The builders make the bytes that providers send."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline.dialects.sse import Framer
from trunkline.upstream.script import (
    End,
    Framing,
    Script,
    bad_gzip,
    chat_stream,
    chat_whole,
    empty,
    error_in_200,
    error_midstream,
    html,
    json_error,
    null,
    openrouter_error,
    openrouter_stream,
    transcript,
)

TRANSCRIPTS = Path(__file__).parents[1] / "dialects" / "transcripts" / "openai_chat"


def sent(script: Script) -> bytes:
    return b"".join(script.writes())


def header(script: Script, name: str) -> str | None:
    lines = script.head_bytes(keep_alive=True).decode().split("\r\n")
    return next((line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}: ")), None)


def chunks(script: Script) -> list[dict[str, Any]]:
    """The events of a stream that hold JSON."""
    return [msgspec.json.decode(frame.data) for frame in Framer().feed(sent(script)) if frame.data != b"[DONE]"]


def test_a_stream_of_openai_chat_to_the_byte() -> None:
    same = b'{"id":"chatcmpl-scripted","object":"chat.completion.chunk","created":1767225600,"model":"scripted-1",'
    assert chat_stream(["Hé"], usage=(3, 1)).body == (
        b"data: "
        + same
        + b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
        b"data: " + same + '"choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}]}\n\n'.encode(),
        b"data: " + same + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: " + same + b'"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n',
        b"data: [DONE]\n\n",
    )


def test_everything_around_the_text_of_a_stream_can_be_left_out() -> None:
    bare = chat_stream(["one", "two"], finish=None, usage=None, done=False, role_chunk=False)
    assert [chunk["choices"][0]["delta"] for chunk in chunks(bare)] == [{"content": "one"}, {"content": "two"}]
    assert len(bare.body) == 2


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_every_line_of_a_stream_can_end_otherwise(newline: bytes) -> None:
    script = chat_stream(["one\ntwo"], comments=["ping"], newline=newline)
    assert sent(script) == sent(chat_stream(["one\ntwo"], comments=["ping"])).replace(b"\n", newline)
    assert chunks(script) == chunks(chat_stream(["one\ntwo"]))


def test_comments_come_first() -> None:
    assert chat_stream(["one"], comments=["ping", ""]).body[:2] == (b": ping\n\n", b": \n\n")


def test_openrouter_says_who_serves_and_what_it_cost() -> None:
    script = openrouter_stream(["Hello"], reasoning=["Hm"], cost=0.95)
    assert sent(script).startswith(b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: ")
    thought, text, finish, last = chunks(script)
    assert {chunk["provider"] for chunk in (thought, text, finish, last)} == {"OpenAI"}
    assert thought["choices"][0]["delta"] == {"role": "assistant", "content": "", "reasoning": "Hm"}
    assert text["choices"][0]["native_finish_reason"] is None
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["choices"][0]["native_finish_reason"] == "completed"
    assert (last["choices"], last["usage"]["cost"]) == ([], 0.95)
    assert header(script, "x-generation-id") == "gen-scripted"
    assert header(script, "content-type") == "text/event-stream"


@pytest.mark.parametrize("code", [429, "server_error"])
def test_an_error_midstream_has_the_documented_form(code: int | str) -> None:
    script = error_midstream(["Hello"], code)
    _, error = chunks(script)
    assert error["error"] == {
        "code": code,
        "message": "Rate limit exceeded",
        "metadata": {"error_type": "rate_limit_exceeded"},
    }
    assert error["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    assert b"[DONE]" not in sent(script)


def test_an_error_can_be_the_first_event() -> None:
    assert [chunk["error"]["code"] for chunk in chunks(error_midstream([]))] == [429]


def test_a_whole_answer_has_its_length() -> None:
    script = chat_whole("Hello", usage=(3, 1), cost=0.5)
    answer = msgspec.json.decode(sent(script))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "cost": 0.5}
    assert header(script, "content-length") == str(len(sent(script)))


def test_errors_carry_their_status_and_headers() -> None:
    script = json_error(429, {"error": {"message": "slow down"}}, headers=(("retry-after", "3"),))
    assert (script.status, sent(script), header(script, "retry-after")) == (
        429,
        b'{"error":{"message":"slow down"}}',
        "3",
    )


def test_openrouter_repeats_the_status_as_the_code() -> None:
    script = openrouter_error(402, "Insufficient credits", error_type="payment_required")
    assert msgspec.json.decode(sent(script))["error"]["code"] == script.status == 402


def test_an_error_in_a_200_stands_alone_or_beside_the_text() -> None:
    assert msgspec.json.decode(sent(error_in_200()))["error"]["code"] == 502
    choice = msgspec.json.decode(sent(error_in_200(partial="Hel")))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hel", "error")
    assert choice["error"]["metadata"] == {"error_type": "provider_unavailable"}


def test_what_is_no_answer_at_all() -> None:
    assert header(html(), "content-type") == "text/html; charset=utf-8"
    assert (sent(empty()), header(empty(), "content-length")) == (b"", "0")
    assert sent(null()) == b"null"
    with pytest.raises(EOFError):
        gzip.decompress(sent(bad_gzip()))
    assert header(bad_gzip(), "content-encoding") == "gzip"


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.[sj]s*")), ids=lambda path: path.name)
def test_a_transcript_is_replayed_byte_by_byte(path: Path) -> None:
    script = transcript(path)
    assert list(script.writes()) == [bytes([byte]) for byte in path.read_bytes()]


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.sse")), ids=lambda path: path.name)
def test_every_recorded_stream_names_its_source_and_date(path: Path) -> None:
    first_line = path.read_text().partition("\n")[0]
    assert first_line.startswith((": recorded from ", ": composed from "))
    assert first_line[-10:-6] == "2026"


def test_a_transcript_with_headers_is_replayed_with_them() -> None:
    script = transcript(TRANSCRIPTS / "aimock-chat-429.http", slice_bytes=None)
    assert (script.status, header(script, "retry-after")) == (429, "1")
    assert header(script, "transfer-encoding") == "chunked"
    assert header(script, "connection") is None
    assert msgspec.json.decode(sent(script))["error"]["type"] == "rate_limit_error"


def test_a_script_can_be_cut_after_a_piece() -> None:
    script = chat_stream(["one", "two"])
    assert tuple(script.cut_after(2, End.STALL).writes()) == script.body[:2]


def test_a_cut_at_no_byte_sends_nothing() -> None:
    assert list(chat_stream(["one"]).but(cut_at=0, end=End.FIN).writes()) == []


def test_a_length_that_is_given_is_what_is_said() -> None:
    assert header(Script(body=(b"abc",), framing=Framing.LENGTH, content_length=7), "content-length") == "7"
