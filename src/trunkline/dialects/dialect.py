"""What a dialect is: `Ingress` towards the client, `Egress` towards the upstream, and the values between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from trunkline.core.catalog import Origin
from trunkline.core.price import Price
from trunkline.core.problem import invalid
from trunkline.dialects.sse import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.core.call import Call, Envelope, Facts, Need
    from trunkline.core.catalog import Provider, Target
    from trunkline.core.embedding import EmbedCall, EmbedReply
    from trunkline.core.problem import Problem
    from trunkline.core.reply import Event, Feature, Reply, Usage
    from trunkline.dialects.sse import Frame


MAX_TOP_LEVEL_KEYS: Final = 1000
"""No dialect has a tenth of these; a million of them would hold up everybody else."""


class _Key:
    """A top-level key, told to us one by one by the decoder: the only way to see a name that comes twice."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Keys:
    """The keys of one body, in the order in which the decoder meets them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def meet(self, _: type, name: Any) -> _Key:
        if len(self.names) == MAX_TOP_LEVEL_KEYS:
            raise invalid(f"The body has more than {MAX_TOP_LEVEL_KEYS:,} keys.")
        self.names.append(name)
        return _Key(name)


def top_level(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level keys of a JSON object, their values still raw.

    Raises Problem INVALID_REQUEST for anything else, and for a key that comes twice: two readers could take
    different ones.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise invalid(f"The body is not valid UTF-8 (byte {error.start}).") from None
    if (compact := _compact(body)) is not None:
        return compact
    met = _Keys()
    try:
        pairs = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=met.meet).decode(body)
    except msgspec.ValidationError:
        raise invalid("The body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        last = met.names[-1][:100] if met.names else None
        where = f" at or after `{last}`" if last else ""
        raise invalid(f"The body is not valid JSON{where}: {error}.", param=last) from None
    except RecursionError:
        raise invalid("The body is nested too deeply.") from None
    keys: dict[str, msgspec.Raw] = {}
    for key, value in pairs.items():
        if key.name in keys:
            raise invalid(f"The body holds `{key.name[:100]}` twice.", param=key.name[:100])
        keys[key.name] = value
    return keys


MAX_COMPACT_BYTES: Final = 128 * 1024
"""Over it, what is saved is nothing beside the decoding."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _compact(body: bytes) -> dict[str, msgspec.Raw] | None:
    """The keys of an object that is written without spaces, as most clients write it; None for any other body.

    Its keys and values, with the quotes, colons and commas between them, are then all that there is: were a key there
    twice, or spelled with an escape, they would be less.
    """
    if len(body) > MAX_COMPACT_BYTES:
        return None
    try:
        keys = _OBJECT.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    size = 1 + 4 * len(keys) + sum(map(len, keys)) + sum(map(len, keys.values()))
    return keys if keys and size == len(body) and len(keys) <= MAX_TOP_LEVEL_KEYS else None


class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it goes onto the wire. `path` is absolute; Host, Content-Length and Connection are the client's.

    `allow_private`: the operator wrote this very address, so it may be a loopback or private one. `dropped` names
    what the client asked for and this target cannot be told.
    """

    method: str
    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    allow_private: bool = False
    dropped: tuple[str, ...] = ()

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


class SeveralReader(EventReader, Protocol):
    """A reader of a dialect whose requests say how many answers are to come."""

    def expect(self, answers: int) -> None:
        """So many, where they are more than one."""
        ...


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer before its first event.

    `id` is the request's, `model` the client's name for the model, `created` the wall time in whole seconds. `price` is
    that of the one model which writes it, where it is known, `provider` who serves it, as people call it.
    """

    id: str
    model: str
    created: int
    wants_usage: bool = False
    price: Price | None = None
    provider: str | None = None


class Outlet(Protocol):
    """What writes one client's stream, and knows where in it a break has to be told."""

    def write_problem(self, problem: Problem) -> bytes:
        """The problem as the last event of the stream."""
        ...


class Forwarder(Outlet, Protocol):
    """Upstream frames -> the client's bytes, where both speak the same dialect. One for each stream."""

    def forward(self, frame: Frame) -> bytes:
        """The frame as it goes on, its payload untouched; empty for what clients of this dialect must not see."""
        ...

    def close(self) -> bytes:
        """The answer has come to its finish: what the client still has to see, such as a sentinel held back."""
        ...


