"""The table of dialects: what every law, and the page of features, runs over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trunkline.core.caller import Secret
from trunkline.core.catalog import Model, Origin, Provider, Quirks, Target
from trunkline.core.problem import Problem
from trunkline.core.reply import Event, Reply, fold
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages, AnthropicMessagesIngress
from trunkline.dialects.dialect import Opening
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.dialects.openai_responses.sides import OpenAIResponses
from trunkline.dialects.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.problem import Kind
    from trunkline.dialects.dialect import Egress, WholeIngress

CHAT: Final = "openai_chat"
RESPONSES: Final = "openai_responses"
ANTHROPIC: Final = "anthropic_messages"
GEMINI: Final = "gemini"

OPENING = Opening(id="req-1", model="fast", created=1_795_500_000, wants_usage=True)

GENEROUS = Quirks(
    reasoning_key="reasoning",
    reasoning_echo_key="reasoning",
    takes_cache_control=True,
    takes_top_k=True,
    accepts_provider_object=True,
)
"""A provider of chat completions that takes whatever any of them takes: OpenRouter's row."""


class Dialect(NamedTuple):
    """Both sides of one dialect, and a target that takes all that it can say."""

    name: str
    ingress: WholeIngress
    egress: Egress
    target: Target

    @property
    def transcripts(self) -> list[Path]:
        """Its recorded streams."""
        return sorted((Path(__file__).parent / "transcripts" / self.name).glob("*.sse"))


def target_of(dialect: str, **fields: Any) -> Target:
    """A model at a provider of this dialect, with whatever differs."""
    row: dict[str, Any] = {
        "name": "somewhere",
        "label": "Somewhere",
        "dialect": dialect,
        "origin": Origin("https", "api.example", 443),
        "path": "/v1",
        "credential": Secret("sk-canary-0123456789abcdef"),
    }
    return Target(Provider(**{**row, **fields}), Model(id="some-model"))


DIALECTS = {
    "openai_chat": Dialect("openai_chat", OpenAIChatIngress(), OpenAIChat(), target_of("openai_chat", quirks=GENEROUS)),
    "openai_responses": Dialect(
        "openai_responses", OpenAIResponses(), OpenAIResponses(), target_of("openai_responses")
    ),
    "anthropic_messages": Dialect(
        "anthropic_messages", AnthropicMessagesIngress(), AnthropicMessages(), target_of("anthropic_messages")
    ),
    "gemini": Dialect("gemini", GeminiIngress("some-model", stream=True), Gemini(), target_of("gemini")),
}
"""Every dialect that has two sides. The seed's own has no egress; its tests are `test_simple_*`."""


def read_stream(dialect: Dialect, pieces: Iterable[bytes]) -> list[Event]:
    """Everything that the reader makes of a stream that ends after these pieces. Raises its Problem."""
    framer, reader = Framer(), dialect.egress.reader(dialect.target)
    events: list[Event] = []
    for piece in pieces:
        for frame in framer.feed(piece):
            events += reader.read(frame)
    return events + list(reader.close())


def told(dialect: Dialect, pieces: Iterable[bytes]) -> Reply | Kind:
    """The reply that a stream tells, or how it fails."""
    try:
        return fold(read_stream(dialect, pieces))
    except Problem as problem:
        return problem.kind


def written(dialect: Dialect, events: Iterable[Event]) -> bytes:
    """The stream that tells these events to a client of this dialect."""
    return dialect.ingress.writer(OPENING).write(events)


def finished_at(dialect: Dialect, data: bytes) -> int:
    """How many bytes of this stream must come before it is an answer."""
    framer, reader = Framer(), dialect.egress.reader(dialect.target)
    for place in range(len(data)):
        for frame in framer.feed(data[place : place + 1]):
            reader.read(frame)
        if reader.is_finished:
            return place + 1
    raise AssertionError("it never finishes")
