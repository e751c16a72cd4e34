"""Every feature is kept, or dropped or refused by a name, in every dialect and direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dialects import embedding_features as embeddings
from dialects.answer_content import TEXT
from dialects.answer_features import ANSWERS
from dialects.every_dialect import DIALECTS
from dialects.features import (
    INGRESSES,
    TARGETS,
    Cell,
    Outcome,
    answer_in,
    answer_out,
    contains,
    request_in,
    request_out,
)
from dialects.request_features import REQUESTS

if TYPE_CHECKING:
    from dialects.embedding_features import EmbedFeature, VectorFeature
    from dialects.features import AnswerFeature, RequestFeature


def titled(value: object) -> str | None:
    return getattr(value, "title", None)


@pytest.mark.parametrize("name", INGRESSES)
@pytest.mark.parametrize("feature", REQUESTS, ids=titled)
def test_what_a_client_asks_for_is_held_or_named(feature: RequestFeature, name: str) -> None:
    assert request_in(feature, name).outcome is not Outcome.LOST


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("feature", REQUESTS, ids=titled)
def test_what_a_target_is_not_told_is_named(feature: RequestFeature, name: str) -> None:
    assert request_out(feature, name).outcome is not Outcome.LOST


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("feature", ANSWERS, ids=titled)
def test_what_an_upstream_says_is_held(feature: AnswerFeature, name: str) -> None:
    assert answer_in(feature, name).outcome in {Outcome.KEPT, Outcome.NO_WORD}


@pytest.mark.parametrize("name", INGRESSES)
@pytest.mark.parametrize("feature", ANSWERS, ids=titled)
def test_what_a_client_is_not_told_has_its_reason(feature: AnswerFeature, name: str) -> None:
    assert answer_out(feature, name).outcome is not Outcome.LOST


@pytest.mark.parametrize("feature", embeddings.REQUESTS, ids=titled)
def test_what_embeddings_are_asked_with_is_held_told_or_named(feature: EmbedFeature) -> None:
    cells = [embeddings.request_in(feature, name) for name in embeddings.CLIENTS]
    cells += [embeddings.request_out(feature, name) for name in embeddings.PROVIDERS]
    assert all(cell.outcome is not Outcome.LOST for cell in cells)


@pytest.mark.parametrize("feature", embeddings.ANSWERS, ids=titled)
def test_what_vectors_come_with_is_held_and_told(feature: VectorFeature) -> None:
    cells = [embeddings.answer_in(feature, name) for name in embeddings.PROVIDERS]
    cells += [embeddings.answer_out(feature, name) for name in embeddings.CLIENTS]
    assert all(cell.outcome is not Outcome.LOST for cell in cells)


def test_every_feature_stands_in_the_table_once() -> None:
    for features in (REQUESTS, ANSWERS, embeddings.REQUESTS, embeddings.ANSWERS):
        titles = [feature.title for feature in features]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_probe_finds_a_loss(name: str) -> None:
    stop = next(feature for feature in REQUESTS if feature.title == "stop sequences")
    forgetful = stop._replace(native={name: {}}, told={}, call={"stop": ()})
    assert request_in(forgetful._replace(call=stop.call), name).outcome is Outcome.LOST
    mute = stop._replace(native={name: {"stop": "never written"}}, told={}, call={})
    assert request_out(mute, name).outcome is Outcome.LOST
    deaf = TEXT._replace(holds=lambda reply: not reply.blocks)
    assert answer_in(deaf, name).outcome is Outcome.LOST
    silent = TEXT._replace(told={name: {"never": "told"}})
    assert answer_out(silent, name).outcome is Outcome.LOST


@pytest.mark.parametrize("name", INGRESSES)
def test_a_reason_that_no_longer_holds_is_found(name: str) -> None:
    assert answer_out(TEXT._replace(unsaid={name: "no word for it"}), name).outcome is Outcome.LOST


@pytest.mark.parametrize(
    ("whole", "part", "is_in"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, {"a": 1, "b": 2}], [1, {"b": 2}], True),
        ([1, 2], [1], False),
        (True, 1, False),
        (0.5, 0.5, True),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
    ],
)
def test_a_part_is_in_a_whole_that_says_all_of_it(whole: Any, part: Any, is_in: bool) -> None:
    assert contains(whole, part) is is_in
    assert contains(msgspec.json.decode(msgspec.json.encode(whole)), part) is is_in


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Cell(Outcome.KEPT), "kept"),
        (Cell(Outcome.KEPT, ("a",)), "kept less `a`"),
        (Cell(Outcome.KEPT, note="as text"), "kept: as text"),
        (Cell(Outcome.DROPPED, ("a", "b")), "dropped `a`, `b`"),
        (Cell(Outcome.NO_WORD), "-"),
    ],
)
def test_a_cell_says_what_became_of_it(cell: Cell, said: str) -> None:
    assert str(cell) == said
