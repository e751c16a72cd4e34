"""A provider that fails on purpose: one model for each thing that goes wrong with real ones, by name.

`trunkline demo --faults` puts it behind the router, so that people see what their own applications make of it.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.upstream import script
from trunkline.upstream.script import End, Framing, Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.upstream.journal import Journal, ReceivedRequest

TEXT: Final = (
    "Every word of this answer is scripted, no model has thought of it. "
    "It holds 日本語, a naïve café and an astronaut 👩🏽‍🚀, as these break where a character is cut. It ends here."
)
WORDS: Final = tuple(re.findall(r"\S+\s*", TEXT))
BEGUN: Final = 8
"""Words that come before an answer breaks off."""

SCRIPTED: Final = "scripted"
"""The model that plays what its request says."""

JOURNAL: Final = "journal"
"""The last part of the path under which the provider tells what has reached it."""

ENDLESS_S: Final = 0.1


class Group(StrEnum):
    """What is wrong with an answer, in general."""

    NOTHING = "Nothing wrong"
    LATE = "Late"
    BROKEN = "Broken off"
    REFUSED = "Refused"
    NO_ANSWER = "No answer at all"
    ODD = "Odd, but right"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `streams` and `wholes` are played in turns, for requests that stream and for those that do not.

    `status` is what a client of the router gets for a stream, `is_answer` whether that ends as a good answer does.
    `does` and `gets` say it for people: what the provider does, and what comes of that.
    """

    name: str
    group: Group
    does: str
    gets: str
    streams: tuple[Script, ...]
    wholes: tuple[Script, ...]
    status: int = 200
    is_answer: bool = False


FINE: Final = script.chat_stream(WORDS, usage=(9, len(WORDS))).but(delay_between_s=0.02)
FINE_WHOLE: Final = script.chat_whole(TEXT, usage=(9, len(WORDS))).but(delay_first_s=0.2)

_OPENING: Final = FINE.cut_after(1 + BEGUN, End.FIN)
_HALF: Final = FINE_WHOLE.but(cut_at=120)
_BUSY: Final = script.openrouter_error(503, "The provider is overloaded. Try again later.")
_MIDSTREAM: Final = script.error_midstream(WORDS[:BEGUN], 502, "provider_unavailable", message="The provider is gone.")
_BROKEN_JSON: Final = FINE.but(body=(*FINE.body[: 1 + BEGUN], b'data: {"choices":[{"delta":{"con\n\n'))
_NOTHING_SAID: Final = script.chat_stream([], usage=(9, 0))
_FOR_EVER: Final = script.chat_stream(["again "], finish=None, done=False, usage=None, role_chunk=False).but(
    repeat=True, delay_between_s=ENDLESS_S
)
_REDIRECT: Final = Script(status=302, headers=(("location", "http://127.0.0.1:9/elsewhere"),))
_LONG_EVENT: Final = "0123456789abcdef" * (1 << 16)

_SOMETIMES_SLOW_S: Final = (*[0.06] * 3, 0.2, 0.19, *[0.06] * 19, 2.0)
"""Two are a little late, so that what 95 of 100 keep to is well above the usual: a hedge then means the last one."""

