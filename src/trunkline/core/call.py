"""A request: `Envelope`, its shallow view, on which it is planned, and `Call`, the deep one, for translation.

The hub is richer than any dialect: messages made of blocks. What it does not model rides along as raw JSON in `extras`,
tagged with its dialect; opaque continuations (a signature, an encrypted thought) ride on their block.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES_PER_TOKEN = 4
"""A rough measure of text in tokens, for trimming a conversation; billing never uses it."""

MESSAGE_OVERHEAD_TOKENS = 8
"""What a chat template adds around one message, generously."""

MEDIA_TOKENS = 1_000
"""What an image, a page or a clip counts for in that measure."""


class Operation(StrEnum):
    """What is asked for."""

    GENERATE = "generate"
    EMBED = "embed"
    COUNT = "count"


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A continuation that only its own dialect can read: raw JSON, to be sent back as it came."""

    dialect: str
    raw: bytes


class Extras(msgspec.Struct, frozen=True, gc=False):
    """Fields that the hub does not model, as raw JSON by name, for targets of the same dialect."""

    dialect: str
    fields: tuple[tuple[str, bytes], ...]


class Url(msgspec.Struct, frozen=True, gc=False, tag="url"):
    """Media behind an address, which the router never fetches."""

    url: str


class Inline(msgspec.Struct, frozen=True, gc=False, tag="inline"):
    """Media in the request itself; `data` is base64."""

    media_type: str
    data: str


class Stored(msgspec.Struct, frozen=True, gc=False, tag="stored"):
    """A file that a provider keeps for its account."""

    id: str


Media = Url | Inline | Stored
"""Where a picture's or a file's bytes are."""


class Text(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """Plain text. `is_cached`: the prompt up to here is worth caching."""

    text: str
    is_cached: bool = False
    extras: Extras | None = None


class Image(msgspec.Struct, frozen=True, gc=False, tag="image"):
    """A picture. `detail` is how closely to look: auto, low, high."""

    media: Media
    detail: str | None = None
    is_cached: bool = False
    extras: Extras | None = None


class Document(msgspec.Struct, frozen=True, gc=False, tag="document"):
    """A file, such as a PDF."""

    media: Media
    name: str | None = None
    is_cached: bool = False
    extras: Extras | None = None


class Audio(msgspec.Struct, frozen=True, gc=False, tag="audio"):
    """Sound. `data` is base64, `format` its container: wav, mp3."""

    data: str
    format: str
    extras: Extras | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool_call"):
    """The model asks for a tool. `arguments` is JSON text as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str
    opaque: Opaque | None = None
    is_cached: bool = False
    extras: Extras | None = None


class ToolResult(msgspec.Struct, frozen=True, gc=False, tag="tool_result"):
    """What a tool gave. `name` is the tool's, where the dialect says it."""

    call_id: str
    parts: tuple[Text | Image | Document, ...]
    name: str | None = None
    is_error: bool = False
    is_cached: bool = False
    extras: Extras | None = None


class Reasoning(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """What the model thought. `opaque` is its provider's proof of it; `text` may be empty where only that is known."""

    text: str
    opaque: Opaque | None = None
    is_redacted: bool = False
    extras: Extras | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False, tag="refusal"):
    """The model declined, in words."""

    text: str


Part = Text | Image | Document | Audio | ToolCall | ToolResult | Reasoning | Refusal


class Message(msgspec.Struct, frozen=True, gc=False):
    """One turn of a conversation. `name` tells speakers of the same role apart."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extras: Extras | None = None

    @property
    def text(self) -> str:
        """All that it says in words, without reasoning."""
        return "".join(part.text for part in self.parts if isinstance(part, Text | Refusal))

    def estimated_tokens(self) -> int:
        """Its size in tokens, estimated from its bytes."""
        return sum(_size(part) for part in self.parts) // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS


def _size(part: Part) -> int:
    """A block's size in bytes of text, or what it counts for."""
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text) | ToolCall(arguments=text):
            return len(text.encode(errors="replace"))
        case ToolResult(parts=parts):
            return sum(_size(inner) for inner in parts)
        case Image() | Document() | Audio():
            return MEDIA_TOKENS * BYTES_PER_TOKEN


class Need(StrEnum):
    """What a request asks of a model beyond text: a target that does not offer it is passed over in the plan."""

    IMAGES = "images"
    FILES = "files"
    AUDIO = "audio"
    TOOLS = "tools"
    SCHEMA = "schema"
    """An answer in the form of a JSON schema."""
    EMBEDDINGS = "embeddings"
    TOKENS = "tokens"
    """Embeddings of tokens, in place of text: they are one model's own, which a dialect has a place for or not."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What one bounded scan of a request tells. `text_bytes` counts its text.

    `last_text` is how the last message of the user begins, `opening` how the conversation does, up to and with the
    user's first words: at most `LAST_TEXT_CHARACTERS` each. `thinks`: it asks the model to think before it answers.
    """

    messages: int = 0
    needs: frozenset[Need] = frozenset()
    text_bytes: int = 0
    last_text: str = ""
    opening: str = ""
    thinks: bool = False


