"""pydantic-ai: one client, five of its models, through its direct interface, one request at a time."""

from __future__ import annotations

import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic
import openai

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.talk import Called, Said, Spent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google import genai
    from google.genai import types as google
    from pydantic_ai import exceptions
    from pydantic_ai.direct import model_request, model_request_stream
    from pydantic_ai.messages import (
        BinaryContent,
        ImageUrl,
        ModelRequest,
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
        ThinkingPart,
        ToolCallPart,
        ToolCallPartDelta,
        ToolReturnPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.models.openrouter import OpenRouterModel
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.profiles.anthropic import AnthropicModelProfile
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.google import GoogleProvider
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.providers.openrouter import OpenRouterProvider
    from pydantic_ai.tools import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model

    from acceptance.sdk.talk import Ask

_FINISH = {"tool_call": "tools"}


class PydanticAI:
    """What its models have in common. Each says how it is made, and how it is told to reason."""

    dialect = ""
    streams_arguments = True
    broken: type[Exception] = exceptions.ModelAPIError

    def __init__(self, url: str) -> None:
        self.tap = Tap()
        self._url = url

    async def close(self) -> None:
        await self.tap.http.aclose()

    def error(self, status: int) -> type[Exception]:
        return exceptions.ModelHTTPError

    def status(self, error: Any) -> int | None:
        return error.status_code

    def model(self, name: str) -> Model:
        """The model of this name."""
        raise NotImplementedError

    def thinking(self, ask: Ask) -> dict[str, Any]:
        """The settings that ask it to reason."""
        raise NotImplementedError

    async def ask(self, ask: Ask) -> Said:
        messages = _messages(ask)
        if not ask.stream:
            whole = await model_request(self.model(ask.model), messages, **self._options(ask))
            return _said(whole, messages)
        pieces = 0
        async with self.begun(ask) as stream:
            async for event in stream:
                pieces += _brings(event)
            return _said(stream.get(), messages, pieces)

    @asynccontextmanager
    async def begun(self, ask: Ask) -> AsyncGenerator[Any]:
        async with model_request_stream(self.model(ask.model), _messages(ask), **self._options(ask)) as stream:
            yield stream

    def _options(self, ask: Ask) -> dict[str, Any]:
        parameters = ModelRequestParameters(
            function_tools=[
                ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)
                for tool in ask.tools
            ]
        )
        if ask.schema is not None:
            parameters.output_mode = "native"
            parameters.output_object = OutputObjectDefinition(json_schema=ask.schema, name="city", strict=True)
        wanted = {"temperature": ask.temperature, "stop_sequences": list(ask.stop) or None, "seed": ask.seed}
        settings: Any = {name: value for name, value in wanted.items() if value is not None}
        settings |= {"max_tokens": ask.max_tokens, **self.thinking(ask)}
        return {"model_settings": settings, "model_request_parameters": parameters}


class PydanticChat(PydanticAI):
    """`OpenAIChatModel`."""

    dialect = "openai_chat"

    def model(self, name: str) -> Model:
        client = openai.AsyncOpenAI(base_url=f"{self._url}/v1", api_key="k", max_retries=0, http_client=self.tap.http)
        return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))

    def thinking(self, ask: Ask) -> dict[str, Any]:
        return {} if ask.effort is None else {"openai_reasoning_effort": ask.effort}


class PydanticOpenRouter(PydanticChat):
    """`OpenRouterModel`: chat completions with OpenRouter's own fields."""

    def model(self, name: str) -> Model:
        client = openai.AsyncOpenAI(
            base_url=f"{self._url}/api/v1", api_key="k", max_retries=0, http_client=self.tap.http
        )
        return OpenRouterModel(name, provider=OpenRouterProvider(openai_client=client))

    def thinking(self, ask: Ask) -> dict[str, Any]:
        if ask.budget is not None:
            return {"openrouter_reasoning": {"max_tokens": ask.budget}}
        return {} if ask.effort is None else {"openrouter_reasoning": {"effort": ask.effort}}


