"""anthropic-python. Streams go through its own reader, which keeps the message as it grows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anthropic

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.talk import Called, Said, Spent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from acceptance.sdk.talk import Ask

_FINISH = {"end_turn": "stop", "tool_use": "tools", "max_tokens": "length"}
_ERRORS: dict[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    502: anthropic.InternalServerError,
}


class AnthropicMessages:
    """`AsyncAnthropic().messages`."""

    dialect = "anthropic_messages"
    streams_arguments = True
    broken: type[Exception] = anthropic.APIStatusError

    def __init__(self, url: str) -> None:
        self.tap = Tap()
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0, http_client=self.tap.http)

    async def close(self) -> None:
        await self.client.close()

    def error(self, status: int) -> type[Exception]:
        return _ERRORS[status]

    def status(self, error: Any) -> int | None:
        return error.status_code

    async def ask(self, ask: Ask) -> Said:
        messages = _messages(ask)
        if not ask.stream:
            return _said(await self.client.messages.create(messages=messages, **_options(ask)), messages)
        pieces = 0
        async with self.client.messages.stream(messages=messages, **_options(ask)) as stream:
            async for event in stream:
                pieces += event.type == "text" or (event.type == "input_json" and bool(event.partial_json))
            return _said(await stream.get_final_message(), messages, pieces)

    async def parse(self, model: str, kind: type[Any], *, stream: bool) -> Any:
        """An object of this type, by the SDK's own reader."""
        messages: Any = [{"role": "user", "content": "Hi"}]
        asked: Any = {"model": model, "max_tokens": 100, "messages": messages, "output_format": kind}
        if not stream:
            return (await self.client.messages.parse(**asked)).parsed_output
        async with self.client.messages.stream(**asked) as events:
            return (await events.get_final_message()).parsed_output

    @asynccontextmanager
    async def begun(self, ask: Ask) -> AsyncGenerator[Any]:
        async with self.client.messages.stream(messages=_messages(ask), **_options(ask)) as stream:
            yield stream


def _messages(ask: Ask) -> list[Any]:
    if ask.after is not None:
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result}
            for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
        return [*ask.after.history, {"role": "user", "content": results}]
    if ask.picture is None:
        return [{"role": "user", "content": ask.text}]
    source = {"type": "base64", "media_type": ask.picture.media_type, "data": ask.picture.base64}
    if ask.picture.url is not None:
        source = {"type": "url", "url": ask.picture.url}
    return [{"role": "user", "content": [{"type": "text", "text": ask.text}, {"type": "image", "source": source}]}]


def _options(ask: Ask) -> dict[str, Any]:
    options: dict[str, Any] = {"model": ask.model, "max_tokens": ask.max_tokens}
    if ask.system is not None:
        options["system"] = ask.system
    if ask.stop:
        options["stop_sequences"] = ask.stop
    if ask.tools:
        options["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in ask.tools
        ]
    output: dict[str, Any] = {}
    if ask.schema is not None:
        output["format"] = {"type": "json_schema", "schema": ask.schema}
    if ask.effort is not None:
        output["effort"] = ask.effort
        options["thinking"] = {"type": "adaptive", **({"display": "summarized"} if ask.shows else {})}
    if ask.budget is not None:
        options["thinking"] = {"type": "enabled", "budget_tokens": ask.budget}
    if output:
        options["output_config"] = output
    return options


def _said(message: anthropic.types.Message, messages: list[Any], pieces: int = 1) -> Said:
    content = message.content
    return Said(
        text="".join(block.text for block in content if block.type == "text"),
        thoughts="".join(block.thinking for block in content if block.type == "thinking"),
        calls=tuple(Called(b.name, dict(b.input), b.id) for b in content if b.type == "tool_use"),
        pieces=pieces,
        finish=_FINISH.get(message.stop_reason or "", message.stop_reason or ""),
        spent=_spent(message.usage),
        history=[*messages, {"role": "assistant", "content": content}],
    )


def _spent(usage: anthropic.types.Usage) -> Spent:
    """Anthropic counts what the cache gave apart from the rest of the input."""
    cached = usage.cache_read_input_tokens
    details = usage.output_tokens_details
    return Spent(
        usage.input_tokens + (cached or 0) + (usage.cache_creation_input_tokens or 0),
        usage.output_tokens,
        cached,
        details.thinking_tokens if details else None,
    )
