"""Garbage in: a value or a Problem out, in every dialect and direction; never another exception, never a hang (T24).

What is fuzzed is mostly right: samples of every feature with a few things changed, which get further than noise does.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialects.admission import admitted, translated
from dialects.answer_features import ANSWERS
from dialects.every_dialect import DIALECTS, OPENING
from dialects.features import BASE, INGRESSES, SEED, TARGETS, WHOLE, decoded, encoded
from dialects.hub_strategies import JSON_VALUES, assert_well_formed
from dialects.request_features import REQUESTS
from sizes import FUZZ_EXAMPLES
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Finish
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import Ingress

SLOWEST_S = 2.0
"""Of one example, at most some KiB: a hundred times what it takes, so that only a hang is slower."""

fuzzed = settings(
    max_examples=FUZZ_EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

Path = tuple[str | int, ...]


def paths_of(value: Any, path: Path = ()) -> list[Path]:
    """Where everything stands in a JSON value."""
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        inner = enumerate(cast("list[Any]", value))
    return [path, *(found for key, one in inner for found in paths_of(one, (*path, key)))]


def words_of(value: Any) -> set[str]:
    """Every key and every short string in a JSON value."""
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value)
        return set(known) | {word for one in known.values() for word in words_of(one)}
    if isinstance(value, list):
        return {word for one in cast("list[Any]", value) for word in words_of(one)}
    return {value} if isinstance(value, str) and len(value) < 40 else set()


ODD = st.one_of(
    JSON_VALUES,
    st.sampled_from([10**400, -1, 0.5, 1e308, 2**63, "", "\x00", "\ud7ff", "~tl1.eyJ", "data:;base64,"]),
    st.builds(list),
    st.builds(dict),
    st.integers(2, 400).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)


@st.composite
def mutated(draw: st.DrawFn, sample: Any, words: list[str]) -> Any:
    """The sample with up to four things in it changed."""
    value = json.loads(json.dumps(sample))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(paths_of(value)))
        if not path:
            continue
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        key = path[-1]
        match draw(st.integers(0, 5)):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[draw(st.sampled_from(words))] = holder.pop(key)
            case 1:
                holder.insert(key, holder[key])
            case 2:
                holder[key] = draw(st.sampled_from(words))
            case 3:
                holder[key] = [holder[key]]
            case 4 if isinstance(holder, dict):
                holder[draw(st.sampled_from(words))] = draw(ODD)
            case _:
                holder[key] = draw(ODD)
    return value


def encode(value: object) -> bytes:
    """JSON, also of numbers that are too long for most."""
    return json.dumps(value).encode()


@contextmanager
def refusing(*kinds: Kind) -> Generator[None]:
    """Whatever else comes out of this block than a Problem of these kinds fails the test."""
    try:
        yield
    except Problem as problem:
        if problem.kind not in kinds or not problem.message:
            raise


@contextmanager
def in_time() -> Generator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < SLOWEST_S


ASKED = {name: [{**BASE[name], **f.native[name]} for f in REQUESTS if name in f.native] for name in INGRESSES}
SAID = {name: [f.stream[name] for f in ANSWERS if name in f.stream] for name in DIALECTS}
for _name, _dialect in DIALECTS.items():
    for _path in _dialect.transcripts:
        SAID[_name].append(decoded(_path.read_bytes()))
WHOLES = {name: [{**WHOLE[name], **f.whole[name]} for f in ANSWERS if name in f.whole] for name in DIALECTS}
WORDS = {
    name: sorted(words_of(ASKED[name]) | (words_of(SAID[name]) | words_of(WHOLES[name]) if name in SAID else set()))
    for name in INGRESSES
}


@pytest.mark.parametrize("name", INGRESSES)
@fuzzed
@given(data=st.data())
def test_any_request_is_read_or_refused_and_what_is_read_can_be_told_or_is_refused(name: str, data: Any) -> None:
    pieces = data.draw(st.lists(st.sampled_from(ASKED[name]), min_size=1, max_size=3))
    body = encode(data.draw(mutated({key: value for piece in pieces for key, value in piece.items()}, WORDS[name])))
    with in_time():
        ask(name, body)


def ask(name: str, body: bytes) -> None:
    """Read a request in every way, and write it for every target. Only the caller's own mistakes may be a problem."""
    ingress = INGRESSES[name]
    with refusing(Kind.INVALID_REQUEST):
        envelope = ingress.peek(body)
        ingress.facts(envelope)
        if name in DIALECTS:
            dialect = DIALECTS[name]
            top_is_json(dialect.egress.splice(body, envelope, dialect.target).body)
    with refusing(Kind.INVALID_REQUEST, Kind.FORBIDDEN):
        admitted(ingress, body)
    with refusing(Kind.INVALID_REQUEST):
        call = translated(ingress, body)
        for egress, target in TARGETS.values():
            with refusing(Kind.INVALID_REQUEST):
                top_is_json(egress.write_call(call, target).body)