class EventWriter(Outlet, Protocol):
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
    keep_alive: bytes
    """What may stand between two events, and means nothing to this dialect's clients."""
    takes_receipts: bool
    """Whether its clients pass over fields that they do not know, so that a receipt may ride in one."""
    unsaid: frozenset[Feature]
    """What its clients cannot be told of an answer: there is no word for it."""
    carries: Mapping[str, bool]
    """The request's headers (in lower case) that mean something to an upstream of the same dialect, and whether the
    client is told where one of another dialect does not get it."""

    def peek(self, body: bytes) -> Envelope:
        """The top-level keys that planning needs. Raises Problem INVALID_REQUEST naming the field."""
        ...

    def facts(self, envelope: Envelope) -> Facts:
        """What the request needs, by one scan that skips what it does not know. Never raises."""
        ...

    def provider_state(self, envelope: Envelope) -> str | None:
        """The path of the first field that names what a provider keeps for its account; None where none does."""
        ...

    def provider_tool(self, envelope: Envelope) -> str | None:
        """The path of the first field that has the provider run tools; None where none does."""
        ...

    def read_call(self, body: bytes) -> Call:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        ...

    def writer(self, opening: Opening) -> EventWriter:
        """A writer for one stream."""
        ...

    def write_problem(self, problem: Problem, *, as_json: bool = False, request_id: str | None = None) -> bytes:
        """The problem as the last event of a stream, or as a JSON body; with the request's id, where it has a place."""
        ...


class CountIngress(Ingress, Protocol):
    """An ingress whose clients may ask how many tokens a request has."""

    def write_count(self, tokens: int) -> bytes:
        """The answer to that, as a JSON body."""
        ...


class WholeIngress(Ingress, Protocol):
    """An ingress whose dialect upstreams speak, too: clients may want whole answers, and frames may pass through."""

    def write_reply(self, reply: Reply, opening: Opening) -> bytes:
        """A whole answer as a JSON body."""
        ...

    def forwarder(self, opening: Opening) -> Forwarder:
        """What passes an upstream's frames on, for one stream."""
        ...


class Egress(Protocol):
    """The upstream's side of a dialect."""

    name: str
    offers: frozenset[Need]
    """What its requests have a place for."""

    def write_call(self, call: Call, target: Target) -> WireRequest:
        """The request for this target. Raises Problem where the target cannot take an explicit value."""
        ...

    def splice(self, body: bytes, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body, which is of this dialect, with the target's model and what metering needs in it.

        Everything else goes on as the bytes that came.
        """
        ...

    def read_reply(self, body: bytes, target: Target) -> Reply:
        """A whole answer. Raises Problem for an error inside it and for what is no answer."""
        ...

    def read_events(self, body: bytes, target: Target) -> Sequence[Event]:
        """The same as the events that tell it, for those who only count."""
        ...

    def reader(self, target: Target) -> EventReader:
        """A reader for one stream of this target."""
        ...

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is no answer means: who is at fault, and whether to try again."""
        ...


class CountEgress(Egress, Protocol):
    """An egress whose upstreams count a request's tokens. `splice` writes the request where the envelope says COUNT."""

    def write_count_call(self, call: Call, target: Target) -> WireRequest:
        """The request for this target. Raises Problem where the target cannot take an explicit value."""
        ...

    def read_count(self, body: bytes, target: Target) -> int:
        """The answer, in tokens. Raises Problem for what is none."""
        ...


class EmbedIngress(Ingress, Protocol):
    """An ingress whose clients ask for embeddings: whole answers only."""

    def read_embed(self, body: bytes) -> EmbedCall:
        """The whole request. Raises Problem INVALID_REQUEST naming the field."""
        ...

    def write_embed_reply(self, reply: EmbedReply, call: EmbedCall, opening: Opening) -> bytes:
        """The answer as a JSON body."""
        ...


class EmbedEgress(Protocol):
    """What asks an upstream for embeddings."""

    name: str
    most_texts: int
    """How many texts one request may hold."""

    def write_embed(self, call: EmbedCall, target: Target) -> WireRequest:
        """The request for this target."""
        ...

    def splice_embed(self, envelope: Envelope, target: Target) -> WireRequest:
        """The client's own body, which is of this dialect, with the target's model in it."""
        ...

    def read_embed_reply(self, body: bytes, target: Target) -> EmbedReply:
        """The answer. Raises Problem for what is none."""
        ...

    def read_embed_usage(self, body: bytes, target: Target) -> Usage | None:
        """What an answer used that goes on as it came. Raises Problem for what is no answer."""
        ...

    def read_problem(self, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What an answer that is none means: who is at fault, and whether to try again."""
        ...


Headers = tuple[tuple[str, str], ...]

MAX_KNOWN_HEADERS: Final = 256


def post(
    target: Target,
    path: str,
    body: bytes,
    *,
    is_stream: bool = False,
    dropped: tuple[str, ...] = (),
    carried: Headers = (),
    defaults: Headers = (),
) -> WireRequest:
    """`POST {base}{path}` with a JSON body, the provider's own headers and its key.

    `carried` are the client's own headers; the operator's win over them, and both over the `defaults`.
    """
    provider = target.provider
    return WireRequest(
        method="POST",
        origin=provider.origin,
        path=f"{provider.path}{path}",
        headers=_KNOWN_HEADERS.of(provider, is_stream, carried, defaults),
        body=body,
        allow_private=provider.allow_private,
        dropped=dropped,
    )


class _KnownHeaders:
    """The headers of such requests. Owns those that were written lately: they are nearly always the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool, Headers, Headers], tuple[Provider, Headers]] = {}

    def of(self, provider: Provider, is_stream: bool, carried: Headers, defaults: Headers) -> Headers:  # noqa: FBT001
        # A row is known by its place in memory, which nothing else can have while it is kept here.
        key = (id(provider), is_stream, carried, defaults)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        if len(self._known) >= MAX_KNOWN_HEADERS:
            self._known.clear()
        headers = _headers(provider, is_stream=is_stream, carried=carried, defaults=defaults)
        self._known[key] = (provider, headers)
        return headers


