"""How difficult a request is taken to be: each sign, each threshold, and each figure that an operator may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.call import Facts, Need
from trunkline.core.difficulty import Scale
from trunkline.routing.difficulty import difficulty
from trunkline.settings.reading import SettingsError, load
from trunkline.settings.values import compile_catalog

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = Facts(messages=1, text_bytes=40, last_text="What is the capital of France?")

SIGNS: dict[str, tuple[Facts, Facts]] = {
    "long": (Facts(text_bytes=2_000), Facts(text_bytes=2_001)),
    "very_long": (Facts(text_bytes=20_000), Facts(text_bytes=20_001)),
    "code": (Facts(last_text="the function of the heart"), Facts(last_text="why?\n```\nx = 1\n```")),
    "argument": (Facts(last_text="Say it in one step"), Facts(last_text="Erkläre es Schritt für Schritt")),
    "script": (Facts(last_text="Straße, Łódź, 7 日本 days"), Facts(last_text="Где столица Франции? OK")),
    "thinking": (Facts(thinks=False), Facts(thinks=True)),
    "tools": (Facts(needs=frozenset({Need.SCHEMA})), Facts(needs=frozenset({Need.TOOLS}))),
    "schema": (Facts(needs=frozenset({Need.TOOLS})), Facts(needs=frozenset({Need.SCHEMA}))),
    "media": (Facts(needs=frozenset({Need.TOOLS})), Facts(needs=frozenset({Need.AUDIO}))),
}
"""Of each sign, a request without it and one with it."""

OTHER_FIGURES: dict[str, tuple[float, Facts, tuple[str, ...], tuple[str, ...]]] = {
    "long_bytes": (39, PLAIN, (), ("long",)),
    "very_long_bytes": (39, PLAIN, (), ("very_long",)),
    "script_share": (0.1, SIGNS["script"][0], (), ("script",)),
}
"""Of each threshold: another figure, a request, and its signs by the usual figure and by this one."""


def test_a_plain_question_shows_no_sign_and_asks_for_the_least() -> None:
    assert difficulty(PLAIN, Scale()) == (0, ())


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_is_seen_where_it_is_and_only_there(sign: str) -> None:
    without, with_it = SIGNS[sign]
    assert sign not in difficulty(without, Scale()).signs
    assert sign in difficulty(with_it, Scale()).signs


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_gives_the_points_that_the_operator_says(sign: str) -> None:
    _, facts = SIGNS[sign]
    nothing = dict.fromkeys(SIGNS, 0)
    for points, tier in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 2)):
        told = difficulty(facts, Scale(**{**nothing, sign: points}))
        assert told == (tier, (sign,) if points else ())


@pytest.mark.parametrize("figure", OTHER_FIGURES)
def test_each_threshold_may_be_moved(figure: str) -> None:
    value, facts, usual, moved = OTHER_FIGURES[figure]
    assert difficulty(facts, Scale()).signs == usual
    assert difficulty(facts, msgspec.structs.replace(Scale(), **{figure: value})).signs == moved


def test_the_tiers_begin_where_the_operator_says() -> None:
    facts = Facts(thinks=True, needs=frozenset({Need.TOOLS}))
    assert difficulty(facts, Scale()).tier == 1
    assert difficulty(facts, Scale(tier_1=4)).tier == 0
    assert difficulty(facts, Scale(tier_2=3)).tier == 2


def test_every_figure_has_a_test_here() -> None:
    figures = {field.name for field in msgspec.structs.fields(Scale)}
    assert figures == {*SIGNS, *OTHER_FIGURES, "tier_1", "tier_2"}


def test_the_operators_figures_are_the_catalogues(tmp_path: Path) -> None:
    """So they are taken over by a reload, as all of a catalogue is."""
    (tmp_path / "trunkline.toml").write_text("[auto]\nlong_bytes = 8_000\ntools = 0\ntier_2 = 3\n")
    catalog = compile_catalog(load({"GROQ_API_KEY": "k"}, tmp_path))
    assert catalog.scale == Scale(long_bytes=8_000, tools=0, tier_2=3)


def test_a_figure_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[auto]\ntier_1 = 5\nscript_share = 2\nlang = 1\n")
    with pytest.raises(SettingsError) as caught:
        load({"GROQ_API_KEY": "k"}, tmp_path)
    told = "\n".join(caught.value.mistakes)
    assert all(one in told for one in ("auto.lang is not a setting", "auto.script_share", "auto.tier_1 must not be"))
