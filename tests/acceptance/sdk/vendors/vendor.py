"""What a vendor is to the tests: an upstream that answers in its own dialect, and says plainly what it heard."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from acceptance.sdk.talk import Called, Spent
from trunkline.upstream.script import Framing, Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.upstream.journal import ReceivedRequest


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model gives: thoughts with their proof, then text, then calls. `finish` None breaks it off there.

    `in_turns`: a stream has a piece of each call, then the next piece of each.
    """

    thoughts: tuple[str, ...] = ()
    proof: str | None = None
    text: tuple[str, ...] = ()
    calls: tuple[Called, ...] = ()
    in_turns: bool = False
    spent: Spent = Spent(9, 12)
    finish: str | None = "stop"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What reached a vendor. `results` are (the call's id, the tool's words). `pictures` are addresses.

    `proofs` are the signatures and encrypted thoughts in the conversation, in order.
    """

    stream: bool
    system: str = ""
    texts: tuple[str, ...] = ()
    tools: dict[str, dict[str, Any]]
    calls: tuple[Called, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    schema: dict[str, Any] | None = None
    pictures: tuple[str, ...] = ()
    effort: str | None = None
    budget: int | None = None
    thoughts: tuple[str, ...] = ()
    proofs: tuple[str, ...] = ()
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


class Dialect(Protocol):
    """One vendor's wire format."""

    name: str
    """The dialect's name in the router's configuration."""

    broken: str
    """The transcript of a stream that breaks off with an error, after a piece of text."""

    def streams(self, request: ReceivedRequest) -> bool:
        """Whether this request asks for a stream."""
        ...

    def stream(self, answer: Answer) -> Script:
        """The answer as a stream, every event a piece."""
        ...

    def whole(self, answer: Answer) -> Script:
        """The answer in one piece."""
        ...

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        """The body of an error of this status."""
        ...

    def told(self, request: ReceivedRequest) -> Told:
        """What this request says."""
        ...


def json_script(body: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Script:
    """An answer that is one JSON value."""
    return Script(
        status=status,
        headers=(("content-type", "application/json"), *headers),
        body=(msgspec.json.encode(body),),
        framing=Framing.LENGTH,
    )


def in_turns(calls: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The first piece of each, then the second one of each, and so on."""
    return [piece for turn in zip_longest(*calls) for piece in turn if piece is not None]


def halves(text: str) -> tuple[str, str]:
    """The text in two pieces."""
    middle = len(text) // 2
    return text[:middle], text[middle:]