LAST_TEXT_CHARACTERS = 8 * 1024


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller narrows the plan: OpenRouter's `provider` object. Names are providers'; empty means any.

    `sort` is `price`, `throughput` or `latency`. The prices are the most that a million tokens may cost, in
    nano-dollars. `beyond` are the paths of the fields that only OpenRouter itself can honour.
    """

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    sort: str | None = None
    max_input_nano: int | None = None
    max_output_nano: int | None = None
    beyond: tuple[str, ...] = ()


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What planning needs of a request: its top-level keys, nothing deep.

    `model` is None where the client named none; `fallbacks` are those that it named to follow it. `max_tokens` and
    `session_id` are None where it gave none. `wants_usage`: it asked for usage in the stream. `is_kept`: the turn
    belongs to a session of chat history. `conversation` is the client's own name for it, where it has one. `keys` are
    the body's own, each value raw: what verbatim forwarding splices. `headers` are those of the request that its
    dialect carries on. `answers`: how many are to come in one stream.
    """

    model: str | None = None
    fallbacks: tuple[str, ...] = ()
    preferences: Preferences | None = None
    operation: Operation = Operation.GENERATE
    stream: bool = False
    max_tokens: int | None = None
    session_id: str | None = None
    wants_usage: bool = False
    is_kept: bool = False
    conversation: str | None = None
    keys: Mapping[str, msgspec.Raw] = {}
    headers: tuple[tuple[str, str], ...] = ()
    answers: int = 1


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call.

    `schema` is the JSON Schema of its arguments, raw; `own_schema` is what it was made of, where that was another form.
    """

    name: str
    description: str | None = None
    schema: bytes | None = None
    own_schema: Opaque | None = None
    is_strict: bool | None = None
    is_cached: bool = False
    extras: Extras | None = None


class ChoiceMode(StrEnum):
    """Whether the model calls a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether the model calls a tool, and which one: `name` for NAMED."""

    mode: ChoiceMode
    name: str | None = None


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """Structured output. `schema` is raw JSON Schema, None for any JSON object."""

    schema: bytes | None = None
    name: str | None = None
    description: str | None = None
    is_strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How much to reason. `effort`: minimal, low, medium, high, or as the dialect says; `budget_tokens` a limit of it.

    `is_on` False switches it off. `is_shown`: whether the client wants to see it; None leaves that to the target.
    """

    is_on: bool = True
    effort: str | None = None
    budget_tokens: int | None = None
    is_shown: bool | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The request, canonical. Only an attempt that must translate builds one. None: not said.

    `defaulted` names the fields that the client did not give: a target that cannot take a default gets a value
    that it can take, where it would refuse an explicit one. `metadata` is a raw JSON object.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool = True
    defaulted: frozenset[str] = frozenset()
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    format: Format | None = None
    thinking: Thinking | None = None
    user: str | None = None
    metadata: bytes | None = None
    service_tier: str | None = None
    extras: Extras | None = None

    def preceded_by(self, earlier: tuple[Message, ...]) -> Call:
        """The same call, with the conversation so far in front of it."""
        return msgspec.structs.replace(self, messages=earlier + self.messages)

    def parts(self) -> Iterator[Part]:
        """Every block of every message, those inside tool results included."""
        for message in self.messages:
            for part in message.parts:
                yield part
                if isinstance(part, ToolResult):
                    yield from part.parts

    def estimated_tokens(self) -> int:
        """The size of its prompt in tokens, estimated from its bytes: messages and tools."""
        tools = sum(
            len(tool.schema or b"") + len((tool.description or "").encode(errors="replace")) for tool in self.tools
        )
        return sum(message.estimated_tokens() for message in self.messages) + tools // BYTES_PER_TOKEN

    def trimmed_to(self, context_tokens: int) -> Call:
        """The same call with its oldest messages left out until it fits a model's context.

        System messages and the last message stay. Room is kept for the answer: `max_tokens`, or a quarter of
        the context if that is less.
        """
        room = context_tokens // 4
        if self.max_tokens is not None:
            room = min(self.max_tokens, room)
        budget = context_tokens - room
        sizes = [message.estimated_tokens() for message in self.messages]
        excess = sum(sizes) - budget
        if excess <= 0:
            return self
        kept: list[Message] = []
        last = len(self.messages) - 1
        for position, message in enumerate(self.messages):
            if excess > 0 and position != last and message.role is not Role.SYSTEM:
                excess -= sizes[position]
            else:
                kept.append(message)
        return msgspec.structs.replace(self, messages=tuple(kept))
