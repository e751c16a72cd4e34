"""A request: `Envelope`, its shallow view, on which it is planned, and `Call`, the deep one, for translation."""

from __future__ import annotations

from enum import StrEnum

import msgspec

BYTES_PER_TOKEN = 4
"""A rough measure of text in tokens, for trimming a conversation; billing never uses it."""

MESSAGE_OVERHEAD_TOKENS = 8
"""What a chat template adds around one message, generously."""


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str


Part = Text
"""A piece of a message. A union, as soon as there is a second kind."""


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(part.text for part in self.parts)

    def estimated_tokens(self) -> int:
        """Its size in tokens, estimated from its bytes."""
        size = sum(len(part.text.encode(errors="replace")) for part in self.parts)
        return size // BYTES_PER_TOKEN + MESSAGE_OVERHEAD_TOKENS


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What planning needs of a request: its top-level keys, nothing deep.

    `model` is None where the client named none. `max_tokens` and `session_id` are None where it gave none.
    """

    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    session_id: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The request, canonical. Only an attempt that must translate builds one.

    `defaulted` names the fields that the client did not give: a target that cannot take a default gets a value
    that it can take, where it would refuse an explicit one.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool = True
    defaulted: frozenset[str] = frozenset()

    def preceded_by(self, earlier: tuple[Message, ...]) -> Call:
        """The same call, with the conversation so far in front of it."""
        return msgspec.structs.replace(self, messages=earlier + self.messages)

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
