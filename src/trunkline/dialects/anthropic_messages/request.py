"""Call -> the body of a messages request.

Source: https://platform.claude.com/docs/en/api/messages (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import ChoiceMode, Reasoning, Role
from trunkline.core.catalog import ThinkingForm
from trunkline.core.problem import invalid
from trunkline.dialects.anthropic_messages.turns import Conversation, Dropped, marked
from trunkline.dialects.anthropic_messages.words import DEFAULT_MAX_TOKENS, UNREADABLE, thought_of
from trunkline.dialects.one_answer import refuse_several
from trunkline.dialects.temperature import temperature_for
from trunkline.dialects.thinking_words import budget_for, effort_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call, Message, Thinking, Tool
    from trunkline.core.catalog import Target

_CHOICES: Final[Mapping[ChoiceMode, str]] = {
    ChoiceMode.AUTO: "auto",
    ChoiceMode.NONE: "none",
    ChoiceMode.REQUIRED: "any",
    ChoiceMode.NAMED: "tool",
}
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_TIERS: Final[Mapping[str, str]] = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_NESTED: Final = frozenset({"thinking", "output_config", "metadata", "tool_choice"})
"""Objects of which we write a part and the extras may hold the rest."""

_OF_THE_PROMPT: Final = frozenset({"thinking", "output_config", "tool_choice", "cache_control", "context_management"})
"""The extras that a count of tokens takes too."""

MIN_THINKING_TOKENS: Final = 1024

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def request_body(call: Call, target: Target, *, is_count: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The body, and the names of what it does not tell.

    A count of tokens takes only what is part of the prompt. Raises Problem INVALID_REQUEST naming what this dialect
    or this target cannot take.
    """
    dropped = Dropped()
    system, messages = Conversation(dropped).write(call.messages)
    body: dict[str, Any] = {"model": target.model.id}
    if not is_count:
        body["max_tokens"] = _max_tokens(call, target)
    if system:
        body["system"] = system
    body["messages"] = messages
    if call.tools:
        body["tools"] = [_tool(tool, dropped) for tool in call.tools]
    _write_tool_choice(call, body, dropped)
    _write_thinking(call, target, body, dropped)
    _write_format(call, target, body, dropped)
    extras = dropped.extras(call.extras)
    if is_count:
        extras = tuple((name, raw) for name, raw in extras if name in _OF_THE_PROMPT)
    else:
        _write_sampling(call, target, body)
        _write_account(call, body, dropped)
        if call.stream:
            body["stream"] = True
    _write_extras(extras, body)
    return msgspec.json.encode(body), dropped.names


def _write_format(call: Call, target: Target, body: dict[str, Any], dropped: Dropped) -> None:
    """Structured output. A schema's name is only a label, and the answer always keeps to the schema."""
    if call.format is None:
        return
    if call.format.schema is None:
        what = f"{target.name} gives JSON only by a schema: give one, or ask for JSON in your prompt."
        raise invalid(what, param="response_format")
    form = {"type": "json_schema", "schema": msgspec.Raw(call.format.schema)}
    body.setdefault("output_config", {})["format"] = form
    if call.format.description is not None:
        dropped.add("response_format.description")


def _max_tokens(call: Call, target: Target) -> int:
    """The limit that this dialect insists on; above a thinking budget where the client left it to us."""
    limit, wanted = target.model.max_output_tokens, call.max_tokens
    if wanted is not None and "max_tokens" not in call.defaulted:
        if limit is not None and wanted > limit:
            raise invalid(
                f"{target.name} gives at most {limit:,} tokens in an answer; {wanted:,} were asked for.",
                param="max_tokens",
            )
        return wanted
    if wanted is None:
        wanted = limit or DEFAULT_MAX_TOKENS
    budget = call.thinking.budget_tokens if call.thinking and call.thinking.is_on else None
    if budget is not None and budget >= wanted:
        wanted = budget + DEFAULT_MAX_TOKENS
    return wanted if limit is None else min(wanted, limit)


def _write_tool_choice(call: Call, body: dict[str, Any], dropped: Dropped) -> None:
    choice, is_parallel = call.tool_choice, call.parallel_tool_calls
    if not call.tools:
        if choice is not None and choice.mode in {ChoiceMode.REQUIRED, ChoiceMode.NAMED}:
            dropped.add("tool_choice")
        return
    if choice is None and is_parallel is None:
        return
    mode = choice.mode if choice else ChoiceMode.AUTO
    written: dict[str, Any] = {"type": _CHOICES[mode]}
    if mode is ChoiceMode.NAMED and choice is not None:
        written["name"] = choice.name
    if is_parallel is not None and mode is not ChoiceMode.NONE:
        written["disable_parallel_tool_use"] = not is_parallel
    body["tool_choice"] = written


def _write_thinking(call: Call, target: Target, body: dict[str, Any], dropped: Dropped) -> None:
    thinking = call.thinking
    if thinking is None:
        return
    if not thinking.is_on:
        _switch_off(thinking, target, body, dropped)
        return
    amount = _amount(call, thinking, target, dropped)
    if amount is None or (amount[0] is not None and _lacks_proof(call.messages)):
        dropped.add("thinking")
        return
    budget, effort = amount
    body["thinking"] = _how_to_think(budget)
    if thinking.is_shown is not None:
        body["thinking"]["display"] = "summarized" if thinking.is_shown else "omitted"
    _write_effort(effort, body, dropped)


def _switch_off(thinking: Thinking, target: Target, body: dict[str, Any], dropped: Dropped) -> None:
    if target.model.always_thinks:
        dropped.add("thinking")
    elif target.model.thinking is not ThinkingForm.NEVER:
        body["thinking"] = {"type": "disabled"}
        _write_effort(None if thinking.effort == "none" else thinking.effort, body, dropped)


