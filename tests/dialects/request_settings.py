"""How a request wants its answer, and who asks, in the hub's terms and in each dialect's own.

Sources: https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create, https://platform.claude.com/docs/en/api/messages,
https://ai.google.dev/api/generate-content; what is OpenRouter's, https://openrouter.ai/docs/api-reference/parameters
(read 2026-11-25).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dialects.every_dialect import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dialects.features import HI, PLAIN, RequestFeature
from dialects.request_native import (
    RAW_SCHEMA,
    SCHEMA,
    config,
    fields,
    said_by_user,
    user,
)
from dialects.request_tools import ANTHROPIC_TOOL, CHAT_TOOL, LOOK_UP
from trunkline.core.call import (
    Format,
    Message,
    Opaque,
    Reasoning,
    Role,
    Text,
    Thinking,
)
from trunkline.dialects.opaque import wrap

if TYPE_CHECKING:
    from collections.abc import Mapping


NAMED_FORMAT = {"name": "place", "schema": SCHEMA, "strict": True}

FORMATS = [
    RequestFeature(
        "structured output by a schema",
        {"format": Format(schema=RAW_SCHEMA, name="place", is_strict=True)},
        fields(
            chat={"response_format": {"type": "json_schema", "json_schema": NAMED_FORMAT}},
            responses={"text": {"format": {"type": "json_schema", **NAMED_FORMAT}}},
            anthropic={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            gemini=config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
        ),
        holds=lambda call: call.format is not None and call.format.schema == RAW_SCHEMA,
    ),
    RequestFeature(
        "structured output, any JSON object",
        {"format": Format()},
        fields(
            chat={"response_format": {"type": "json_object"}},
            responses={"text": {"format": {"type": "json_object"}}},
            gemini=config(responseMimeType="application/json"),
        ),
    ),
]

THOUGHT = "It is a city."
PROOFS: Mapping[str, Opaque] = {
    CHAT: Opaque(CHAT, b'[{"type":"reasoning.text","text":"It is a city.","signature":"c2ln"}]'),
    RESPONSES: Opaque(RESPONSES, b'"gAAAAABo"'),
    ANTHROPIC: Opaque(ANTHROPIC, b'{"type":"thinking","thinking":"It is a city.","signature":"c2ln"}'),
    GEMINI: Opaque(GEMINI, b'"c2ln"'),
}
FOREIGN = Opaque("elsewhere", b'"proof"')


def thought(proof: Opaque | None) -> dict[str, Any]:
    """A conversation in which the model has thought."""
    said = (Reasoning(THOUGHT, proof), Text("Rome."))
    return {"messages": (HI, Message(Role.ASSISTANT, said), Message(Role.USER, (Text("And?"),)))}


def thought_native(
    chat: dict[str, Any], responses: dict[str, Any] | None, anthropic: dict[str, Any], gemini: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The same in each dialect, with the thought as given."""
    items = [] if responses is None else [{"type": "reasoning", **responses}]
    return fields(
        chat={
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Rome.", **chat},
                {"role": "user", "content": "And?"},
            ]
        },
        responses={
            "input": [
                {"type": "message", "role": "user", "content": "Hi"},
                *items,
                {"type": "message", "role": "assistant", "content": "Rome."},
                {"type": "message", "role": "user", "content": "And?"},
            ]
        },
        anthropic={
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": [anthropic, {"type": "text", "text": "Rome."}]},
                {"role": "user", "content": [{"type": "text", "text": "And?"}]},
            ]
        },
        gemini={
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"text": THOUGHT, "thought": True, **gemini}, {"text": "Rome."}]},
                {"role": "user", "parts": [{"text": "And?"}]},
            ]
        },
    )


WRAPPED = wrap(FOREIGN)

