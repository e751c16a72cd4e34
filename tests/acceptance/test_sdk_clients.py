"""The vendors' own SDKs against the router, each in its own dialect, against upstreams of every dialect."""

from __future__ import annotations

import json
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import openai
import pytest

from served import openrouter, serving
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google import genai
    from google.genai import types as gemini

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

TRANSCRIPTS = Path(__file__).parent.parent / "dialects" / "transcripts"
UPSTREAMS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
HELLO = "Bonjour, wörld 你好 👋🏽 — done."
CALLS = [("get_weather", {"city": "Paris", "unit": "c"}), ("get_time", {"city": "Oslo"})]

STREAMS = {
    "/chat/completions": "openai_chat/aimock-chat-{}.sse",
    "/responses": "openai_responses/aimock-responses-{}.sse",
    "/messages": "anthropic_messages/aimock-{}.sse",
    ":streamGenerateContent": "gemini/aimock-gemini-{}.sse",
}


def answer(request: ReceivedRequest) -> Script:
    """The recorded stream of this path's dialect: tools where tools were given, else a hello."""
    body = request.json()
    what = "weather" if body.get("tools") else "hello"
    for ending, name in STREAMS.items():
        if request.path.endswith(ending):
            return script.transcript(TRANSCRIPTS / name.format(what), slice_bytes=7)
    return script.json_error(404, {"error": {"message": f"no such path {request.path}", "type": "not_found"}})


@pytest.fixture
async def providers() -> AsyncGenerator[ScriptedUpstream]:
    async with ScriptedUpstream(answer) as upstream:
        yield upstream


@pytest.fixture
async def router(providers: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    rows = [
        f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{providers.base_url}"\napi_key = "env:KEY"\n'
        for name in UPSTREAMS
    ]
    (tmp_path / "trunkline.toml").write_text("\n".join(rows))
    async with serving(openrouter(providers, tmp_path, {"KEY": "k"})) as running:
        yield running


def schema() -> dict[str, Any]:
    return {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class OpenAIChat:
    """openai-python, chat completions."""

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)

    async def close(self) -> None:
        await self.client.close()

    async def hello(self, model: str) -> tuple[str, str]:
        stream = await self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        text, finish = "", ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        return text, {"stop": "end"}.get(finish, finish)

    async def tools(self, model: str) -> list[tuple[str, Any]]:
        stream = await self.client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Weather?"}],
            stream=True,
            tools=[{"type": "function", "function": {"name": name, "parameters": schema()}} for name, _ in CALLS],
        )
        calls: dict[int, list[str]] = {}
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or []:
                name_and_arguments = calls.setdefault(call.index, ["", ""])
                assert call.function is not None
                name_and_arguments[0] += call.function.name or ""
                name_and_arguments[1] += call.function.arguments or ""
        return [(name, json.loads(arguments)) for name, arguments in calls.values()]


class OpenAIResponses:
    """openai-python, responses."""

    def __init__(self, url: str) -> None:
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)

    async def close(self) -> None:
        await self.client.close()

    async def hello(self, model: str) -> tuple[str, str]:
        text = ""
        stream = await self.client.responses.create(model=model, input="Hi", stream=True)
        final = None
        async for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.completed":
                final = event.response
        assert final is not None
        assert final.output_text == text
        return text, "end"

    async def tools(self, model: str) -> list[tuple[str, Any]]:
        stream = await self.client.responses.create(
            model=model,
            input="Weather?",
            stream=True,
            tools=[{"type": "function", "name": name, "parameters": schema(), "strict": False} for name, _ in CALLS],
        )
        return [
            (event.item.name, json.loads(event.item.arguments))
            async for event in stream
            if event.type == "response.output_item.done" and event.item.type == "function_call"
        ]


class AnthropicMessages:
    """anthropic-python."""

    def __init__(self, url: str) -> None:
        self.client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)

    async def close(self) -> None:
        await self.client.close()

    async def hello(self, model: str) -> tuple[str, str]:
        async with self.client.messages.stream(
            model=model, max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        return text, {"end_turn": "end"}.get(final.stop_reason or "", final.stop_reason or "")

    async def tools(self, model: str) -> list[tuple[str, Any]]:
        async with self.client.messages.stream(
            model=model,
            max_tokens=100,
            messages=[{"role": "user", "content": "Weather?"}],
            tools=[{"name": name, "input_schema": schema()} for name, _ in CALLS],
        ) as stream:
            final = await stream.get_final_message()
        assert final.stop_reason == "tool_use"
        return [(block.name, block.input) for block in final.content if block.type == "tool_use"]


class Gemini:
    """google-genai."""

    def __init__(self, url: str) -> None:
        self.client = genai.Client(api_key="k", http_options=gemini.HttpOptions(base_url=url))

    async def close(self) -> None:
        await self.client.aio.aclose()
        self.client.close()

    async def hello(self, model: str) -> tuple[str, str]:
        text, finish = "", ""
        async for chunk in await self.client.aio.models.generate_content_stream(model=model, contents="Hi"):
            text += chunk.text or ""
            if chunk.candidates and chunk.candidates[0].finish_reason:
                finish = chunk.candidates[0].finish_reason.value
        return text, {"STOP": "end"}.get(finish, finish)

    async def tools(self, model: str) -> list[tuple[str, Any]]:
        declared = [gemini.FunctionDeclaration(name=name, parameters_json_schema=schema()) for name, _ in CALLS]
        config = gemini.GenerateContentConfig(
            tools=[gemini.Tool(function_declarations=declared)],
            automatic_function_calling=gemini.AutomaticFunctionCallingConfig(disable=True),
        )
        calls: list[tuple[str, Any]] = []
        async for chunk in await self.client.aio.models.generate_content_stream(
            model=model, contents="Weather?", config=config
        ):
            calls += [(call.name or "", call.args) for call in chunk.function_calls or []]
        return calls


T = TypeVar("T", OpenAIChat, OpenAIResponses, AnthropicMessages, Gemini)
CLIENTS = [OpenAIChat, OpenAIResponses, AnthropicMessages, Gemini]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # aimock's word, passed on as it came; Google's own is STOP.
    pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason"),
]