def _amount(call: Call, thinking: Thinking, target: Target, dropped: Dropped) -> tuple[int | None, str | None] | None:
    """A limit in tokens and a word, as the model takes them; None where it cannot be asked to think."""
    budget, effort = thinking.budget_tokens, thinking.effort
    match target.model.thinking:
        case None:
            return budget, effort
        case ThinkingForm.NEVER:
            return None
        case ThinkingForm.EFFORT:
            if budget is None:
                return None, effort
            dropped.add("thinking.budget_tokens")
            return None, effort or effort_for(budget, call.max_tokens)
        case ThinkingForm.BUDGET:
            if effort is not None:
                dropped.add("thinking.effort")
            if budget is not None:
                return budget, None
            room = _max_tokens(call, target)
            return (max(budget_for(effort, room), MIN_THINKING_TOKENS), None) if room > MIN_THINKING_TOKENS else None


def _how_to_think(budget: int | None) -> dict[str, Any]:
    if budget is None:
        return {"type": "adaptive"}
    if budget < MIN_THINKING_TOKENS:
        what = f"A thinking budget must be at least {MIN_THINKING_TOKENS:,} tokens here."
        raise invalid(what, param="thinking.budget_tokens")
    return {"type": "enabled", "budget_tokens": budget}


def _write_effort(effort: str | None, body: dict[str, Any], dropped: Dropped) -> None:
    if effort is not None:
        body["output_config"] = {"effort": _effort(effort, dropped)}


def _effort(effort: str, dropped: Dropped) -> str:
    if effort in _EFFORTS:
        return effort
    if effort == "minimal":
        dropped.add("thinking.effort")
        return "low"
    raise invalid(f"The effort of reasoning must be one of {', '.join(_EFFORTS)}.", param="thinking.effort")


def _lacks_proof(messages: tuple[Message, ...]) -> bool:
    """Whether a tool's result is to be answered, and what was thought before the call is not there in its own words.

    With a budget the upstream refuses such a turn; without one it takes it.
    """
    turns = list(messages)
    answered = False
    while turns and turns[-1].role is not Role.ASSISTANT:
        answered |= turns.pop().role is Role.TOOL
    if not answered:
        return False
    for message in reversed(turns):
        if message.role is Role.USER:
            break
        if any(isinstance(part, Reasoning) and thought_of(part.opaque) is not None for part in message.parts):
            return False
    return True


def _write_sampling(call: Call, target: Target, body: dict[str, Any]) -> None:
    _write_temperature(call, target, body)
    if call.top_p is not None:
        if not 0 <= call.top_p <= 1:
            raise invalid("`top_p` must be from 0 to 1.", param="top_p")
        body["top_p"] = call.top_p
    if call.top_k is not None:
        body["top_k"] = call.top_k
    if call.stop:
        if not all(stop.strip() for stop in call.stop):
            raise invalid(f"{target.name} does not stop at white space alone.", param="stop")
        body["stop_sequences"] = call.stop
    refuse_several(call)


def _write_account(call: Call, body: dict[str, Any], dropped: Dropped) -> None:
    """Whose request it is, and how it is served; and the names of what this dialect has no word for."""
    if call.user is not None:
        body["metadata"] = {"user_id": call.user}
    if call.service_tier in _TIERS:
        body["service_tier"] = _TIERS[call.service_tier]
    unsaid = {
        "service_tier": call.service_tier is not None and call.service_tier not in _TIERS,
        "seed": call.seed is not None,
        "frequency_penalty": bool(call.frequency_penalty),
        "presence_penalty": bool(call.presence_penalty),
        "logprobs": bool(call.logprobs),
        "top_logprobs": bool(call.top_logprobs),
        "metadata": call.metadata is not None,
    }
    for name, is_asked in unsaid.items():
        if is_asked:
            dropped.add(name)


def _write_temperature(call: Call, target: Target, body: dict[str, Any]) -> None:
    """From 0 to 1. A default is clamped, or left out where the model thinks, which takes no other than its own."""
    temperature = temperature_for(call, target)
    if temperature is None:
        return
    is_default = "temperature" in call.defaulted
    if is_default and body.get("thinking", {}).get("type") in {"enabled", "adaptive"}:
        return
    if not 0 <= temperature <= 1 and not is_default:
        raise invalid(f"{target.name} takes a temperature from 0 to 1.", param="temperature")
    body["temperature"] = min(max(temperature, 0.0), 1.0)


def _write_extras(extras: tuple[tuple[str, bytes], ...], body: dict[str, Any]) -> None:
    for name, raw in extras:
        if name in _NESTED:
            if name in body:
                body[name] = {**_OBJECT.decode(raw), **body[name]}
            elif name in {"output_config", "metadata"}:
                body[name] = msgspec.Raw(raw)
        elif name not in body:
            body[name] = msgspec.Raw(raw)


def _tool(tool: Tool, dropped: Dropped) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    written["input_schema"] = msgspec.Raw(_schema(tool))
    if tool.is_strict is not None:
        written["strict"] = tool.is_strict
    return marked(written, tool.extras, dropped, is_cached=tool.is_cached)


def _schema(tool: Tool) -> bytes:
    """The schema of a tool's input, which must say that it is an object."""
    schema = (tool.schema or b"{}").strip()
    try:
        keys = _OBJECT.decode(schema)
    except UNREADABLE:
        raise invalid(f"The schema of the tool {tool.name[:100]!r} must be a JSON object.", param="tools") from None
    if "type" in keys:
        return schema
    return b'{"type":"object"' + (b"," if keys else b"") + schema[1:]
