"""The stage of these tests: a router in front of one running vendor of each dialect, and the names of the matrix."""

from __future__ import annotations

import itertools
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from acceptance.sdk.vendors.anthropic_messages import AnthropicMessages
from acceptance.sdk.vendors.gemini import Gemini
from acceptance.sdk.vendors.openai_chat import OpenAIChat
from acceptance.sdk.vendors.openai_responses import OpenAIResponses
from acceptance.sdk.vendors.vendor import json_script
from served import openrouter, serving
from trunkline.upstream.script import Script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from acceptance.sdk.vendors.vendor import Answer, Dialect, Told
    from served import Router
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Headers

DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai_chat": OpenAIChat(),
    "openai_responses": OpenAIResponses(),
    "anthropic_messages": AnthropicMessages(),
    "gemini": Gemini(),
    "openrouter": OpenAIChat(is_openrouter=True),
}
"""By the name of the provider's row. OpenRouter is chat completions, and more."""

VENDORS: Final = tuple(name for name in DIALECTS if name != "openrouter")
"""One of each dialect."""

every_vendor = pytest.mark.parametrize("vendor", VENDORS, indirect=True)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


class Vendor:
    """A vendor as it runs. Owns the answers that it has still to give.

    `play` puts answers, one a request, the last one again and again. `model` is how clients name its model: another
    one for each test, so that no test sees what an earlier one did to a model's health.
    """

    def __init__(self, name: str, dialect: Dialect) -> None:
        self.name = name
        self.dialect = dialect
        self.upstream = ScriptedUpstream(self._answer)
        self.model = ""
        self._names = itertools.count(1)
        self._answers: deque[Answer | Script] = deque()
        self._decide: Callable[[Told], Answer] | None = None

    def begin(self) -> None:
        """A new test: nothing to play, nothing received."""
        self.model = f"{self.name}/m-{next(self._names)}"
        self._answers.clear()
        self._decide = None
        self.upstream.plays.clear()

    def play(self, *answers: Answer | Script) -> None:
        """From now on: these."""
        self._answers = deque(answers)

    def refuse(self, status: int, message: str, headers: Headers = ()) -> None:
        """From now on: an error of this status."""
        self.play(json_script(self.dialect.refusal(status, message), status, headers))

    def decide(self, answer: Callable[[Told], Answer]) -> None:
        """From now on: what this answers to what the vendor was told."""
        self._decide = answer

    def told_for(self, model: str) -> list[Told]:
        """What it was told by requests for this model of its own, oldest first."""
        asked = [one for one in self.upstream.requests if one.json().get("model", one.path).find(model) >= 0]
        return [self.dialect.told(one) for one in asked]

    @property
    def told(self) -> Told:
        """What it was told last."""
        return self.dialect.told(self.upstream.requests[-1])

    @property
    def asked(self) -> int:
        """How many requests reached it in this test."""
        return len(self.upstream.plays)

    def _answer(self, request: ReceivedRequest) -> Script:
        if self._decide is not None:
            answer: Answer | Script = self._decide(self.dialect.told(request))
        else:
            answer = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Script):
            return answer
        return self.dialect.stream(answer) if self.dialect.streams(request) else self.dialect.whole(answer)


class Stage:
    """The running router and the vendors behind it."""

    def __init__(self, router: Router, vendors: Mapping[str, Vendor]) -> None:
        self.router = router
        self.vendors = vendors


def _rows(vendors: Mapping[str, Vendor]) -> str:
    rows = [
        f'[providers.{name}]\ndialect = "{vendor.dialect.name}"\nbase_url = "{vendor.upstream.base_url}"\n'
        f'api_key = "env:KEY"\n'
        for name, vendor in vendors.items()
        if name != "openrouter"
    ]
    return "\n".join(rows)


@asynccontextmanager
async def staged(directory: Path) -> AsyncGenerator[Stage]:
    """A router with a vendor of every dialect behind it, each on a socket of its own."""
    vendors = {name: Vendor(name, dialect) for name, dialect in DIALECTS.items()}
    async with AsyncExitStack() as stack:
        for vendor in vendors.values():
            await stack.enter_async_context(vendor.upstream)
        (directory / "trunkline.toml").write_text(_rows(vendors))
        settings = openrouter(vendors["openrouter"].upstream, directory, {"KEY": "k"})
        yield Stage(await stack.enter_async_context(serving(settings)), vendors)