@asynccontextmanager
async def using(kind: Callable[[str], T], router: Router) -> AsyncGenerator[T]:
    """A client of this router, closed at the end."""
    one = kind(router.url)
    yield one
    await one.close()


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_text_streams(client: Callable[[str], Any], upstream: str, router: Router) -> None:
    async with using(client, router) as sdk:
        assert await sdk.hello(f"{upstream}/m") == (HELLO, "end")


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_parallel_tool_calls_stream_with_their_arguments(
    client: Callable[[str], Any], upstream: str, router: Router
) -> None:
    async with using(client, router) as sdk:
        assert await sdk.tools(f"{upstream}/m") == CALLS


async def test_openais_client_gets_its_own_errors(router: Router, providers: ScriptedUpstream) -> None:
    async with using(OpenAIChat, router) as sdk:
        with pytest.raises(openai.NotFoundError) as unknown:
            await sdk.client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hi"}])
        assert unknown.value.request_id
        providers.play(script.openrouter_error(429, "slow down", headers=(("retry-after", "3"),)))
        with pytest.raises(openai.RateLimitError) as limited:
            await sdk.client.chat.completions.create(
                model="openai_chat/m", messages=[{"role": "user", "content": "Hi"}]
            )
        assert limited.value.response.headers["retry-after"] == "3"


async def test_anthropics_client_gets_its_own_errors(router: Router, providers: ScriptedUpstream) -> None:
    async with using(AnthropicMessages, router) as sdk:
        with pytest.raises(anthropic.NotFoundError):
            await sdk.client.messages.create(model="nobody", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])
        providers.play(script.chat_stream(["Well"], finish=None, done=False).but(end=script.End.RST))
        with pytest.raises(anthropic.APIStatusError):
            async with sdk.client.messages.stream(
                model="openai_chat/m", max_tokens=5, messages=[{"role": "user", "content": "Hi"}]
            ) as stream:
                await stream.get_final_message()


async def test_geminis_client_gets_its_own_errors(router: Router) -> None:
    async with using(Gemini, router) as sdk:
        with pytest.raises(genai.errors.ClientError) as unknown:
            await sdk.client.aio.models.generate_content(model="nobody", contents="Hi")
        assert unknown.value.code == 404


async def test_whole_answers_are_translated(router: Router, providers: ScriptedUpstream) -> None:
    providers.play(script.chat_whole("All at once"))
    async with using(AnthropicMessages, router) as sdk:
        message = await sdk.client.messages.create(
            model="openai_chat/m", max_tokens=50, messages=[{"role": "user", "content": "Hi"}]
        )
        assert [block.text for block in message.content if block.type == "text"] == ["All at once"]
    async with using(OpenAIResponses, router) as sdk:
        response = await sdk.client.responses.create(model="openai_chat/m", input="Hi")
        assert response.output_text == "All at once"
    async with using(OpenAIChat, router) as sdk:
        completion = await sdk.client.chat.completions.create(
            model="openai_chat/m", messages=[{"role": "user", "content": "Hi"}]
        )
        assert completion.choices[0].message.content == "All at once"
    async with using(Gemini, router) as sdk:
        generated = await sdk.client.aio.models.generate_content(model="openai_chat/m", contents="Hi")
        assert generated.text == "All at once"


async def test_the_model_lists_are_in_each_clients_shape(router: Router) -> None:
    async with using(OpenAIChat, router) as sdk:
        listed = [model.id async for model in await sdk.client.models.list()]
    assert "openrouter/auto" in listed
    async with using(AnthropicMessages, router) as sdk:
        assert [model.id async for model in await sdk.client.models.list()] == listed
    async with using(Gemini, router) as sdk:
        named = [model.name async for model in await sdk.client.aio.models.list()]
    assert named == [f"models/{name}" for name in listed]
