"""A secret shows itself only when asked."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.core.caller import ANONYMOUS, Caller, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "sk-canary-0123456789"


class Holder(msgspec.Struct):
    key: Secret


def test_a_secret_reveals_itself_when_asked() -> None:
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        ascii,
        "{}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!s} {secret=}",
        lambda secret: f"{[secret]} { ({'key': secret}) }",
        lambda secret: repr(Holder(secret)),
        lambda secret: str(ValueError(secret)),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: msgspec.json.encode(Holder(secret), enc_hook=str).decode(),
        lambda secret: logging.LogRecord("n", 1, "p", 1, "%s %r", (secret, secret), None).getMessage(),
    ],
)
def test_a_secret_shows_as_three_stars(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(CANARY))
    assert "***" in shown
    assert "canary" not in shown


@pytest.mark.parametrize(
    "take",
    [
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda secret: msgspec.json.encode(Holder(secret)),
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        vars,
        iter,
        len,
        lambda secret: f"{secret:>40}",
    ],
)
def test_a_secret_cannot_be_taken_out_by_accident(take: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        take(Secret(CANARY))
    assert "canary" not in "".join(traceback.format_exception(caught.value)).replace("test_a_secret_cannot", "")


def test_secrets_compare_by_value_and_with_nothing_else() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert (bool(Secret("a")), bool(Secret(""))) == (True, False)


def test_nobody_in_particular_is_no_administrator() -> None:
    assert Caller() == Caller(user=ANONYMOUS, is_admin=False)
