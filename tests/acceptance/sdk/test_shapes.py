"""Every answer is valid by the client's own types: the SDKs themselves are lenient, typed clients are not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec
import pytest
import pytest_asyncio
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from acceptance.sdk.stage import both_ways, every_vendor
from acceptance.sdk.talk import CALLS, Spent
from acceptance.sdk.vendors.vendor import Answer
from trunkline.dialects import sse

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from google.genai.types import GenerateContentResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from acceptance.sdk.stage import Stage, Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROOF: Final = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds+/9Mxk4ELw="
ANSWERS: Final[Mapping[str, Answer]] = {
    "everything": Answer(
        thoughts=("Two ", "cities."),
        proof=PROOF,
        text=("I'll ", "look."),
        calls=CALLS,
        spent=Spent(120, 75, 96, 32),
        finish="tools",
    ),
    "cut": Answer(text=("I'll ",), finish="length"),
}
HI: Final = [{"role": "user", "content": "Hi"}]


class Client(msgspec.Struct, frozen=True):
    """A dialect as its clients use it: where they ask, what they say, and the types of what they read."""

    path: str
    body: dict[str, Any]
    whole: TypeAdapter[Any]
    event: TypeAdapter[Any]
    stream_path: str | None = None


CLIENTS: Final[Mapping[str, Client]] = {
    "openai_chat": Client(
        "/v1/chat/completions",
        {"messages": HI, "stream_options": {"include_usage": True}},
        TypeAdapter(ChatCompletion),
        TypeAdapter(ChatCompletionChunk),
    ),
    "openai_responses": Client(
        "/v1/responses", {"input": "Hi"}, TypeAdapter(Response), TypeAdapter(ResponseStreamEvent)
    ),
    "anthropic_messages": Client(
        "/v1/messages",
        {"messages": HI, "max_tokens": 100},
        TypeAdapter(Message),
        TypeAdapter(RawMessageStreamEvent),
    ),
    "gemini": Client(
        "/v1beta/models/{model}:generateContent",
        {"contents": [{"parts": [{"text": "Hi"}]}]},
        TypeAdapter(GenerateContentResponse),
        TypeAdapter(GenerateContentResponse),
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(stage: Stage) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stage.router.url, trust_env=False) as client:
        yield client


@both_ways
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@every_vendor
@pytest.mark.parametrize("dialect", CLIENTS)
async def test_an_answer_is_valid_by_the_clients_own_types(
    dialect: str, vendor: Vendor, answer: Answer, stream: bool, http: httpx.AsyncClient
) -> None:
    vendor.play(answer)
    client = CLIENTS[dialect]
    path = client.stream_path if stream and client.stream_path else client.path
    body = client.body if client.stream_path else {**client.body, "model": vendor.model, "stream": stream}
    came = await http.post(path.format(model=vendor.model), json=body)
    assert came.status_code == 200
    if not stream:
        client.whole.validate_json(came.content)
        return
    frames = [frame.data for frame in sse.Framer().feed(came.content) if frame.data not in {b"", b"[DONE]"}]
    assert frames
    for frame in frames:
        client.event.validate_json(frame)