_KNOWN_HEADERS: Final = _KnownHeaders()


def _headers(provider: Provider, *, is_stream: bool, carried: Headers, defaults: Headers) -> Headers:
    headers = {
        "content-type": "application/json",
        "accept": MEDIA_TYPE if is_stream else "application/json",
        **dict(defaults),
        **dict(carried),
    }
    written = {name: (name, value) for name, value in headers.items()}
    for name, value in (*provider.headers, *key_header(provider)):
        written.pop(name.lower(), None)
        written[name.lower()] = (name, value)
    return tuple(written.values())


def key_header(provider: Provider) -> tuple[tuple[str, str], ...]:
    """The header that carries the provider's key, in its dialect's own way or as its row says; none without a key."""
    if provider.credential is None:
        return ()
    key = provider.credential.reveal()
    name = provider.key_header or _KEY_HEADER.get(provider.dialect)
    return (("authorization", f"Bearer {key}"),) if name is None else ((name, key),)


_KEY_HEADER: Final = {"anthropic_messages": "x-api-key", "gemini": "x-goog-api-key"}
"""Where a dialect's vendor wants the key bare; elsewhere it is a bearer token."""


def splice(body: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """A JSON object with these top-level keys set to these raw values, or taken out (None); the rest as it came.

    New keys go to the end, in order. Raises Problem INVALID_REQUEST as `top_level` does.
    """
    return join(top_level(body), changes)


def join(keys: Mapping[str, msgspec.Raw], changes: Mapping[str, bytes | None]) -> bytes:
    """The same, for a body whose top-level keys were read already. What does not change is copied once."""
    pieces: list[bytes | msgspec.Raw] = []
    for name, raw in keys.items():
        value = changes.get(name, raw)
        if value is not None:
            pieces += (_MEMBER.get(name) or _member(name), value)
    if not keys.keys() >= changes.keys():
        for name, value in changes.items():
            if value is not None and name not in keys:
                pieces += (_MEMBER.get(name) or _member(name), value)
    if not pieces:
        return b"{}"
    pieces[0] = b"{" + bytes(pieces[0])[1:]
    pieces.append(b"}")
    return b"".join(pieces)


def _member(name: str) -> bytes:
    return b"," + msgspec.json.encode(name) + b":"


_MEMBER: Final = {
    name: _member(name)
    for name in ("max_tokens", "messages", "model", "n", "stream", "stream_options", "temperature", "tools", "top_p")
}
"""How those begin that nearly every body has."""
