"""Streams recorded from another server, byte by byte in odd pieces: every client reads them, from every dialect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from acceptance.sdk.clients import every_client
from acceptance.sdk.stage import every_vendor
from acceptance.sdk.talk import HELLO, TOOLS, Ask
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from acceptance.sdk.drivers.driver import Driver
    from acceptance.sdk.stage import Vendor

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # The other server's word, passed on as it came; Google's own is STOP.
    pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason"),
]

TRANSCRIPTS: Final = Path(__file__).parents[2] / "dialects" / "transcripts"
RECORDED: Final[Mapping[str, str]] = {
    "openai_chat": "openai_chat/aimock-chat-{}.sse",
    "openai_responses": "openai_responses/aimock-responses-{}.sse",
    "anthropic_messages": "anthropic_messages/aimock-{}.sse",
    "gemini": "gemini/aimock-gemini-{}.sse",
}
CALLED: Final = [("get_weather", {"city": "Paris", "unit": "c"}), ("get_time", {"city": "Oslo"})]


@every_vendor
@every_client
async def test_a_recorded_text_is_read(client: Driver, vendor: Vendor) -> None:
    vendor.play(script.transcript(TRANSCRIPTS / RECORDED[vendor.name].format("hello"), slice_bytes=7))
    said = await client.ask(Ask(model=vendor.model))
    assert (said.text, said.finish) == (HELLO, "stop")


@every_vendor
@every_client
async def test_recorded_parallel_calls_are_read(client: Driver, vendor: Vendor) -> None:
    vendor.play(script.transcript(TRANSCRIPTS / RECORDED[vendor.name].format("weather"), slice_bytes=7))
    said = await client.ask(Ask(model=vendor.model, tools=TOOLS))
    assert [call.what for call in said.calls] == CALLED
