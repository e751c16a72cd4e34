"""google-genai."""

from __future__ import annotations

import warnings
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from acceptance.sdk.drivers.driver import Tap
from acceptance.sdk.talk import Called, Said, Spent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google import genai
    from google.genai import errors, types

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from acceptance.sdk.talk import Ask

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}


class GoogleGenai:
    """`Client().aio.models`."""

    dialect = "gemini"
    streams_arguments = False
    broken: type[Exception] = errors.APIError

    def __init__(self, url: str) -> None:
        self.tap = Tap()
        options = types.HttpOptions(base_url=url, httpx_async_client=self.tap.http)
        self.client = genai.Client(api_key="k", http_options=options)

    async def close(self) -> None:
        await self.client.aio.aclose()
        self.client.close()
        await self.tap.http.aclose()

    def error(self, status: int) -> type[Exception]:
        return errors.ClientError if status < 500 else errors.ServerError

    def status(self, error: Any) -> int | None:
        return error.code

    async def ask(self, ask: Ask) -> Said:
        contents = _contents(ask)
        if not ask.stream:
            whole = await self.client.aio.models.generate_content(
                model=ask.model, contents=contents, config=_config(ask)
            )
            return _said([whole], contents)
        async with self.begun(ask) as stream:
            return _said([chunk async for chunk in stream], contents)

    async def parse(self, model: str, kind: type[Any], *, stream: bool) -> Any:
        """An object of this type, by the SDK's own reader, which has none for streams."""
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=kind)
        asked: Any = {"model": model, "contents": "Hi", "config": config}
        if not stream:
            return (await self.client.aio.models.generate_content(**asked)).parsed
        chunks: Any = await self.client.aio.models.generate_content_stream(**asked)
        return kind.model_validate_json("".join([chunk.text or "" async for chunk in chunks]))

    @asynccontextmanager
    async def begun(self, ask: Ask) -> AsyncGenerator[Any]:
        stream: Any = await self.client.aio.models.generate_content_stream(
            model=ask.model, contents=_contents(ask), config=_config(ask)
        )
        async with aclosing(stream):
            yield stream


def _contents(ask: Ask) -> list[Any]:
    if ask.after is not None:
        results = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id or None, name=call.name, response={"output": result}
                )
            )
            for call, result in zip(ask.after.calls, ask.results, strict=True)
        ]
        return [*ask.after.history, types.Content(role="user", parts=results)]
    parts = [types.Part.from_text(text=ask.text)]
    if ask.picture is not None and ask.picture.url is not None:
        parts.append(types.Part.from_uri(file_uri=ask.picture.url, mime_type=ask.picture.media_type))
    elif ask.picture is not None:
        parts.append(types.Part.from_bytes(data=ask.picture.data, mime_type=ask.picture.media_type))
    return [types.Content(role="user", parts=parts)]


def _config(ask: Ask) -> types.GenerateContentConfig:
    config = types.GenerateContentConfig(
        max_output_tokens=ask.max_tokens,
        system_instruction=ask.system,
        temperature=ask.temperature,
        stop_sequences=list(ask.stop) or None,
        seed=ask.seed,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    if ask.tools:
        declared = [
            types.FunctionDeclaration(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)
            for tool in ask.tools
        ]
        config.tools = [types.Tool(function_declarations=declared)]
    if ask.schema is not None:
        config.response_mime_type = "application/json"
        config.response_json_schema = ask.schema
    if ask.effort is not None or ask.budget is not None or ask.shows:
        level = types.ThinkingLevel(ask.effort.upper()) if ask.effort else None
        config.thinking_config = types.ThinkingConfig(
            thinking_level=level, thinking_budget=ask.budget, include_thoughts=ask.shows or None
        )
    return config


def _said(chunks: list[types.GenerateContentResponse], contents: list[Any]) -> Said:
    candidates = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
    parts = [part for one in candidates if one.content for part in one.content.parts or ()]
    calls = [part.function_call for part in parts if part.function_call]
    finish = next((one.finish_reason.value for one in reversed(candidates) if one.finish_reason), "")
    texts = [part.text for part in parts if part.text and not part.thought]
    return Said(
        text="".join(texts),
        thoughts="".join(part.text or "" for part in parts if part.thought),
        calls=tuple(Called(call.name or "", dict(call.args or {}), call.id or "") for call in calls),
        pieces=len(texts) + len(calls),
        finish="tools" if calls and finish == "STOP" else _FINISH.get(finish, finish),
        spent=_spent(next((c.usage_metadata for c in reversed(chunks) if c.usage_metadata), None)),
        history=[*contents, types.Content(role="model", parts=parts)],
    )


def _spent(usage: types.GenerateContentResponseUsageMetadata | None) -> Spent | None:
    """Google counts thoughts apart from the rest of the output."""
    if usage is None:
        return None
    return Spent(
        usage.prompt_token_count or 0,
        (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
        usage.cached_content_token_count,
        usage.thoughts_token_count,
    )
