"""However the network cuts an answer, it stays the same, and one that was cut short is never an answer (T20, T06)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dialects.answer_features import ANSWERS
from dialects.every_dialect import DIALECTS, OPENING, finished_at, told, written
from dialects.features import INGRESSES, encoded
from sizes import SPLIT_STEP
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Block, BlockKind, Finish, FinishReason, Head, Reply, Usage, unfold
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dialects.every_dialect import Dialect
    from trunkline.core.reply import Event

WORDS = "naïve 漢字かな 한국어 👋🏽 👨‍👩‍👧‍👦 é \ufeffBOM \u2028 \x85 \x00 \U0010ffff"
REPLY = Reply(
    head=Head(id="a", model="m"),
    blocks=(
        Block(BlockKind.REASONING, WORDS),
        Block(BlockKind.TEXT, WORDS),
        Block(BlockKind.TOOL_CALL, '{"say":"' + WORDS.replace("\x00", "") + '"}', "call_1", "say"),
    ),
    usage=Usage(input_tokens=12, output_tokens=34),
    finish=Finish(FinishReason.TOOL_CALLS),
)
CORPUS = {name: written(dialect, unfold(REPLY)) for name, dialect in DIALECTS.items()}
BOM = "\ufeff".encode()
ENDINGS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}
STREAMS = [(name, path) for name, dialect in DIALECTS.items() for path in dialect.transcripts]


def named(value: object) -> str | None:
    return getattr(value, "stem", None)


def relayed(upstream: Dialect, client: str, pieces: Iterable[bytes]) -> bytes:
    """What a client of this dialect gets of a stream that comes in these pieces."""
    framer, reader = Framer(), upstream.egress.reader(upstream.target)
    writer = INGRESSES[client].writer(OPENING)
    out = b""
    for piece in pieces:
        events: list[Event] = []
        for frame in framer.feed(piece):
            events += reader.read(frame)
        out += writer.write(events)
    return out + writer.write(reader.close())


def forwarded(dialect: Dialect, pieces: Iterable[bytes]) -> bytes:
    """What a client gets where its provider speaks the same dialect."""
    framer, forwarder = Framer(), dialect.ingress.forwarder(OPENING)
    out = b"".join(forwarder.forward(frame) for piece in pieces for frame in framer.feed(piece))
    return out + forwarder.close()


def one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize("client", INGRESSES)
@pytest.mark.parametrize("name", DIALECTS)
def test_every_split_position_gives_every_client_the_same_bytes(name: str, client: str) -> None:
    dialect, data = DIALECTS[name], CORPUS[name]
    expected = relayed(dialect, client, [data])
    assert "漢字かな".encode() in expected
    assert "\ufffd".encode() not in expected
    for place in range(0, len(data), 1 if client == name else SPLIT_STEP):
        assert relayed(dialect, client, [data[:place], data[place:]]) == expected
    assert relayed(dialect, client, one_by_one(data)) == expected


@pytest.mark.parametrize("name", DIALECTS)
def test_every_split_position_forwards_the_same_bytes(name: str) -> None:
    dialect, data = DIALECTS[name], CORPUS[name]
    expected = forwarded(dialect, [data])
    assert "漢字かな".encode() in expected
    for place in range(len(data)):
        assert forwarded(dialect, [data[:place], data[place:]]) == expected
    assert forwarded(dialect, one_by_one(data)) == expected


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", DIALECTS)
def test_a_byte_order_mark_and_the_line_ends_make_no_difference(name: str, ending: str) -> None:
    dialect, data = DIALECTS[name], CORPUS[name]
    other = BOM + data.replace(b"\n", ENDINGS[ending])
    expected = relayed(dialect, name, [data])
    for place in range(0, len(other), SPLIT_STEP):
        assert relayed(dialect, name, [other[:place], other[place:]]) == expected
    assert relayed(dialect, name, one_by_one(other)) == expected


@pytest.mark.parametrize(("name", "path"), STREAMS, ids=named)
def test_a_transcript_tells_the_same_wherever_it_is_cut(name: str, path: Path) -> None:
    dialect, data = DIALECTS[name], path.read_bytes()
    expected = told(dialect, [data])
    for place in range(len(data)):
        assert told(dialect, [data[:place], data[place:]]) == expected


@pytest.mark.parametrize(("name", "path"), STREAMS, ids=named)
def test_a_transcript_tells_the_same_byte_by_byte_and_with_other_line_ends(name: str, path: Path) -> None:
    dialect, data = DIALECTS[name], path.read_bytes()
    expected = told(dialect, [data])
    for ending in ENDINGS.values():
        assert told(dialect, one_by_one(data.replace(b"\n", ending))) == expected


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xe6\xbc", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
@pytest.mark.parametrize("name", DIALECTS)
def test_bytes_that_are_no_text_are_a_problem_or_come_as_they_are_and_never_a_crash(name: str, bad: bytes) -> None:
    dialect = DIALECTS[name]
    data = encoded(name, ANSWERS[0].stream[name]).replace(b"Hi", bad)
    try:
        out = relayed(dialect, name, [data])
    except Problem as problem:
        assert problem.kind is Kind.UPSTREAM_INVALID  # noqa: PT017 - either way is right, nothing else is
    else:
        assert bad in out


RECORDED = [(name, path.stem, path.read_bytes()) for name, path in STREAMS]
MADE = [
    (name, feature.title, encoded(name, feature.stream[name]))
    for feature in ANSWERS
    for name in DIALECTS
    if name in feature.stream
]
ANSWERED = [
    pytest.param(name, data, id=f"{name}: {title}")
    for name, title, data in (*RECORDED, *MADE)
    if isinstance(told(DIALECTS[name], [data]), Reply)
]


@pytest.mark.parametrize(("name", "data"), ANSWERED)
def test_an_answer_that_ends_at_any_byte_before_its_finish_was_cut(name: str, data: bytes) -> None:
    dialect = DIALECTS[name]
    whole = finished_at(dialect, data)
    for place in range(whole):
        assert told(dialect, [data[:place]]) is Kind.TRUNCATED, f"after {place} of {whole} bytes"
    answer = told(dialect, [data[:whole]])
    assert isinstance(answer, Reply)
    assert answer.finish is not None
