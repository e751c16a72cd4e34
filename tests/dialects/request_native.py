"""How a request says things in each dialect: what its features are written with.

Sources: https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create, https://platform.claude.com/docs/en/api/messages,
https://ai.google.dev/api/generate-content; what is OpenRouter's, https://openrouter.ai/docs/api-reference/parameters
(read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dialects.every_dialect import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dialects.features import COMPLETIONS, SEED
from trunkline.core.call import (
    Message,
    Part,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.call import Call

PNG: Final = "iVBORw0KGgo="
PDF: Final = "JVBERi0xLjQK"
PICTURE: Final = "https://pictures.example/cat.png"
PAPER: Final = "https://papers.example/a.pdf"
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RAW_SCHEMA: Final = msgspec.json.encode(SCHEMA)


def said_by_user(*parts: Part) -> dict[str, Any]:
    """A call whose only message holds these parts."""
    return {"messages": (Message(Role.USER, parts),)}


def user(chat: Any = None, responses: Any = None, anthropic: Any = None, gemini: Any = None) -> dict[str, Any]:
    """The same message in each dialect that has a word for its parts."""
    native: dict[str, dict[str, Any]] = {}
    if chat is not None:
        native[CHAT] = {"messages": [{"role": "user", "content": chat}]}
    if responses is not None:
        native[RESPONSES] = {"input": [{"type": "message", "role": "user", "content": responses}]}
    if anthropic is not None:
        native[ANTHROPIC] = {"messages": [{"role": "user", "content": anthropic}]}
    if gemini is not None:
        native[GEMINI] = {"contents": [{"role": "user", "parts": gemini}]}
    return native


def has(part: Part) -> Callable[[Call], bool]:
    """Whether a call holds this part, whatever else it says of it."""

    def holds(call: Call) -> bool:
        return any(
            msgspec.structs.replace(found, extras=None) == part for found in call.parts() if type(found) is type(part)
        )

    return holds


def fields(
    *,
    seed: Any = None,
    chat: Any = None,
    responses: Any = None,
    anthropic: Any = None,
    gemini: Any = None,
    completions: Any = None,
) -> dict[str, dict[str, Any]]:
    """The dialects that have a word for it."""
    given = {
        SEED: seed,
        CHAT: chat,
        RESPONSES: responses,
        ANTHROPIC: anthropic,
        GEMINI: gemini,
        COMPLETIONS: completions,
    }
    return {name: told for name, told in given.items() if told is not None}


def config(**settings: Any) -> dict[str, Any]:
    """Gemini's settings of an answer."""
    return {"generationConfig": settings}
