"""What a dialect is: `Ingress` towards the client, `Egress` towards the upstream, and the values between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trunkline.core.catalog import Origin
from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.core.call import Call, Envelope
    from trunkline.core.catalog import Target
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event
    from trunkline.dialects.sse import Frame


class _Key:
    """A top-level key, told to us one by one by the decoder: the only way to see a name that comes twice."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def _key(_: type, name: Any) -> _Key:
    return _Key(name)


_TOP_LEVEL = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=_key)


def top_level(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level keys of a JSON object, their values still raw.

    Raises Problem INVALID_REQUEST for anything else, and for a key that comes twice: two readers could take
    different ones.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"The body is not valid UTF-8 (byte {error.start}).") from None
    try:
        pairs = _TOP_LEVEL.decode(body)
    except msgspec.ValidationError:
        raise invalid("The body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        raise invalid(f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise invalid("The body is nested too deeply.") from None
    keys: dict[str, msgspec.Raw] = {}
    for key, value in pairs.items():
        if key.name in keys:
            raise invalid(f"The body holds `{key.name[:100]}` twice.", param=key.name[:100])
        keys[key.name] = value
    return keys


class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it goes onto the wire. `path` is absolute; Host, Content-Length and Connection are the client's.

    `allow_private`: the operator wrote this very address, so it may be a loopback or private one.
    """

    method: str
    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    allow_private: bool = False

    def __repr__(self) -> str:
        url = f"{self.origin.scheme}://{self.origin.authority}{self.path}"
        return f"WireRequest({self.method} {url}, {len(self.body)} bytes)"


class EventReader(Protocol):
    """Upstream frames -> events. One for each stream.

    `is_finished`: the answer is whole, only usage can still follow. `is_done`: the upstream has said its last word.
    """

    is_done: bool

    @property
    def is_finished(self) -> bool:
        """Whether a finish was seen."""
        ...

    def read(self, frame: Frame) -> Sequence[Event]:
        """The events of one frame; none for a comment or a keep-alive.

        Raises Problem for an error in the stream and for a frame that is not of this dialect.
        """
        ...

    def close(self) -> Sequence[Event]:
        """The upstream has ended cleanly: the events still due. Raises Problem TRUNCATED without a finish."""
        ...


class EventWriter(Protocol):
    """Events -> the client's bytes. One for each stream."""

    def write(self, events: Iterable[Event]) -> bytes:
        """The bytes that tell these events; empty where the dialect has no word for them.

        Raises Problem where the client's dialect tells a finish as an error.
        """
        ...


class Ingress(Protocol):
    """The client's side of a dialect."""

    name: str
    commits_on_reasoning: bool
    """Whether reasoning is content for this dialect's clients."""

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        ...

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        ...

    def writer(self) -> EventWriter:
        """A writer for one stream."""
        ...

    def write_problem(self, problem: Problem, *, as_json: bool = False) -> bytes:
        """The problem as the last event of a stream, or as a JSON body."""
        ...


class Egress(Protocol):
    """The upstream's side of a dialect."""

    name: str

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """The request for this target. Raises Problem where the target cannot take an explicit value."""
        ...

    def reader(self, target: Target) -> EventReader:
        """A reader for one stream of this target."""
        ...

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is no answer means: who is at fault, and whether to try again."""
        ...
