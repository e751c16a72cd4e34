"""A router whose providers speak every dialect, each on the same scripted upstream; and clients of every dialect."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from served import openrouter, serving
from trunkline.dialects.sse import Framer
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script
    from trunkline.upstream.scripted import ScriptedUpstream

DIALECTS: Final = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
"""Their providers are called the same: the model `gemini/x` is one of the provider that speaks Gemini."""

CLIENTS: Final = ("seed", *DIALECTS)

_ENDINGS: Final[Mapping[str, str]] = {
    "/chat/completions": "openai_chat",
    "/responses": "openai_responses",
    "/messages": "anthropic_messages",
    "Content": "gemini",
}


def spoken(request: ReceivedRequest) -> str:
    """The dialect in which a provider was asked, by its path."""
    return next(dialect for ending, dialect in _ENDINGS.items() if request.path.endswith(ending))


@asynccontextmanager
async def routed(
    upstream: ScriptedUpstream, directory: Path, *, server: str = "", timeouts: str = "", base_url: str = ""
) -> AsyncGenerator[Router]:
    """The router. `server` and `timeouts` are more of their tables, as TOML."""
    address = base_url or upstream.base_url
    rows = [
        f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{address}"\napi_key = "env:KEY"\n' for name in DIALECTS
    ]
    tables = [f"[server]\n{server}\n", f"[timeouts]\n{timeouts}\n", *rows]
    (directory / "trunkline.toml").write_text("\n".join(tables))
    async with serving(openrouter(upstream, directory, {"KEY": "k"})) as running:
        yield running


def asking(client: str, model: str, content: Any = "Hi", *, stream: bool = True) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request. `content` is that of the user's message, in the client's own dialect."""
    turn = {"role": "user", "content": content}
    match client:
        case "seed":
            return "/api/chat", {"model": model, "message": content}
        case "openai_chat":
            return "/v1/chat/completions", {"model": model, "stream": stream, "messages": [turn]}
        case "openai_responses":
            return "/v1/responses", {"model": model, "stream": stream, "input": [turn]}
        case "anthropic_messages":
            return "/v1/messages", {"model": model, "stream": stream, "max_tokens": 100, "messages": [turn]}
        case _:
            action = "streamGenerateContent?alt=sse" if stream else "generateContent"
            parts = [{"text": content}] if isinstance(content, str) else content
            return f"/v1beta/models/{model}:{action}", {"contents": [{"role": "user", "parts": parts}]}


class Got:
    """What a client was given. `events` are those of its stream, decoded; a sentinel is the text `[DONE]`."""

    def __init__(self, client: str, response: httpx.Response) -> None:
        self.client = client
        self.status = response.status_code
        self.headers = response.headers
        self.content = response.content
        self.is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        frames = Framer(64 << 20).feed(response.content) if self.is_stream else []
        self.events: list[Any] = ["[DONE]" if frame.data == b"[DONE]" else json.loads(frame.data) for frame in frames]

    @property
    def errors(self) -> list[Any]:
        """The error events, or the body of an answer that is an error."""
        if not self.is_stream:
            body = json.loads(self.content)
            return [body] if "error" in body else []
        return [event for event in self.events if isinstance(event, dict) and _is_error(event)]

    @property
    def is_done(self) -> bool:
        """Whether it ends as a whole answer of this dialect does."""
        last: Any = self.events[-1] if self.events else None
        match self.client:
            case "seed" | "openai_chat":
                return last == "[DONE]"
            case "openai_responses":
                return isinstance(last, dict) and last.get("type") in {"response.completed", "response.incomplete"}
            case "anthropic_messages":
                return isinstance(last, dict) and last.get("type") == "message_stop"
            case _:
                return isinstance(last, dict) and "finishReason" in (last.get("candidates") or [{}])[0]

    @property
    def ends_in_an_error(self) -> bool:
        """Whether the last thing said is one error. A stream of responses also tells the failed response after it."""
        if not self.is_stream:
            return self.status >= 400 and len(self.errors) == 1
        said = [
            event for event in self.events if not (isinstance(event, dict) and event.get("type") == "response.failed")
        ]
        return len(self.errors) == 1 and said[-1] is self.errors[0] and not self.is_done


def _is_error(event: dict[str, Any]) -> bool:
    return "error" in event or event.get("type") == "error"


async def ask(router: Router, client: str, model: str, content: Any = "Hi", *, stream: bool = True) -> Got:
    """One request of a client of this dialect, read to the end."""
    path, body = asking(client, model, content, stream=stream)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        return Got(client, await http.post(router.url + path, json=body))


def event_stream(data: bytes) -> Script:
    """These bytes as a stream."""
    return script.Script(body=(data,))
