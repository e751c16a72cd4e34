"""A receipt in an answer that broke and went on: every target that wrote it, and where the seams are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.walks import Walks, exchange_of, target
from trunkline.core.catalog import Quirks, Resume
from trunkline.dialects import sse
from trunkline.dialects.openai_chat.ingress import OpenAIChatIngress
from trunkline.upstream import script
from trunkline.upstream.script import End

if TYPE_CHECKING:
    from trunkline.upstream.client import Client
    from trunkline.upstream.scripted import ScriptedUpstream

ASKED: dict[str, Any] = {"model": "r", "messages": [{"role": "user", "content": "Tell me"}], "stream": True}


async def test_it_names_both_targets_and_the_seam(
    client: Client, upstream: ScriptedUpstream, second: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["The sky ", "is blue"], finish=None, done=False).but(end=End.RST))
    second.play(script.chat_stream([" because ", "of the air."]))
    targets = [target(name, one, quirks=Quirks(prefill=True)) for name, one in (("a", upstream), ("b", second))]
    walks = Walks(client, *targets, resume=Resume.PREFILL)
    exchange = exchange_of(OpenAIChatIngress(), msgspec.json.encode(ASKED), route="/v1/chat/completions")
    exchange.wants_receipt = True
    frames = sse.Framer().feed(await walks.read(exchange))
    told = [frame for frame in frames if b'"trunkline"' in frame.data]
    assert [frame.data for frame in frames][-1] == b"[DONE]"
    assert told == [frames[-2]]
    receipt = msgspec.json.decode(told[0].data)["trunkline"]
    assert [(one["provider"], one["charged"]) for one in receipt["attempts"]] == [("a", True), ("b", True)]
    assert receipt["seams"] == [len("The sky is blue")]


async def test_it_fits_into_an_event_of_any_size_that_the_operator_allows(
    client: Client, upstream: ScriptedUpstream
) -> None:
    text = "x" * (17 << 20)
    event = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    upstream.play(script.Script(body=(sse.event(msgspec.json.encode(event)), sse.DONE)))
    walks = Walks(client, target("a", upstream), max_event_bytes=32 << 20)
    exchange = exchange_of(OpenAIChatIngress(), msgspec.json.encode(ASKED), route="/v1/chat/completions")
    exchange.wants_receipt = True
    told, done = sse.Framer(32 << 20).feed(await walks.read(exchange))
    assert done.data == b"[DONE]"
    assert "trunkline" in msgspec.json.decode(told.data)
