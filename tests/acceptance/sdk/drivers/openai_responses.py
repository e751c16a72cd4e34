"""openai-python, responses. Streams go through its own strict reader, which keeps the response as it grows."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.drivers.openai_chat import ERRORS
from acceptance.sdk.talk import Called, Said, Spent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from acceptance.sdk.talk import Ask

_DELTAS = {"response.output_text.delta", "response.function_call_arguments.delta"}


class OpenAIResponses:
    """`AsyncOpenAI().responses`, stateless: the thoughts are kept by the client, encrypted."""

    dialect = "openai_responses"
    streams_arguments = True
    broken: type[Exception] = openai.APIError

    def __init__(self, url: str) -> None:
        self.tap = Tap()
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=self.tap.http)

    async def close(self) -> None:
        await self.client.close()

    def error(self, status: int) -> type[Exception]:
        return ERRORS[status]

    def status(self, error: Any) -> int | None:
        return error.status_code

    async def ask(self, ask: Ask) -> Said:
        given = _input(ask)
        if not ask.stream:
            whole = await self.client.responses.create(input=given, **_options(ask))
            return _said(whole, given)
        pieces, cut = 0, None
        async with self.client.responses.stream(input=given, **_options(ask)) as stream:
            async for event in stream:
                pieces += event.type in _DELTAS
                if event.type == "response.incomplete":
                    cut = event.response  # for its reader this is no end
            if cut is not None:
                return _said(cut, given, pieces)
            return _said(await stream.get_final_response(), given, pieces)

    async def parse(self, model: str, kind: type[Any], *, stream: bool) -> Any:
        """An object of this type, by the SDK's own reader."""
        asked: Any = {"model": model, "input": "Hi", "text_format": kind}
        if not stream:
            return (await self.client.responses.parse(**asked)).output_parsed
        async with self.client.responses.stream(**asked) as events:
            return (await events.get_final_response()).output_parsed

    @asynccontextmanager
    async def begun(self, ask: Ask) -> AsyncGenerator[Any]:
        stream = await self.client.responses.create(input=_input(ask), **_options(ask), stream=True)
        async with stream:
            yield stream


def _input(ask: Ask) -> Any:
    if ask.after is not None:
        results = [
            {"type": "function_call_output", "call_id": call.id, "output": result}
            for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
        return [*ask.after.history, *results]
    if ask.picture is None:
        return [{"role": "user", "content": ask.text}]
    picture = {"type": "input_image", "image_url": ask.picture.address, "detail": "auto"}
    return [{"role": "user", "content": [{"type": "input_text", "text": ask.text}, picture]}]


def _options(ask: Ask) -> dict[str, Any]:
    options: dict[str, Any] = {
        "model": ask.model,
        "max_output_tokens": ask.max_tokens,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    if ask.system is not None:
        options["instructions"] = ask.system
    if ask.temperature is not None:
        options["temperature"] = ask.temperature
    if ask.tools:
        options["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
                "strict": True,
            }
            for tool in ask.tools
        ]
    if ask.schema is not None:
        form = {"type": "json_schema", "name": "city", "schema": ask.schema, "strict": True}
        options["text"] = {"format": form}
    if ask.effort is not None or ask.shows:
        effort = {} if ask.effort is None else {"effort": ask.effort}
        options["reasoning"] = {**effort, "summary": "auto"}
    return options


def _said(response: Any, given: list[Any], pieces: int = 1) -> Said:
    calls = tuple(
        Called(item.name, json.loads(item.arguments), item.call_id)
        for item in response.output
        if item.type == "function_call"
    )
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
    is_cut = response.incomplete_details is not None
    return Said(
        text=response.output_text,
        thoughts="".join(thoughts),
        calls=calls,
        pieces=pieces,
        finish="length" if is_cut else "tools" if calls else "stop",
        spent=spent_of(response.usage),
        history=[
            *given,
            *(item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output),
        ],
    )


def spent_of(usage: Any) -> Spent | None:
    """What the usage of a response tells."""
    if usage is None:
        return None
    given, made = usage.input_tokens_details, usage.output_tokens_details
    return Spent(
        usage.input_tokens,
        usage.output_tokens,
        given.cached_tokens if given else None,
        made.reasoning_tokens if made else None,
    )
