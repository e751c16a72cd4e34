"""Tokens and their log probabilities pass from every dialect that has them to every one that has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dialects.answer_content import LOGPROBS, OPENAIS, TOKENS
from dialects.every_dialect import CHAT, DIALECTS, GEMINI, OPENING, read_stream
from dialects.features import decoded, encoded
from dialects.targets import frame, says, target
from trunkline.core.reply import Delta, Reply, fold
from trunkline.dialects.openai_chat.completions import OpenAICompletionsIngress
from trunkline.dialects.openai_chat.reader import Reader
from trunkline.dialects.token_logprobs import read_tokens, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.reply import Event


def test_a_list_of_tokens_is_read_and_written_as_it_was() -> None:
    assert read_tokens(msgspec.Raw(msgspec.json.encode(OPENAIS))) == TOKENS
    assert written(TOKENS) == OPENAIS


def test_bytes_that_nobody_said_are_the_letters_where_they_must_stand() -> None:
    (token,) = read_tokens(msgspec.Raw('[{"token":"é","logprob":-1}]'.encode()))
    assert token.utf8 is None
    assert written([token])[0]["bytes"] is None
    assert written([token], needs_bytes=True)[0]["bytes"] == [0xC3, 0xA9]


def test_a_token_without_others_keeps_its_probability() -> None:
    (token,) = read_tokens(msgspec.Raw(b'[{"token":"a","logprob":-1,"top_logprobs":null}]'))
    assert (token.token, token.logprob, token.others) == ("a", -1, ())


@pytest.mark.parametrize(
    "raw",
    [b"null", b"{}", b'"x"', b"[1]", b'[{"token":"a"}]', b'[{"token":"a","logprob":0,"bytes":[256]}]', b"[" * 10_000],
)
def test_what_is_no_list_of_tokens_costs_nothing_but_the_tokens(raw: bytes) -> None:
    assert read_tokens(msgspec.Raw(raw)) == ()


def counted(text: str, tokens: Iterable[Any], finish: str | None = None) -> dict[str, Any]:
    """A chunk of chat completions with its tokens."""
    chunk = says({"content": text}, finish)
    chunk["choices"][0]["logprobs"] = {"content": list(tokens)}
    return chunk


def read(*chunks: dict[str, Any]) -> list[Event]:
    reader = Reader(target())
    return [*(event for chunk in chunks for event in reader.read(frame(chunk))), *reader.close()]


def test_tokens_without_a_letter_belong_to_the_text_that_is_open() -> None:
    events = read(counted("Hi", OPENAIS[:1]), counted("", OPENAIS[1:], "stop"))
    assert [event for event in events if isinstance(event, Delta)] == [
        Delta(0, "Hi", TOKENS[:1]),
        Delta(0, "", TOKENS[1:]),
    ]


def test_tokens_that_come_before_their_text_wait_for_it() -> None:
    events = read(counted("", OPENAIS[:1]), counted("Hi.", OPENAIS[1:], "stop"))
    assert [event for event in events if isinstance(event, Delta)] == [Delta(0, "Hi.", TOKENS)]


@pytest.mark.parametrize("odd", [1, "x", [1], {"content": 5}, {"content": [{"token": 1}]}])
def test_tokens_that_cannot_be_read_do_not_cost_the_answer(odd: object) -> None:
    chunk = says({"content": "Hi"}, "stop")
    chunk["choices"][0]["logprobs"] = odd
    assert fold(read(chunk)).text == "Hi"


def test_gemini_tokens_that_cannot_be_read_do_not_cost_the_answer() -> None:
    dialect = DIALECTS[GEMINI]
    odd = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "logprobsResult": [1], "finishReason": "STOP"}]}
    assert fold(read_stream(dialect, [encoded(GEMINI, [odd])])).text == "Hi"


def test_the_older_completions_have_tokens_in_columns() -> None:
    ingress = OpenAICompletionsIngress()
    events = read_stream(DIALECTS[CHAT], [encoded(CHAT, LOGPROBS.stream[CHAT])])
    columns = {
        "tokens": ["Hi", "."],
        "token_logprobs": [-0.25, -0.5],
        "top_logprobs": [{"Hi": -0.25, "Yo": -2.5}, {}],
        "text_offset": [0, 2],
    }
    whole = msgspec.json.decode(ingress.write_reply(fold(events), OPENING))
    assert whole["choices"][0]["logprobs"] == columns
    told = [chunk["choices"][0]["logprobs"] for chunk in decoded(ingress.writer(OPENING).write(events))[:2]]
    assert [one["text_offset"] for one in told] == [[0], [2]]
    assert [one["tokens"] for one in told] == [["Hi"], ["."]]
    without = msgspec.json.decode(ingress.write_reply(Reply(), OPENING))
    assert without["choices"][0]["logprobs"] is None