REASONING = [
    RequestFeature(
        "reasoning effort",
        {"thinking": Thinking(effort="high")},
        fields(
            chat={"reasoning_effort": "high"},
            responses={"reasoning": {"effort": "high"}},
            anthropic={"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            gemini=config(thinkingConfig={"thinkingLevel": "HIGH"}),
        ),
        told={CHAT: {"reasoning": {"effort": "high"}}, PLAIN: {"reasoning_effort": "high"}},
    ),
    RequestFeature(
        "reasoning budget in tokens",
        {"thinking": Thinking(budget_tokens=2048)},
        fields(
            chat={"reasoning": {"max_tokens": 2048}},
            anthropic={"thinking": {"type": "enabled", "budget_tokens": 2048}},
            gemini=config(thinkingConfig={"thinkingBudget": 2048}),
        ),
        told={PLAIN: {"reasoning_effort": "low"}, RESPONSES: {"reasoning": {"effort": "low"}}},
        notes={f"{PLAIN} out": "as the nearest effort", f"{RESPONSES} out": "as the nearest effort"},
    ),
    RequestFeature(
        "no reasoning",
        {"thinking": Thinking(is_on=False)},
        fields(
            chat={"reasoning": {"enabled": False}},
            responses={"reasoning": {"effort": "none"}},
            anthropic={"thinking": {"type": "disabled"}},
            gemini=config(thinkingConfig={"thinkingBudget": 0}),
        ),
    ),
    RequestFeature(
        "whether reasoning is shown",
        {"thinking": Thinking(effort="high", is_shown=False)},
        told={RESPONSES: {"reasoning": {"effort": "high"}}},
        notes={f"{RESPONSES} out": "nothing is shown there unless it is asked for"},
        native=fields(
            chat={"reasoning": {"effort": "high", "exclude": True}},
            anthropic={
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "high"},
            },
            gemini=config(thinkingConfig={"thinkingLevel": "HIGH", "includeThoughts": False}),
        ),
    ),
    RequestFeature(
        "earlier reasoning with the provider's own proof",
        {},
        thought_native(
            {"reasoning": THOUGHT, "reasoning_details": msgspec.json.decode(PROOFS[CHAT].raw)},
            {"summary": [{"type": "summary_text", "text": THOUGHT}], "encrypted_content": "gAAAAABo"},
            msgspec.json.decode(PROOFS[ANTHROPIC].raw),
            {"thoughtSignature": "c2ln"},
        ),
        own={name: thought(proof) for name, proof in PROOFS.items()},
    ),
    RequestFeature(
        "earlier reasoning with another provider's proof",
        thought(FOREIGN),
        thought_native(
            {"reasoning": THOUGHT, "reasoning_details": [{"type": "reasoning.encrypted", "data": WRAPPED}]},
            {"summary": [{"type": "summary_text", "text": THOUGHT}], "encrypted_content": WRAPPED},
            {"type": "thinking", "thinking": THOUGHT, "signature": WRAPPED},
            {"thoughtSignature": urlsafe_b64encode(WRAPPED.encode()).decode()},
        ),
        told={
            CHAT: thought_native({"reasoning": THOUGHT}, None, {}, {})[CHAT],
            GEMINI: thought_native({}, None, {}, {})[GEMINI],
        },
        notes={f"{name} in": "the proof waits for its own provider" for name in PROOFS},
    ),
    RequestFeature(
        "earlier reasoning without a proof",
        thought(None),
        thought_native(
            {"reasoning": THOUGHT},
            {"summary": [{"type": "summary_text", "text": THOUGHT}]},
            {"type": "thinking", "thinking": THOUGHT, "signature": ""},
            {},
        ),
        told={RESPONSES: {"input": None}, ANTHROPIC: {"messages": None}},
    ),
]

