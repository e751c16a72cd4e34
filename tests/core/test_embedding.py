"""An embedding's call in parts, and their answers as one."""

from __future__ import annotations

import msgspec

from trunkline.core.embedding import EmbedCall, EmbedReply, joined
from trunkline.core.reply import Usage

VECTORS = tuple(msgspec.Raw(b"[%d]" % number) for number in range(3))


def test_the_parts_hold_every_text_once_and_in_order() -> None:
    call = EmbedCall(texts=("a", "b", "c", "d", "e"), dimensions=3, extras=("user",))
    parts = list(call.parts(2))
    assert [part.texts for part in parts] == [("a", "b"), ("c", "d"), ("e",)]
    assert {(part.dimensions, part.extras) for part in parts} == {(3, ("user",))}


def test_a_call_that_fits_is_its_only_part() -> None:
    call = EmbedCall(texts=("a", "b"))
    assert list(call.parts(2)) == [call]


def test_answers_are_joined_in_order_and_their_usage_is_added() -> None:
    first = EmbedReply(vectors=VECTORS[:2], usage=Usage(input_tokens=5, output_tokens=0, cost_nano=7))
    second = EmbedReply(vectors=VECTORS[2:], usage=Usage(input_tokens=2, output_tokens=0))
    assert joined([first, second]) == EmbedReply(vectors=VECTORS, usage=Usage(input_tokens=7, output_tokens=0))


def test_usage_that_one_answer_does_not_tell_is_unknown() -> None:
    told = EmbedReply(vectors=VECTORS, usage=Usage(input_tokens=5, output_tokens=0))
    assert joined([told, EmbedReply(vectors=VECTORS)]).usage is None
