"""langchain-openai, over chat completions and over responses."""

from __future__ import annotations

import warnings
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import openai

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.drivers.openai_chat import ERRORS, FINISH
from acceptance.sdk.talk import Called, Said, Spent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_openai import ChatOpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from langchain_core.messages import BaseMessage

    from acceptance.sdk.talk import Ask


class LangchainChat:
    """`ChatOpenAI`, over chat completions: by its documentation it knows no field that OpenAI does not have."""

    dialect = "openai_chat"
    streams_arguments = True
    broken: type[Exception] = openai.APIError
    _own: ClassVar[dict[str, Any]] = {"use_responses_api": False, "stream_usage": True}

    def __init__(self, url: str) -> None:
        self.tap = Tap()
        self._url = f"{url}/v1"

    async def close(self) -> None:
        await self.tap.http.aclose()

    def error(self, status: int) -> type[Exception]:
        return ERRORS[status]

    def status(self, error: Any) -> int | None:
        return error.status_code

    def model(self, ask: Ask) -> Any:
        """The runnable for this request."""
        settings: dict[str, Any] = {
            "temperature": ask.temperature,
            "stop_sequences": list(ask.stop) or None,
            "seed": ask.seed,
        }
        model: Any = ChatOpenAI(
            model=ask.model,
            base_url=self._url,
            api_key="k",  # pyright: ignore[reportArgumentType]
            max_retries=0,
            max_completion_tokens=ask.max_tokens,
            http_async_client=self.tap.http,
            **{name: value for name, value in settings.items() if value is not None},
            **self._own,
            **self._thinking(ask),
        )
        if ask.schema is not None:
            form = {"type": "json_schema", "json_schema": {"name": "city", "schema": ask.schema, "strict": True}}
            model = model.bind(response_format=form)
        if ask.tools:
            model = model.bind_tools(
                [
                    {
                        "type": "function",
                        "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
                    }
                    for tool in ask.tools
                ]
            )
        return model

    def _thinking(self, ask: Ask) -> dict[str, Any]:
        return {} if ask.effort is None else {"reasoning_effort": ask.effort}

    async def ask(self, ask: Ask) -> Said:
        messages = _messages(ask)
        if not ask.stream:
            return _said(await self.model(ask).ainvoke(messages), messages)
        whole: Any = None
        pieces = 0
        async with self.begun(ask) as stream:
            async for chunk in stream:
                pieces += bool(chunk.text or any(call["args"] for call in chunk.tool_call_chunks))
                whole = chunk if whole is None else whole + chunk
        return _said(whole, messages, pieces)

    @asynccontextmanager
    async def begun(self, ask: Ask) -> AsyncGenerator[Any]:
        async with aclosing(self.model(ask).astream(_messages(ask))) as stream:
            yield stream


class LangchainResponses(LangchainChat):
    """`ChatOpenAI`, over responses: stateless, the thoughts are kept by the client, encrypted."""

    dialect = "openai_responses"
    _own: ClassVar[dict[str, Any]] = {
        "use_responses_api": True,
        "output_version": "responses/v1",
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }

    def _thinking(self, ask: Ask) -> dict[str, Any]:
        if ask.effort is None and not ask.shows:
            return {}
        effort = {} if ask.effort is None else {"effort": ask.effort}
        return {"reasoning": {**effort, "summary": "auto"}}


def _messages(ask: Ask) -> list[BaseMessage]:
    if ask.after is not None:
        results = [
            ToolMessage(result, tool_call_id=call.id) for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
        return [*ask.after.history, *results]
    content: Any = ask.text
    if ask.picture is not None:
        picture = {"type": "image", "base64": ask.picture.base64, "mime_type": ask.picture.media_type}
        if ask.picture.url is not None:
            picture = {"type": "image", "url": ask.picture.url}
        content = [{"type": "text", "text": ask.text}, picture]
    return [*([SystemMessage(ask.system)] if ask.system else []), HumanMessage(content)]


def _said(message: AIMessage, messages: list[BaseMessage], pieces: int = 1) -> Said:
    calls = tuple(Called(call["name"], call["args"], call["id"] or "") for call in message.tool_calls)
    assert not message.invalid_tool_calls
    told = message.response_metadata
    finish = told.get("finish_reason") or ("length" if told.get("incomplete_details") else "stop")
    thoughts = [
        part["text"]
        for block in (message.content if isinstance(message.content, list) else [])
        if isinstance(block, dict) and block["type"] == "reasoning"
        for part in block.get("summary", ())
    ]
    return Said(
        text=str(message.text),
        thoughts="".join(thoughts),
        calls=calls,
        pieces=pieces,
        finish="tools" if calls else FINISH.get(finish, finish),
        spent=_spent(message.usage_metadata),
        history=[*messages, message],
    )


def _spent(usage: Any) -> Spent | None:
    if usage is None:
        return None
    return Spent(
        usage["input_tokens"],
        usage["output_tokens"],
        usage.get("input_token_details", {}).get("cache_read"),
        usage.get("output_token_details", {}).get("reasoning"),
    )