SAMPLING = [
    RequestFeature(
        "stop sequences",
        {"stop": ("END", "FIN")},
        fields(
            chat={"stop": ["END", "FIN"]},
            anthropic={"stop_sequences": ["END", "FIN"]},
            gemini=config(stopSequences=["END", "FIN"]),
            completions={"stop": ["END", "FIN"]},
        ),
    ),
    RequestFeature("seed", {"seed": 7}, fields(chat={"seed": 7}, gemini=config(seed=7), completions={"seed": 7})),
    RequestFeature(
        "temperature",
        {"temperature": 0.5},
        fields(
            seed={"temperature": 0.5},
            chat={"temperature": 0.5},
            responses={"temperature": 0.5},
            anthropic={"temperature": 0.5},
            gemini=config(temperature=0.5),
            completions={"temperature": 0.5},
        ),
    ),
    RequestFeature(
        "a temperature over 1",
        {"temperature": 1.5},
        fields(
            seed={"temperature": 1.5},
            chat={"temperature": 1.5},
            responses={"temperature": 1.5},
            gemini=config(temperature=1.5),
            completions={"temperature": 1.5},
        ),
    ),
    RequestFeature(
        "`top_p`",
        {"top_p": 0.5},
        fields(
            chat={"top_p": 0.5},
            responses={"top_p": 0.5},
            anthropic={"top_p": 0.5},
            gemini=config(topP=0.5),
            completions={"top_p": 0.5},
        ),
    ),
    RequestFeature(
        "`top_k`",
        {"top_k": 5},
        fields(chat={"top_k": 5}, anthropic={"top_k": 5}, gemini=config(topK=5), completions={"top_k": 5}),
        told={PLAIN: {"top_k": 5}},
    ),
    RequestFeature(
        "frequency penalty",
        {"frequency_penalty": 0.5},
        fields(
            chat={"frequency_penalty": 0.5}, gemini=config(frequencyPenalty=0.5), completions={"frequency_penalty": 0.5}
        ),
    ),
    RequestFeature(
        "presence penalty",
        {"presence_penalty": 0.5},
        fields(
            chat={"presence_penalty": 0.5}, gemini=config(presencePenalty=0.5), completions={"presence_penalty": 0.5}
        ),
    ),
    RequestFeature(
        "log probabilities",
        {"logprobs": True, "top_logprobs": 2},
        fields(
            chat={"logprobs": True, "top_logprobs": 2},
            responses={"include": ["message.output_text.logprobs"], "top_logprobs": 2},
            gemini=config(responseLogprobs=True, logprobs=2),
            completions={"logprobs": 2},
        ),
    ),
    RequestFeature(
        "several answers (`n`)",
        {"n": 2},
        fields(chat={"n": 2}, gemini=config(candidateCount=2), completions={"n": 2}),
    ),
    RequestFeature("the best of several answers (`best_of`)", None, fields(completions={"best_of": 2})),
    RequestFeature("the prompt again before the answer (`echo`)", None, fields(completions={"echo": True})),
    RequestFeature("what follows the answer (`suffix`)", None, fields(completions={"suffix": "The end."})),
    RequestFeature("several prompts", None, fields(completions={"prompt": ["Hi", "Ho"]})),
    RequestFeature(
        "limit of the answer",
        {"max_tokens": 100},
        fields(
            seed={"maxTokens": 100},
            chat={"max_tokens": 100},
            responses={"max_output_tokens": 100},
            anthropic={"max_tokens": 100},
            gemini=config(maxOutputTokens=100),
            completions={"max_tokens": 100},
        ),
    ),
]

EPHEMERAL = {"cache_control": {"type": "ephemeral"}}

ACCOUNT = [
    RequestFeature(
        "cache mark on a text",
        said_by_user(Text("Hi", is_cached=True)),
        user(
            chat=[{"type": "text", "text": "Hi", **EPHEMERAL}], anthropic=[{"type": "text", "text": "Hi", **EPHEMERAL}]
        ),
    ),
    RequestFeature(
        "cache mark on a tool",
        {"tools": (msgspec.structs.replace(LOOK_UP, is_cached=True),)},
        fields(chat={"tools": [{**CHAT_TOOL, **EPHEMERAL}]}, anthropic={"tools": [{**ANTHROPIC_TOOL, **EPHEMERAL}]}),
    ),
    RequestFeature(
        "how long to cache",
        None,
        user(
            chat=[{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            anthropic=[{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        ),
    ),
    RequestFeature(
        "metadata",
        {"metadata": b'{"team":"x"}'},
        fields(chat={"metadata": {"team": "x"}}, responses={"metadata": {"team": "x"}}),
    ),
    RequestFeature(
        "user",
        {"user": "ann"},
        fields(
            chat={"user": "ann"},
            responses={"user": "ann"},
            anthropic={"metadata": {"user_id": "ann"}},
            completions={"user": "ann"},
        ),
    ),
    RequestFeature(
        "service tier",
        {"service_tier": "flex"},
        fields(chat={"service_tier": "flex"}, responses={"service_tier": "flex"}, gemini={"serviceTier": "flex"}),
    ),
    RequestFeature(
        "a field of the dialect's own",
        None,
        fields(
            chat={"logit_bias": {"50256": -100}},
            responses={"text": {"verbosity": "low"}},
            anthropic={"inference_geo": "eu"},
            gemini={"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]},
            completions={"logit_bias": {"50256": -100}},
        ),
    ),
    RequestFeature(
        "an earlier answer that the provider stores",
        None,
        fields(
            chat={"previous_response_id": "resp_1"},
            responses={"previous_response_id": "resp_1"},
            anthropic={"container": "container_1"},
            gemini={"cachedContent": "cachedContents/abc"},
        ),
    ),
]

SETTINGS: Final = (*FORMATS, *REASONING, *SAMPLING, *ACCOUNT)
