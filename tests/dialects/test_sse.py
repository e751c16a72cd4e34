"""The framer gives the same frames however the network cuts the bytes, and bounds what it holds (T20 to T22)."""

from __future__ import annotations

import re
import time
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects import sse
from trunkline.dialects.sse import Frame, Framer

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB = 1024
MIB = 1024 * KIB

WORDS = "naïve 漢字かな交じり 한국어 👋🏽 👨‍👩‍👧‍👦 e\u0301 \ufeff \u2028 \x85 \x00 end".encode()
LINES = (
    b"data: " + WORDS,
    b": a comment",
    b"",
    b"event: ping",
    b"data:{}",
    b"",
    b"data: first",
    b"data:  second",
    b"data",
    b"data:third: " + WORDS,
    b"id: 7",
    b"retry: 10",
    b"unknown: field",
    b"",
    b"event: nothing",
    b"",
    b"data:",
    b"",
    b"data: : keepalive",
    b"",
    b"data: [DONE]",
    b"",
)
FRAMES = [
    Frame(WORDS),
    Frame(b"{}", b"ping"),
    Frame(b"first\n second\n\nthird: " + WORDS),
    Frame(b""),
    Frame(b": keepalive"),
    Frame(b"[DONE]"),
]
ENDINGS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}
CORPUS = {name: b"".join(line + ending for line in LINES) for name, ending in ENDINGS.items()}
CORPUS["mixed"] = b"".join(line + (b"\r\n", b"\n", b"\r")[place % 3] for place, line in enumerate(LINES))


