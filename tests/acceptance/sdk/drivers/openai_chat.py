"""openai-python, chat completions."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.talk import Called, Said, Spent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from acceptance.sdk.talk import Ask

FINISH = {"tool_calls": "tools"}
ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    502: openai.InternalServerError,
}


class OpenAIChat:
    """`AsyncOpenAI().chat.completions`."""

    dialect = "openai_chat"
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
        messages = _messages(ask)
        if ask.stream:
            message, said = await self._read(messages, ask)
        else:
            whole = await self.client.chat.completions.create(messages=messages, **_options(ask))
            message = whole.choices[0].message.model_dump(exclude_none=True)
            finish = whole.choices[0].finish_reason
            said = _said(message, finish, whole.usage)
        return Said(
            text=said.text,
            thoughts=said.thoughts,
            calls=said.calls,
            pieces=said.pieces,
            finish=said.finish,
            spent=said.spent,
            history=[*messages, message],
        )

    async def parse(self, model: str, kind: type[Any], *, stream: bool) -> Any:
        """An object of this type, by the SDK's own reader."""
        asked: Any = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "response_format": kind}
        if not stream:
            return (await self.client.chat.completions.parse(**asked)).choices[0].message.parsed
        async with self.client.chat.completions.stream(**asked) as events:
            async for _ in events:
                pass
            return (await events.get_final_completion()).choices[0].message.parsed

    async def _read(self, messages: list[Any], ask: Ask) -> tuple[dict[str, Any], Said]:
        """The message that the chunks make up, as OpenAI's and OpenRouter's documents say to join them."""
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        finish, usage, pieces = "", None, 0
        async with self.begun(ask, messages) as stream:
            async for chunk in stream:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    finish = choice.finish_reason or finish
                    pieces += _join(message, choice.delta)
        return message, _said(message, finish, usage, pieces)

    @asynccontextmanager
    async def begun(self, ask: Ask, messages: list[Any] | None = None) -> AsyncGenerator[Any]:
        stream = await self.client.chat.completions.create(
            messages=_messages(ask) if messages is None else messages,
            **_options(ask),
            stream=True,
            stream_options={"include_usage": True},
        )
        async with stream:
            yield stream


def _messages(ask: Ask) -> list[Any]:
    if ask.after is not None:
        history = list(ask.after.history)
        return history + [
            {"role": "tool", "tool_call_id": call.id, "content": result}
            for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
    content: Any = ask.text
    if ask.picture is not None:
        picture = {"type": "image_url", "image_url": {"url": ask.picture.address}}
        content = [{"type": "text", "text": ask.text}, picture]
    system = [{"role": "system", "content": ask.system}] if ask.system else []
    return [*system, {"role": "user", "content": content}]


def _options(ask: Ask) -> dict[str, Any]:
    options: dict[str, Any] = {"model": ask.model, "max_completion_tokens": ask.max_tokens}
    if ask.tools:
        options["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
            }
            for tool in ask.tools
        ]
    if ask.schema is not None:
        schema = {"name": "city", "schema": ask.schema, "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    settings: dict[str, Any] = {"temperature": ask.temperature, "stop": list(ask.stop) or None, "seed": ask.seed}
    settings["reasoning_effort"] = ask.effort
    options.update({name: value for name, value in settings.items() if value is not None})
    if ask.budget is not None:
        options["extra_body"] = {"reasoning": {"max_tokens": ask.budget}}  # OpenRouter's word for it
    return options


def _join(message: dict[str, Any], delta: Any) -> int:
    """Add a delta to the message; 1 where it brought text or arguments."""
    extra = delta.model_extra or {}
    message["content"] += delta.content or ""
    for name in ("reasoning", "reasoning_content"):
        if extra.get(name):
            message[name] = message.get(name, "") + extra[name]
    message.setdefault("reasoning_details", []).extend(extra.get("reasoning_details") or [])
    brought = bool(delta.content)
    for piece in delta.tool_calls or ():
        calls = message.setdefault("tool_calls", [])
        if piece.index == len(calls):
            calls.append(
                {"id": piece.id, "type": "function", "function": {"name": piece.function.name, "arguments": ""}}
            )
        calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
        brought = brought or bool(piece.function.arguments)
    return int(brought)


def _said(message: dict[str, Any], finish: str, usage: Any, pieces: int = 1) -> Said:
    calls = tuple(
        Called(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
        for call in message.get("tool_calls", ())
    )
    return Said(
        text=message.get("content") or "",
        thoughts=message.get("reasoning") or message.get("reasoning_content") or "",
        calls=calls,
        pieces=pieces,
        finish=FINISH.get(finish, finish),
        spent=spent_of(usage),
    )


def spent_of(usage: Any) -> Spent | None:
    """What OpenAI's usage tells."""
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Spent(
        usage.prompt_tokens,
        usage.completion_tokens,
        prompt.cached_tokens if prompt else None,
        completion.reasoning_tokens if completion else None,
    )
