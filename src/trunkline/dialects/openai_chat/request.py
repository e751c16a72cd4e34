"""Call -> the body of a chat completion, as this provider takes it, and what it cannot be told.

Sources: https://platform.openai.com/docs/api-reference/chat/create and, for `reasoning`, `cache_control` and
`file_data`, https://openrouter.ai/docs/api-reference/parameters (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import ChoiceMode, Format, Thinking, Tool, ToolChoice
from trunkline.core.catalog import ThinkingForm
from trunkline.core.problem import invalid
from trunkline.dialects.one_answer import refuse_several
from trunkline.dialects.openai_chat.fields import OPENROUTER
from trunkline.dialects.openai_chat.messages import MessageWriter
from trunkline.dialects.openai_chat.wire import NAME, put
from trunkline.dialects.temperature import temperature_for
from trunkline.dialects.thinking_words import effort_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target

SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "priority", "scale", "on_demand", "performance"})
"""Those of this dialect's providers. Other dialects have words of their own."""


def write_body(call: Call, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of what was left out.

    Raises Problem INVALID_REQUEST where leaving it out would change the meaning.
    """
    quirks = target.provider.quirks
    writer = MessageWriter(quirks)
    body: dict[str, Any] = {
        "model": target.model.id,
        "messages": writer.write(call.messages),
        "stream": call.stream,
    }
    dropped = writer.dropped
    if (temperature := temperature_for(call, target, is_free_without_thought=True)) is not None:
        body["temperature"] = temperature
    if call.max_tokens is not None:
        body[quirks.max_tokens_key] = _max_tokens(call.max_tokens, call, target)
    if call.stream and quirks.stream_usage:
        body["stream_options"] = {"include_usage": True}
    _sampling(body, call, target, dropped)
    _shape(body, call, takes_cache=quirks.takes_cache_control, dropped=dropped)
    if call.thinking is not None:
        _thinking(body, call.thinking, call.max_tokens, target, dropped)
    _account(body, call, target, dropped)
    refused = [name for name in quirks.refuses if name in body]
    for name in refused:
        del body[name]
    dropped += refused
    return msgspec.json.encode(body), tuple(dict.fromkeys(dropped))


def over_limit(target: Target, limit: int, wanted: int, param: str) -> Exception:
    """The refusal of an explicit limit that is over what the model gives."""
    return invalid(
        f"{target.name} gives at most {limit:,} tokens in an answer; {wanted:,} were asked for.", param=param
    )


def _max_tokens(wanted: int, call: Call, target: Target) -> int:
    limit = target.model.max_output_tokens
    if limit is None or wanted <= limit:
        return wanted
    if "max_tokens" in call.defaulted:
        return limit
    raise over_limit(target, limit, wanted, "maxTokens")


def _sampling(body: dict[str, Any], call: Call, target: Target, dropped: list[str]) -> None:
    refuse_several(call)
    plain: Mapping[str, object] = {
        "top_p": call.top_p,
        "stop": list(call.stop) or None,
        target.provider.quirks.seed_key: call.seed,
        "frequency_penalty": call.frequency_penalty,
        "presence_penalty": call.presence_penalty,
    }
    body.update({name: value for name, value in plain.items() if value is not None})
    if call.top_k is not None:
        if target.provider.quirks.takes_top_k:
            body["top_k"] = call.top_k
        else:
            dropped.append("top_k")
    if call.logprobs or call.top_logprobs:
        body["logprobs"] = True
    if call.top_logprobs is not None and (call.logprobs or call.top_logprobs):
        body["top_logprobs"] = call.top_logprobs


def _account(body: dict[str, Any], call: Call, target: Target, dropped: list[str]) -> None:
    """Who asks, what for, at which price; and what only this dialect knows."""
    quirks = target.provider.quirks
    if call.user is not None:
        body["user"] = call.user
    if call.metadata is not None:
        if quirks.keeps_answers:
            dropped.append("metadata")  # refused unless the answer is stored
        else:
            body["metadata"] = msgspec.Raw(call.metadata)
    if call.service_tier is not None:
        if call.service_tier in SERVICE_TIERS:
            body["service_tier"] = call.service_tier
        else:
            dropped.append("service_tier")
    if quirks.keeps_answers:
        body["store"] = False
    if call.extras is None:
        return
    for name, raw in call.extras.fields:
        is_known = call.extras.dialect == NAME and (quirks.accepts_provider_object or name not in OPENROUTER)
        if not (is_known and put(body, name, raw)):
            dropped.append(name)


def _shape(body: dict[str, Any], call: Call, *, takes_cache: bool, dropped: list[str]) -> None:
    """Which tools may be called, and what form the answer has.

    Without tools OpenAI refuses every word about how to call them; one that asks for none changes nothing there.
    """
    if call.tools:
        body["tools"] = [_tool(tool, takes_cache=takes_cache, dropped=dropped) for tool in call.tools]
        if call.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = call.parallel_tool_calls
    choice = call.tool_choice
    if choice is not None and (call.tools or choice.mode not in {ChoiceMode.AUTO, ChoiceMode.NONE}):
        body["tool_choice"] = _tool_choice(choice)
    if call.format is not None:
        body["response_format"] = _format(call.format)


def _tool(tool: Tool, *, takes_cache: bool, dropped: list[str]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = msgspec.Raw(tool.schema)
    if tool.is_strict is not None:
        function["strict"] = tool.is_strict
    written: dict[str, Any] = {"type": "function", "function": function}
    if tool.extras is not None:
        for name, raw in tool.extras.fields:
            if name != "cache_control" and not (tool.extras.dialect == NAME and put(written, name, raw)):
                dropped.append(f"tools.{name}")
    if tool.is_cached:
        if takes_cache:
            written["cache_control"] = {"type": "ephemeral"}
        else:
            dropped.append("cache_control")
    return written


def _tool_choice(choice: ToolChoice) -> object:
    if choice.mode is ChoiceMode.NAMED:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode.value


def _format(form: Format) -> dict[str, Any]:
    if form.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": form.name or "answer"}
    if form.description is not None:
        schema["description"] = form.description
    schema["schema"] = msgspec.Raw(form.schema)
    if form.is_strict is not None:
        schema["strict"] = form.is_strict
    return {"type": "json_schema", "json_schema": schema}


def _thinking(
    body: dict[str, Any], thinking: Thinking, max_tokens: int | None, target: Target, dropped: list[str]
) -> None:
    key, model = target.provider.quirks.reasoning_key, target.model
    if key == "reasoning":
        body["reasoning"] = _reasoning(thinking, dropped)
    elif not key or model.thinking is ThinkingForm.NEVER:
        dropped.append("reasoning")
    elif not thinking.is_on:
        # A model that cannot reason would refuse the word for not to, and so would one that always does.
        is_known = thinking.effort == "none" or model.thinking is ThinkingForm.EFFORT
        if is_known and not model.always_thinks:
            body[key] = "none"
        else:
            dropped.append("reasoning.enabled")
    else:
        budget = thinking.budget_tokens
        if budget is not None:
            dropped.append("reasoning.max_tokens")
        effort = thinking.effort or (None if budget is None else effort_for(budget, max_tokens))
        if effort is not None:
            body[key] = effort
    if key != "reasoning" and key and thinking.is_shown is False:
        dropped.append("reasoning.exclude")


def _reasoning(thinking: Thinking, dropped: list[str]) -> dict[str, Any]:
    """OpenRouter's object, which takes an effort or a limit, not both."""
    written: dict[str, Any] = {}
    if not thinking.is_on:
        written["enabled"] = False
    elif thinking.budget_tokens is not None:
        written["max_tokens"] = thinking.budget_tokens
        if thinking.effort is not None:
            dropped.append("reasoning.effort")
    elif thinking.effort is not None:
        written["effort"] = thinking.effort
    else:
        written["enabled"] = True
    if thinking.is_shown is not None:
        written["exclude"] = not thinking.is_shown
    return written