def top_is_json(body: bytes) -> None:
    assert isinstance(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), dict)


@pytest.mark.parametrize("name", DIALECTS)
@fuzzed
@given(data=st.data())
def test_any_stream_is_well_formed_events_or_a_problem_and_every_client_can_be_told(name: str, data: Any) -> None:
    events = data.draw(st.sampled_from(SAID[name]).flatmap(lambda sample: mutated(sample, WORDS[name])))
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=4))
    stream = b"".join(b"data: " + encode(event) + b"\n\n" for event in events)
    with in_time():
        read_and_tell(name, stream, places)


def read_and_tell(name: str, stream: bytes, places: list[int]) -> None:
    """Read a stream in pieces, and tell each of its events to a client of every dialect."""
    dialect = DIALECTS[name]
    framer, reader = Framer(), dialect.egress.reader(dialect.target)
    forwarder = dialect.ingress.forwarder(OPENING)
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    events: list[Event] = []
    with refusing(*Kind):
        for start, end in pairwise(edges):
            for frame in framer.feed(stream[start:end]):
                forwarder.forward(frame)
                events += reader.read(frame)
        events += reader.close()
        assert_well_formed(events)
    for ingress in INGRESSES.values():
        tell(ingress, events)


def tell(ingress: Ingress, events: list[Event]) -> None:
    """Tell events one by one. A finish may be told as an error, and so may arguments without end; nothing else."""
    writer = ingress.writer(OPENING)
    for event in events:
        with refusing(*(Kind if isinstance(event, Finish) else (Kind.UPSTREAM_INVALID,))):
            writer.write([event])
            continue
        return


@pytest.mark.parametrize("name", DIALECTS)
@fuzzed
@given(data=st.data())
def test_any_whole_answer_is_a_reply_or_a_problem_and_every_client_can_be_told(name: str, data: Any) -> None:
    body = encode(data.draw(st.sampled_from(WHOLES[name]).flatmap(lambda sample: mutated(sample, WORDS[name]))))
    dialect = DIALECTS[name]
    with in_time(), refusing(*Kind):
        reply = dialect.egress.read_reply(body, dialect.target)
        for client in DIALECTS.values():
            top_is_json(client.ingress.write_reply(reply, OPENING))


@pytest.mark.parametrize("name", DIALECTS)
@fuzzed
@given(
    body=JSON_VALUES.map(encode) | st.binary(max_size=60) | st.dictionaries(st.just("error"), ODD).map(encode),
    status=st.integers(100, 999),
)
def test_any_error_is_a_problem_that_says_something(name: str, body: bytes, status: int) -> None:
    dialect = DIALECTS[name]
    problem = dialect.egress.read_problem(dialect.target, status, {"content-type": "application/json"}, body)
    assert problem.message


NOISE = st.binary(max_size=80) | st.lists(
    st.sampled_from(
        [b"data:", b"event:", b"{", b"}", b'"', b"[", b"]", b"\n\n", b"\r", b":", b",", b"\xff", b"0", b"e"]
    )
).map(b"".join)


@pytest.mark.parametrize("name", DIALECTS)
@fuzzed
@given(noise=NOISE, places=st.lists(st.integers(0, 80), max_size=3))
def test_noise_is_read_or_refused_wherever_it_stands(name: str, noise: bytes, places: list[int]) -> None:
    first = encoded(name, SAID[name][0][:2])
    for stream in (noise, first + noise, first + b"data: " + noise + b"\n\n"):
        read_and_tell(name, stream, places)
    whole = encode(BASE[name])
    for body in (noise, whole[:-1] + noise, b'{"model":"m","messages":[' + noise + b"]}"):
        ask(name, body)


@fuzzed
@given(noise=NOISE)
def test_noise_is_no_request_of_the_seeds(noise: bytes) -> None:
    ask(SEED, noise)
    ask(SEED, b'{"message":"Hi",' + noise + b"}")


@pytest.mark.parametrize("depth", [100, 5_000, 200_000])
@pytest.mark.parametrize("name", INGRESSES)
def test_deep_nesting_is_refused_or_carried_and_never_a_crash(name: str, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    base = encode(BASE[name])[:-1]
    for field in WORDS[name]:
        with in_time():
            ask(name, base + b"," + encode(field) + b":" + deep + b"}")
