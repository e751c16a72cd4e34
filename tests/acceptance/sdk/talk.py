"""What the tests say to every client and to every vendor, in words of no dialect."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

import msgspec


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call. `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class Called(msgspec.Struct, frozen=True):
    """A tool call. `id` is compared only where a test says so: some dialects have none."""

    name: str
    arguments: dict[str, Any]
    id: str = ""

    @property
    def what(self) -> tuple[str, dict[str, Any]]:
        """The call without its id."""
        return self.name, self.arguments


class Spent(msgspec.Struct, frozen=True):
    """Tokens. The cached ones are part of the input, the reasoning is part of the output. None: not told."""

    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None


class Picture(msgspec.Struct, frozen=True):
    """An image: behind an address, or its bytes."""

    media_type: str = "image/png"
    data: bytes = b""
    url: str | None = None

    @property
    def base64(self) -> str:
        """Its bytes as base64."""
        return b64encode(self.data).decode()

    @property
    def address(self) -> str:
        """Its address; a data: address where it has none."""
        return self.url or f"data:{self.media_type};base64,{self.base64}"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a client was told.

    `pieces` counts the deltas that brought text or arguments, 1 for a whole answer. `finish` is `stop`, `tools`,
    `length` or the client's own word. `history` is the conversation so far as this client holds it.
    """

    text: str = ""
    thoughts: str = ""
    calls: tuple[Called, ...] = ()
    pieces: int = 1
    finish: str = ""
    spent: Spent | None = None
    history: Any = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, for a driver to put into its client's own words.

    `after` is the answer that this turn follows, `results` are then those of its tool calls, in order, and `text` is
    not said. `effort` is a word, `budget` is tokens: how much to reason. `shows` asks for the thoughts, too.
    """

    model: str
    text: str = "Hi"
    system: str | None = None
    stream: bool = True
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    picture: Picture | None = None
    schema: dict[str, Any] | None = None
    effort: str | None = None
    budget: int | None = None
    shows: bool = False
    max_tokens: int = 4000
    after: Said | None = None
    results: tuple[str, ...] = ()


HELLO: Final = "Bonjour, wörld 你好 👋🏽 — done."

CITY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: Final = (
    Tool("get_weather", "The weather in a city", CITY),
    Tool("get_time", "The time in a city", CITY),
)
CALLS: Final = (
    Called("get_weather", {"city": "Paris", "unit": "c"}, "call_weather_1"),
    Called("get_time", {"city": "Zürich ☔", "unit": "f"}, "call_time_2"),
)
RESULTS: Final = ("18 °C, ☔", "12:30")

PIXEL: Final = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel, as PNG."""