FAULTS: Final = (
    Fault(
        name="fine",
        group=Group.NOTHING,
        does="answers, a word each 20 ms",
        gets="the whole answer",
        streams=(FINE,),
        wholes=(FINE_WHOLE,),
        is_answer=True,
    ),
    Fault(
        name="slow-first-token",
        group=Group.LATE,
        does="thinks for 2 s first",
        gets="the whole answer, after 2 s",
        streams=(FINE.but(delay_first_s=2),),
        wholes=(FINE_WHOLE.but(delay_first_s=2),),
        is_answer=True,
    ),
    Fault(
        name="slow",
        group=Group.LATE,
        does="says a word each 100 ms",
        gets="the whole answer",
        streams=(FINE.but(delay_between_s=0.1),),
        wholes=(FINE_WHOLE.but(delay_first_s=0.1 * len(WORDS)),),
        is_answer=True,
    ),
    Fault(
        name="sometimes-slow",
        group=Group.LATE,
        does="takes 2 s every 25th time",
        gets="the whole answer",
        streams=tuple(FINE.but(delay_first_s=late_s, delay_between_s=0.0) for late_s in _SOMETIMES_SLOW_S),
        wholes=tuple(FINE_WHOLE.but(delay_first_s=late_s) for late_s in _SOMETIMES_SLOW_S),
        is_answer=True,
    ),
    Fault(
        name="silent",
        group=Group.LATE,
        does="never says anything",
        gets="an error after 3 s",
        streams=(FINE.but(delay_headers_s=3600),),
        wholes=(FINE_WHOLE.but(delay_headers_s=3600),),
        status=504,
    ),
    Fault(
        name="stall",
        group=Group.LATE,
        does="falls silent midway",
        gets="an error 3 s later",
        streams=(_OPENING.but(end=End.STALL),),
        wholes=(_HALF.but(end=End.STALL),),
    ),
    Fault(
        name="never-ending",
        group=Group.LATE,
        does="goes on for ever",
        gets="an error after 10 s",
        streams=(_FOR_EVER,),
        wholes=(script.null().but(body=(b" ",), repeat=True, delay_between_s=ENDLESS_S, framing=Framing.CHUNKED),),
    ),
    Fault(
        name="cut-mid-stream",
        group=Group.BROKEN,
        does="hangs up after eight words",
        gets="an error, never a false end",
        streams=(_OPENING,),
        wholes=(_HALF.but(end=End.FIN),),
    ),
    Fault(
        name="reset-mid-stream",
        group=Group.BROKEN,
        does="resets after eight words",
        gets="an error",
        streams=(_OPENING.but(end=End.RST),),
        wholes=(_HALF.but(end=End.RST),),
    ),
    Fault(
        name="error-mid-stream",
        group=Group.BROKEN,
        does="tells of an error midway",
        gets="that, in your client's dialect",
        streams=(_MIDSTREAM.but(delay_between_s=0.02),),
        wholes=(script.error_in_200(partial="".join(WORDS[:BEGUN])),),
    ),
    Fault(
        name="broken-json",
        group=Group.BROKEN,
        does="sends half an event midway",
        gets="an error",
        streams=(_BROKEN_JSON,),
        wholes=(script.null().but(body=(b'{"choices":[{"message":{"con',)),),
    ),
    Fault(
        name="too-short",
        group=Group.BROKEN,
        does="stops at the limit of tokens",
        gets="finish_reason `length`",
        streams=(script.chat_stream(WORDS[:BEGUN], finish="length", usage=(9, BEGUN)).but(delay_between_s=0.02),),
        wholes=(script.chat_whole("".join(WORDS[:BEGUN]), finish="length", usage=(9, BEGUN)),),
        is_answer=True,
    ),
    Fault(
        name="overloaded",
        group=Group.REFUSED,
        does="answers 503",
        gets="an error, after three attempts",
        streams=(_BUSY,),
        wholes=(_BUSY,),
        status=502,
    ),
    Fault(
        name="overloaded-then-fine",
        group=Group.REFUSED,
        does="answers 503 and well, in turns",
        gets="the whole answer, asked twice",
        streams=(_BUSY, FINE),
        wholes=(_BUSY, FINE_WHOLE),
        is_answer=True,
    ),
    Fault(
        name="rate-limited",
        group=Group.REFUSED,
        does="answers 429 with Retry-After: 2",
        gets="the same; for 2 s nobody asks",
        streams=(script.openrouter_error(429, "Too many requests.", headers=(("retry-after", "2"),)),),
        wholes=(script.openrouter_error(429, "Too many requests.", headers=(("retry-after", "2"),)),),
        status=429,
    ),
    Fault(
        name="key-refused",
        group=Group.REFUSED,
        does="answers 401 to the router's key",
        gets="an error that says whose key",
        streams=(script.openrouter_error(401, "User not found."),),
        wholes=(script.openrouter_error(401, "User not found."),),
        status=502,
    ),
    Fault(
        name="bad-request",
        group=Group.REFUSED,
        does="answers 400",
        gets="the provider's own words",
        streams=(script.openrouter_error(400, "temperature: must be at most 1"),),
        wholes=(script.openrouter_error(400, "temperature: must be at most 1"),),
        status=400,
    ),
    Fault(
        name="too-long",
        group=Group.REFUSED,
        does="finds the request too long",
        gets="the same; a route goes on",
        streams=(script.json_error(400, {"error": {"code": "context_length_exceeded", "message": "Too long."}}),),
        wholes=(script.json_error(400, {"error": {"code": "context_length_exceeded", "message": "Too long."}}),),
        status=400,
    ),
    Fault(
        name="error-in-200",
        group=Group.NO_ANSWER,
        does="answers 200, an error in it",
        gets="an error, after three attempts",
        streams=(script.error_in_200(),),
        wholes=(script.error_in_200(),),
        status=502,
    ),
    Fault(
        name="html",
        group=Group.NO_ANSWER,
        does="answers 200 with a web page",
        gets="an error, not the page",
        streams=(script.html(),),
        wholes=(script.html(),),
        status=502,
    ),
    Fault(
        name="empty",
        group=Group.NO_ANSWER,
        does="answers 200 without a body",
        gets="an error",
        streams=(script.empty(),),
        wholes=(script.empty(),),
        status=502,
    ),
    Fault(
        name="null",
        group=Group.NO_ANSWER,
        does="answers 200 with `null`",
        gets="an error",
        streams=(script.null(),),
        wholes=(script.null(),),
        status=502,
    ),
    Fault(
        name="bad-gzip",
        group=Group.NO_ANSWER,
        does="answers half a gzip",
        gets="an error",
        streams=(script.bad_gzip(),),
        wholes=(script.bad_gzip(),),
        status=502,
    ),
    Fault(
        name="redirect",
        group=Group.NO_ANSWER,
        does="answers 302 to somewhere else",
        gets="an error; the key goes nowhere",
        streams=(_REDIRECT,),
        wholes=(_REDIRECT,),
        status=502,
    ),
    Fault(
        name="nothing-said",
        group=Group.NO_ANSWER,
        does="finishes without a word",
        gets="an empty answer, asked twice",
        streams=(_NOTHING_SAID,),
        wholes=(script.chat_whole("", usage=(9, 0)),),
        is_answer=True,
    ),
    Fault(
        name="half-utf8",
        group=Group.ODD,
        does="sends a byte at a time",
        gets="the whole answer, unbroken",
        streams=(FINE.but(slice_bytes=1, delay_between_s=0.0),),
        wholes=(FINE_WHOLE.but(slice_bytes=1),),
        is_answer=True,
    ),
    Fault(
        name="pings",
        group=Group.ODD,
        does="sends comments first, and CRLF",
        gets="the whole answer",
        streams=(
            script.chat_stream(WORDS, comments=["PROCESSING"] * 3, newline=b"\r\n", usage=(9, len(WORDS))).but(
                delay_between_s=0.02
            ),
        ),
        wholes=(FINE_WHOLE,),
        is_answer=True,
    ),
    Fault(
        name="no-done",
        group=Group.ODD,
        does="ends without [DONE]",
        gets="the whole answer, and [DONE]",
        streams=(FINE.but(body=FINE.body[:-1]),),
        wholes=(FINE_WHOLE,),
        is_answer=True,
    ),
    Fault(
        name="long-event",
        group=Group.ODD,
        does="sends 1 MiB in one event",
        gets="the whole answer",
        streams=(script.chat_stream([_LONG_EVENT], usage=(9, 1 << 18)),),
        wholes=(script.chat_whole(_LONG_EVENT, usage=(9, 1 << 18)),),
        is_answer=True,
    ),
)


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request to the model `scripted` says under `script`: the fields of a Script, as JSON can have them.

    `text` is what it says, word by word; `body` are the body's very pieces in its place. `cut_after` is the number of
    words after which `end` happens.
    """

    text: str = TEXT
    body: tuple[str, ...] | None = None
    status: int = 200
    headers: dict[str, str] = {}
    delay_headers_s: float = 0.0
    delay_first_s: float = 0.0
    delay_between_s: float = 0.0
    slice_bytes: int | None = None
    repeat: bool = False
    cut_after: int | None = None
    end: End = End.CLEAN

    def script(self, *, streams: bool) -> Script:
        """What is played. Raises ValueError for what no server could do."""
        words = re.findall(r"\S+\s*", self.text)
        usage = (9, len(words))
        plain = script.chat_stream(words, usage=usage) if streams else script.chat_whole(self.text, usage=usage)
        if self.body is not None:
            plain = plain.but(body=tuple(piece.encode() for piece in self.body))
        if self.cut_after is not None:
            is_by_words = streams and self.body is None
            plain = plain.cut_after(self.cut_after + is_by_words, self.end)
        given = {name: getattr(self, name) for name in _AS_THEY_ARE}
        return plain.but(**given, headers=(*plain.headers, *self.headers.items()))


_AS_THEY_ARE: Final = (
    "status",
    "delay_headers_s",
    "delay_first_s",
    "delay_between_s",
    "slice_bytes",
    "repeat",
    "end",
)


class _Turn(msgspec.Struct):
    role: str = ""
    content: Any = None


class _Ask(msgspec.Struct):
    model: str = ""
    stream: bool = False
    messages: list[_Turn] = []
    script: Wish = Wish()


class FaultyProvider:
    """Chooses what is played for a request: a scripted upstream's `answer`. Owns whose turn it is of each model.

    `journal`, once it is given, is what `GET .../journal` tells of.
    """

    def __init__(self) -> None:
        self.journal: Journal | None = None
        self._faults = {fault.name: fault for fault in FAULTS}
        self._turns: Counter[str] = Counter()

    def answer(self, request: ReceivedRequest) -> Script:
        """The script of the model that is asked for."""
        if request.path.endswith(f"/{JOURNAL}") and self.journal is not None:
            return script.json_answer(_told(self.journal))
        try:
            ask = msgspec.json.decode(request.body, type=_Ask)
            if ask.model == SCRIPTED:
                return ask.script.script(streams=ask.stream)
        except (msgspec.DecodeError, ValueError) as error:
            return script.openrouter_error(400, f"script: {error}")
        fault = self._faults.get(ask.model)
        if fault is None:
            return script.openrouter_error(404, f"There is no model {ask.model[:100]!r}; GET /models lists them.")
        plays = fault.streams if ask.stream else fault.wholes
        turn = self._turns[ask.model]
        self._turns[ask.model] += 1
        play = plays[turn % len(plays)]
        return _rest(ask) if play in (FINE, FINE_WHOLE) else play


def _rest(ask: _Ask) -> Script:
    """The answer; where its beginning was given as the assistant's, what is left of it."""
    last = ask.messages[-1] if ask.messages else _Turn()
    begun = last.content if last.role == "assistant" and isinstance(last.content, str) else ""
    text = TEXT.removeprefix(begun)
    words = re.findall(r"\s*\S+\s*", text)
    if ask.stream:
        return FINE.but(body=script.chat_stream(words, usage=(9, len(words))).body)
    return FINE_WHOLE.but(body=script.chat_whole(text, usage=(9, len(words))).body)


TOLD: Final = 100
"""Plays that the journal tells of."""


def _told(journal: Journal) -> Mapping[str, Any]:
    """What has reached the provider, and how it ended: no keys, no prompts."""
    plays = [
        {
            "id": play.request.id,
            "path": play.request.path,
            "model": _model_of(play.request),
            "bytes_sent": play.bytes_sent,
            "ending": play.ending,
        }
        for play in journal.plays
        if play.request.method == "POST"
    ]
    counts = ("opened", "closed", "received", "active", "finished", "cancelled", "bytes_sent")
    return {**{name: getattr(journal, name) for name in counts}, "requests": plays[-TOLD:]}


def _model_of(request: ReceivedRequest) -> str | None:
    try:
        return msgspec.json.decode(request.body, type=_Ask).model
    except msgspec.DecodeError:
        return None