def fed(pieces: Iterable[bytes], limit: int = 16 * MIB) -> list[Frame]:
    framer = Framer(limit)
    return [frame for piece in pieces for frame in framer.feed(piece)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def reference(data: bytes) -> list[Frame]:
    """The specification, word by word, over the whole stream at once."""
    text = data.decode("latin-1").removeprefix("\xef\xbb\xbf")
    frames: list[Frame] = []
    buffer, name = "", ""
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        if line == "":
            if buffer != "":
                frames.append(Frame(buffer.removesuffix("\n").encode("latin-1"), name.encode("latin-1") or None))
            buffer, name = "", ""
            continue
        if line.startswith(":"):
            continue
        field, value = line, ""
        if ":" in line:
            field, value = line.split(":", 1)
            value = value.removeprefix(" ")
        if field == "event":
            name = value
        if field == "data":
            buffer += value + "\n"
    return frames


@pytest.mark.parametrize("ending", CORPUS)
def test_every_split_position_gives_the_same_frames(ending: str) -> None:
    data = CORPUS[ending]
    assert fed([data]) == FRAMES
    for place in range(len(data)):
        assert fed([data[:place], data[place:]]) == FRAMES


@pytest.mark.parametrize("ending", CORPUS)
def test_slices_of_one_byte_give_the_same_frames(ending: str) -> None:
    data = CORPUS[ending]
    assert fed(data[place : place + 1] for place in range(len(data))) == FRAMES


@pytest.mark.parametrize("ending", CORPUS)
def test_a_byte_order_mark_is_skipped_wherever_it_is_cut(ending: str) -> None:
    data = b"\xef\xbb\xbf" + CORPUS[ending]
    for place in range(6):
        assert fed([data[:place], data[place:]]) == FRAMES
    assert fed(data[place : place + 1] for place in range(len(data))) == FRAMES


def test_a_byte_order_mark_that_is_not_first_is_content() -> None:
    assert fed([b"data: \xef\xbb\xbfx\n\n"]) == [Frame(b"\xef\xbb\xbfx")]
    assert fed([b"\xef", b"\xbbdata: x\n\n"]) == []


TOKENS = (
    *(b"data", b"event", b"id", b":", b" ", b"x", b"\xef\xbb\xbf", "👨‍👩‍👧".encode(), b"\xff\x00"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"data: {}\n\n", b": ping\r\n"),
)


@given(
    tokens=st.lists(st.sampled_from(TOKENS), max_size=60),
    places=st.lists(st.integers(min_value=0, max_value=400), max_size=12),
)
@settings(deadline=None, max_examples=400)
def test_any_bytes_cut_anywhere_give_what_the_specification_gives(tokens: list[bytes], places: list[int]) -> None:
    data = b"".join(tokens)
    assert fed(cut(data, places)) == reference(data)


@given(data=st.binary(max_size=300), places=st.lists(st.integers(min_value=0, max_value=300), max_size=6))
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes_give_what_the_specification_gives(data: bytes, places: list[int]) -> None:
    assert fed(cut(data, places)) == reference(data)


def test_an_event_is_told_as_soon_as_its_blank_line_is_there() -> None:
    framer = Framer()
    assert framer.feed(b"data: a\r\n") == []
    assert framer.feed(b"\r") == [Frame(b"a")]
    assert framer.feed(b"\ndata: b\r\r") == [Frame(b"b")]


@pytest.mark.parametrize("tail", [b"data: cut", b"data: cut\n", b"event: e\ndata: cut\r\n", b": comment\n"])
def test_an_event_that_the_end_cuts_is_dropped(tail: bytes) -> None:
    assert fed([b"data: whole\n\n", tail]) == [Frame(b"whole")]


def test_an_event_name_does_not_outlive_its_event() -> None:
    assert fed([b"event: a\n\ndata: x\n\nevent: b\ndata: y\n\ndata: z\n\n"]) == [
        Frame(b"x"),
        Frame(b"y", b"b"),
        Frame(b"z"),
    ]


def test_the_last_of_two_event_names_counts_and_an_empty_one_is_none() -> None:
    assert fed([b"event: a\nevent: b\ndata: x\n\nevent: c\nevent:\ndata: y\n\n"]) == [Frame(b"x", b"b"), Frame(b"y")]


@pytest.mark.parametrize("size", [64 * KIB, 512 * KIB + 1, MIB + 1, 8 * MIB], ids=["64K", "512K+1", "1M+1", "8M"])
def test_a_large_event_passes_whole(size: int) -> None:
    data = b"data: " + b"x" * size + b"\n\n"
    (frame,) = fed(data[start : start + 64 * KIB] for start in range(0, len(data), 64 * KIB))
    assert len(frame.data) == size


def test_an_event_over_the_limit_is_an_error_and_not_an_end() -> None:
    framer = Framer(16 * MIB)
    piece = b"data: ".ljust(64 * KIB, b"x")
    for _ in range(16 * MIB // len(piece)):
        assert framer.feed(piece) == []
    with pytest.raises(Problem) as caught:
        framer.feed(b"x")
    assert caught.value.kind is Kind.UPSTREAM_INVALID
    assert caught.value.source is Source.UPSTREAM
    assert caught.value.retry is Retry.ELSEWHERE
    assert "16384 KiB" in caught.value.message


@given(
    size=st.integers(min_value=20, max_value=60), places=st.lists(st.integers(min_value=0, max_value=80), max_size=8)
)
@settings(deadline=None, max_examples=200)
def test_what_is_over_the_limit_does_not_depend_on_the_cuts(size: int, places: list[int]) -> None:
    data = b"data: ab\n\ndata: " + b"x" * (size - 6) + b"\n\n"
    if size + len("\n") <= 40:
        assert len(fed(cut(data, places), limit=40)) == 2
    else:
        with pytest.raises(Problem):
            fed(cut(data, places), limit=40)


@pytest.mark.parametrize("line", [b"data: xxxx\n", b"data:\n", b"data\r"])
def test_an_event_of_many_lines_is_bounded_too(line: bytes) -> None:
    with pytest.raises(Problem):
        fed([line] * 1000, limit=KIB)


def test_comments_and_events_in_plenty_are_no_large_event() -> None:
    assert fed([b": keep-alive\n"] * 1000, limit=KIB) == []
    assert len(fed([b"data: x\n\n" * 1000], limit=KIB)) == 1000


def test_a_large_event_costs_at_most_four_times_its_size_in_memory() -> None:
    size = 8 * MIB
    framer = Framer()
    piece = b"x" * 64 * KIB
    tracemalloc.start()
    framer.feed(b"data: ")
    for _ in range(size // len(piece)):
        framer.feed(piece)
    (frame,) = framer.feed(b"\n\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(frame.data) == size
    assert peak <= 4 * size


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"x" * KIB] * 8 * KIB, id="one line in many pieces"),
        pytest.param([b"data:x\r" * 150_000], id="many lines that end in CR in one piece"),
        pytest.param([b"data:x\n" * 150_000 + b"\r"], id="many lines that end in LF before a CR"),
        pytest.param([b"\r" * 64 * KIB] * 8, id="nothing but CR"),
    ],
)
def test_work_grows_with_the_bytes_and_not_with_their_square(pieces: list[bytes]) -> None:
    started = time.process_time()
    fed(pieces)
    assert time.process_time() - started < 2.0  # about 0.2; tens of seconds where it is quadratic


@given(text=st.text(max_size=50))
@settings(deadline=None)
def test_what_is_written_as_an_event_is_read_as_it_was(text: str) -> None:
    data = text.replace("\r", "").replace("\n", "").encode()
    assert fed([sse.KEEP_ALIVE, sse.event(data), sse.DONE]) == [Frame(data), Frame(b"[DONE]")]
