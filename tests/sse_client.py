"""What a browser does with the seed's stream: an independent reading of the wire, for assertions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from served import Router


class Answer:
    """A whole answer: `events` are the `data:` payloads in order; `comments` the lines that begin with a colon."""

    def __init__(self, status: int, headers: httpx.Headers, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw
        lines = raw.decode().split("\n")
        self.comments = [line for line in lines if line.startswith(":")]
        self.events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        others = [line for line in lines if line and not line.startswith((":", "data: "))]
        assert not others, f"lines that are neither data nor comments: {others}"

    @property
    def text(self) -> str:
        """What the model said."""
        return "".join(event["content"] for event in self.objects if "content" in event)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON events."""
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error event, where there is one."""
        errors = [event for event in self.objects if "error" in event]
        assert len(errors) <= 1
        return errors[0] if errors else None

    @property
    def is_done(self) -> bool:
        """Whether it ended in `[DONE]`."""
        return self.events[-1:] == ["[DONE]"]

    def assert_one_terminal(self) -> None:
        """Exactly one terminal, and it is the last event."""
        terminals = [event for event in self.events if event == "[DONE]" or '"error"' in event]
        assert terminals == self.events[-1:]


async def chat(
    router: Router, message: object = "Hello", *, headers: dict[str, str] | None = None, **more: object
) -> Answer:
    """POST /api/chat, read to the end."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        response = await client.post(f"{router.url}/api/chat", json={"message": message, **more}, headers=headers)
        return Answer(response.status_code, response.headers, response.content)
