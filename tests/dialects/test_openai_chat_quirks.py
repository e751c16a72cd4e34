"""What a provider of chat completions takes less than others, it gets less: by its quirks, and by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import hub_strategies as hub
from dialects.chat_laws import CHAT_LAWS
from dialects.every_dialect import GENEROUS
from dialects.targets import target
from sizes import LAW_EXAMPLES
from trunkline.core.call import Call, Envelope, Reasoning
from trunkline.core.catalog import Quirks
from trunkline.dialects.dialect import top_level
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_chat.fields import OPENROUTER, PLANNED


@settings(max_examples=LAW_EXAMPLES)
@given(CHAT_LAWS.calls)
def test_a_target_that_takes_less_gets_less_and_its_loss_is_named(call: Call) -> None:
    request = OpenAIChat().write_call(call, target(quirks=Quirks(keeps_answers=True, reasoning_key="")))
    sent = msgspec.json.decode(request.body)
    assert sent["store"] is False
    assert b"cache_control" not in request.body or b"cache_control" in repr(call).encode()
    for name, is_asked in {
        "top_k": call.top_k is not None,
        "metadata": call.metadata is not None,
        "reasoning": call.thinking is not None or any(isinstance(part, Reasoning) for part in call.parts()),
        "cache_control": any(getattr(part, "is_cached", False) for part in call.parts()),
    }.items():
        assert (name in request.dropped) is is_asked
        assert name not in sent
    assert len(set(request.dropped)) == len(request.dropped)


FIELDS = st.dictionaries(
    hub.SOME_WORDS
    | st.sampled_from(["temperature", "user", "metadata", "seed", "reasoning", "top_a", "response_format"]),
    hub.JSON_VALUES,
    max_size=5,
)
TOUCHED = {"model", "stream_options", "usage", "store", *PLANNED}


@pytest.mark.parametrize("quirks", [GENEROUS, Quirks(), Quirks(stream_usage=False)], ids=["all", "plain", "no usage"])
@settings(max_examples=LAW_EXAMPLES)
@given(fields=FIELDS, stream=st.booleans())
def test_a_splice_changes_only_the_fields_that_these_quirks_name(
    fields: dict[str, Any], quirks: Quirks, *, stream: bool
) -> None:
    body = msgspec.json.format(msgspec.json.encode({"model": "a", **fields, "messages": []}), indent=1)
    envelope = Envelope(model="a", stream=stream, keys=top_level(body))
    sent = OpenAIChat().splice(body, envelope, target(quirks=quirks))
    touched = TOUCHED if quirks.accepts_provider_object else TOUCHED | OPENROUTER
    before, after = top_level(body), top_level(sent.body)
    assert {name: bytes(raw) for name, raw in after.items() if name not in touched} == {
        name: bytes(raw) for name, raw in before.items() if name not in touched
    }
    assert bytes(after["model"]) == b'"openai/gpt-4o"'
    assert [name for name in after if name not in touched] == [name for name in before if name not in touched]
