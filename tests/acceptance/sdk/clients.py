"""The clients of the matrix, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from acceptance.sdk.drivers.anthropic_messages import AnthropicMessages
from acceptance.sdk.drivers.google_genai import GoogleGenai
from acceptance.sdk.drivers.langchain import LangchainChat, LangchainResponses
from acceptance.sdk.drivers.openai_chat import OpenAIChat
from acceptance.sdk.drivers.openai_responses import OpenAIResponses
from acceptance.sdk.drivers.pydantic_ai import (
    PydanticAnthropic,
    PydanticChat,
    PydanticGoogle,
    PydanticOpenRouter,
    PydanticResponses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from acceptance.sdk.drivers.driver import Driver

CLIENTS: Final[Mapping[str, Callable[[str], Driver]]] = {
    "openai-chat": OpenAIChat,
    "openai-responses": OpenAIResponses,
    "anthropic": AnthropicMessages,
    "google-genai": GoogleGenai,
    "langchain-chat": LangchainChat,
    "langchain-responses": LangchainResponses,
    "pydantic-chat": PydanticChat,
    "pydantic-responses": PydanticResponses,
    "pydantic-anthropic": PydanticAnthropic,
    "pydantic-google": PydanticGoogle,
}

every_client = pytest.mark.parametrize("client", list(CLIENTS), indirect=True)
ALL: Final[Mapping[str, Callable[[str], Driver]]] = {**CLIENTS, "pydantic-openrouter": PydanticOpenRouter}
"""With those that only some tests use: OpenRouter's client insists on `provider`, which a verbatim answer of another
vendor of its dialect does not have."""