class PydanticResponses(PydanticAI):
    """`OpenAIResponsesModel`."""

    dialect = "openai_responses"

    def model(self, name: str) -> Model:
        client = openai.AsyncOpenAI(base_url=f"{self._url}/v1", api_key="k", max_retries=0, http_client=self.tap.http)
        profile = OpenAIModelProfile(openai_supports_encrypted_reasoning_content=True)
        return OpenAIResponsesModel(name, provider=OpenAIProvider(openai_client=client), profile=profile)

    def thinking(self, ask: Ask) -> dict[str, Any]:
        settings = {} if ask.effort is None else {"openai_reasoning_effort": ask.effort}
        return {**settings, "openai_reasoning_summary": "auto"} if ask.shows else settings


class PydanticAnthropic(PydanticAI):
    """`AnthropicModel`."""

    dialect = "anthropic_messages"

    def model(self, name: str) -> Model:
        client = anthropic.AsyncAnthropic(base_url=self._url, api_key="k", max_retries=0, http_client=self.tap.http)
        profile = AnthropicModelProfile(supports_json_schema_output=True)  # by its name it knows Anthropic's own only
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client), profile=profile)

    def thinking(self, ask: Ask) -> dict[str, Any]:
        if ask.budget is not None:
            return {"anthropic_thinking": {"type": "enabled", "budget_tokens": ask.budget}}
        if ask.effort is None:
            return {}
        thinking = {"type": "adaptive", **({"display": "summarized"} if ask.shows else {})}
        return {"anthropic_effort": ask.effort, "anthropic_thinking": thinking}


class PydanticGoogle(PydanticAI):
    """`GoogleModel`."""

    dialect = "gemini"
    streams_arguments = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        options = google.HttpOptions(base_url=url, httpx_async_client=self.tap.http)
        self._client = genai.Client(api_key="k", http_options=options)

    async def close(self) -> None:
        await self._client.aio.aclose()
        self._client.close()
        await self.tap.http.aclose()

    def model(self, name: str) -> Model:
        return GoogleModel(name, provider=GoogleProvider(client=self._client))

    def thinking(self, ask: Ask) -> dict[str, Any]:
        config: dict[str, Any] = {"include_thoughts": True} if ask.shows else {}
        if ask.budget is not None:
            config["thinking_budget"] = ask.budget
        if ask.effort is not None:
            config["thinking_level"] = ask.effort.upper()
        return {"google_thinking_config": config} if config else {}


def _messages(ask: Ask) -> list[ModelMessage]:
    if ask.after is not None:
        results = [
            ToolReturnPart(tool_name=call.name, content=result, tool_call_id=call.id)
            for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
        return [*ask.after.history, ModelRequest(parts=results)]
    content: Any = ask.text
    if ask.picture is not None and ask.picture.url is not None:
        content = [ask.text, ImageUrl(ask.picture.url)]
    elif ask.picture is not None:
        content = [ask.text, BinaryContent(ask.picture.data, media_type=ask.picture.media_type)]
    return [ModelRequest(parts=[UserPromptPart(content)], instructions=ask.system)]


def _brings(event: Any) -> bool:
    """Whether an event brings text or arguments."""
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return bool(text)
        case PartStartEvent(part=ToolCallPart(args=args)):
            return bool(args)
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return bool(text)
        case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=args)):
            return bool(args)
        case _:
            return False


def _said(response: ModelResponse, messages: list[ModelMessage], pieces: int = 1) -> Said:
    calls = tuple(
        Called(part.tool_name, part.args_as_dict(), part.tool_call_id)
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )
    finish = response.finish_reason or ""
    usage = response.usage
    reasoning = [
        usage.details[name]
        for name in ("reasoning_tokens", "thinking_tokens", "thoughts_tokens")
        if name in usage.details
    ]
    return Said(
        text="".join(part.content for part in response.parts if isinstance(part, TextPart)),
        thoughts="".join(part.content for part in response.parts if isinstance(part, ThinkingPart)),
        calls=calls,
        pieces=pieces,
        finish="tools" if calls and finish == "stop" else _FINISH.get(finish, finish),
        spent=Spent(
            usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, reasoning[0] if reasoning else None
        ),
        history=[*messages, response],
    )
