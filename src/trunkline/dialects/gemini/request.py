"""Call -> a generateContent request.

Sources: https://ai.google.dev/api/generate-content, the types of google-genai 3.4.0 (read 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import ChoiceMode, Format, Role, Text, Thinking, Tool, ToolChoice
from trunkline.core.catalog import ThinkingForm
from trunkline.core.problem import invalid
from trunkline.dialects.gemini.call import CONFIG
from trunkline.dialects.gemini.part import NAME
from trunkline.dialects.gemini.request_parts import PartWriter, own_fields
from trunkline.dialects.one_answer import refuse_several
from trunkline.dialects.temperature import temperature_for
from trunkline.dialects.thinking_words import effort_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.call import Call, Message
    from trunkline.core.catalog import Target

MAX_STOPS: Final = 5
MAX_SEED: Final = 2**31 - 1

_EFFORTS: Final = frozenset({"minimal", "low", "medium", "high", "xhigh"})
_BUDGETS: Final[Mapping[str, int]] = {"minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576}
"""Google's own limits for the words. Source: https://ai.google.dev/gemini-api/docs/openai#thinking (2026-11-25)."""

_TIER: Final[Mapping[str, str]] = {"default": "standard", "flex": "flex", "priority": "priority"}
_MERGED: Final = frozenset({"tools", "toolConfig"})

_LIST = msgspec.json.Decoder(list[msgspec.Raw])


def write_body(call: Call, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The request's JSON, and the names of what it cannot tell.

    Raises Problem INVALID_REQUEST naming what this dialect cannot be asked for and nobody may lose.
    """
    dropped: list[str] = []
    extras = _extras(call, dropped)
    body: dict[str, object] = {}
    system, contents = _conversation(call.messages, dropped)
    if system:
        body["systemInstruction"] = {"parts": system}
    body["contents"] = contents
    if tools := _tools(call.tools, extras.get("tools"), dropped):
        body["tools"] = tools
    if (config := extras.get("toolConfig")) is not None:
        body["toolConfig"] = msgspec.Raw(config)
    elif (choice := _tool_choice(call.tool_choice, has_tools=bool(tools))) is not None:
        body["toolConfig"] = {"functionCallingConfig": choice}
    if config := _generation_config(call, target, extras, dropped):
        body["generationConfig"] = config
    if call.service_tier in _TIER:
        body["serviceTier"] = _TIER[call.service_tier]
    dropped += _unsaid(call)
    body.update(
        (name, msgspec.Raw(raw))
        for name, raw in extras.items()
        if name not in _MERGED and not name.startswith(CONFIG) and name not in body
    )
    return msgspec.json.encode(body), tuple(dict.fromkeys(dropped))


def _unsaid(call: Call) -> list[str]:
    """What Google has no word for."""
    unsaid = {
        "service_tier": call.service_tier not in {None, "auto", *_TIER},
        "user": call.user is not None,
        "metadata": call.metadata is not None,
        "parallel_tool_calls": call.parallel_tool_calls is False,
    }
    return [name for name, is_unsaid in unsaid.items() if is_unsaid]


def _extras(call: Call, dropped: list[str]) -> dict[str, bytes]:
    if call.extras is None:
        return {}
    if call.extras.dialect != NAME:
        dropped += [name for name, _ in call.extras.fields]
        return {}
    return dict(call.extras.fields)


def _conversation(messages: tuple[Message, ...], dropped: list[str]) -> tuple[list[object], list[object]]:
    """The system's parts, and the contents: results of tools that follow each other are one turn."""
    system: list[object] = []
    contents: list[object] = []
    writer = PartWriter(dropped)
    turn: list[object] | None = None
    for message in messages:
        if message.name is not None:
            dropped.append("name")
        if message.role is Role.SYSTEM:
            dropped += ["system.position"] if contents else []
            system += _system(message, writer)
            continue
        parts = writer.write(message)
        if not parts:
            continue
        left = own_fields(message.extras, "message", dropped)
        if message.role is Role.TOOL and turn is not None:
            turn += parts
            continue
        role = "model" if message.role is Role.ASSISTANT else "user"
        contents.append({"role": role, "parts": parts, **left})
        turn = parts if message.role is Role.TOOL else None
    if not contents:
        raise invalid("Gemini needs a message that is not the system's and is not empty.", param="messages")
    return system, contents


def _system(message: Message, writer: PartWriter) -> list[object]:
    if any(not isinstance(part, Text) for part in message.parts):
        raise invalid("A system message for Gemini can hold only text.", param="messages")
    return writer.write(message)


def _tools(tools: tuple[Tool, ...], others: bytes | None, dropped: list[str]) -> list[object]:
    entries: list[object] = []
    if tools:
        entries.append({"functionDeclarations": [_declaration(tool, dropped) for tool in tools]})
    if others is not None:
        entries += _LIST.decode(others)
    return entries


def _declaration(tool: Tool, dropped: list[str]) -> dict[str, object]:
    declaration: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    declaration.update(own_fields(tool.extras, "tools", dropped))
    if tool.own_schema is not None and tool.own_schema.dialect == NAME:
        declaration["parameters"] = msgspec.Raw(tool.own_schema.raw)
    elif tool.schema is not None:
        declaration["parametersJsonSchema"] = msgspec.Raw(tool.schema)
    if tool.is_strict:
        dropped.append("tools.strict")
    if tool.is_cached:
        dropped.append("cache_control")
    return declaration


def _tool_choice(choice: ToolChoice | None, *, has_tools: bool) -> dict[str, object] | None:
    """None where nothing is chosen, or where there is nothing to choose from: Google refuses that."""
    if choice is None:
        return None
    match choice.mode:
        case ChoiceMode.AUTO:
            return {"mode": "AUTO"} if has_tools else None
        case ChoiceMode.NONE:
            return {"mode": "NONE"} if has_tools else None
        case ChoiceMode.REQUIRED:
            return {"mode": "ANY"}
        case ChoiceMode.NAMED:
            return {"mode": "ANY", "allowedFunctionNames": [choice.name]}


def _generation_config(
    call: Call, target: Target, extras: Mapping[str, bytes], dropped: list[str]
) -> dict[str, object]:
    config: dict[str, object] = {}
    _check_limits(call, target)
    values: tuple[tuple[str, object], ...] = (
        ("temperature", temperature_for(call, target)),
        ("topP", call.top_p),
        ("topK", call.top_k),
        ("candidateCount", call.n),
        ("maxOutputTokens", _max_tokens(call, target)),
        ("stopSequences", list(call.stop) or None),
        ("seed", call.seed),
        ("presencePenalty", call.presence_penalty),
        ("frequencyPenalty", call.frequency_penalty),
        ("responseLogprobs", True if call.logprobs or call.top_logprobs else None),
        ("logprobs", call.top_logprobs if call.logprobs or call.top_logprobs else None),
    )
    config.update((name, value) for name, value in values if value is not None)
    if call.format is not None:
        config.update(_format(call.format, dropped))
    if call.thinking is not None and (thinking := _thinking(call, call.thinking, target, dropped)):
        config["thinkingConfig"] = thinking
    for path, raw in extras.items():
        if path.startswith(CONFIG):
            config.setdefault(path.removeprefix(CONFIG), msgspec.Raw(raw))
    return config


def _check_limits(call: Call, target: Target) -> None:
    """Raises Problem INVALID_REQUEST for an explicit value that this target cannot take."""
    refuse_several(call)
    if len(call.stop) > MAX_STOPS:
        raise invalid(f"{target.name} takes at most {MAX_STOPS} stop sequences.", param="stop")
    if call.seed is not None and not -MAX_SEED - 1 <= call.seed <= MAX_SEED:
        raise invalid(f"{target.name} takes a seed of 32 bits: at most {MAX_SEED:,}.", param="seed")


def _max_tokens(call: Call, target: Target) -> int | None:
    wanted, limit = call.max_tokens, target.model.max_output_tokens
    if wanted is None or limit is None or wanted <= limit:
        return wanted
    if "max_tokens" in call.defaulted:
        return limit
    raise invalid(
        f"{target.name} gives at most {limit:,} tokens in an answer; {wanted:,} were asked for.", param="max_tokens"
    )


def _format(wanted: Format, dropped: list[str]) -> dict[str, object]:
    """Google holds every answer strictly to its schema."""
    if wanted.name is not None:
        dropped.append("format.name")
    if wanted.description is not None:
        dropped.append("format.description")
    config: dict[str, object] = {"responseMimeType": "application/json"}
    if wanted.schema is not None:
        config["responseJsonSchema"] = msgspec.Raw(wanted.schema)
    return config


def _thinking(call: Call, thinking: Thinking, target: Target, dropped: list[str]) -> dict[str, object]:
    """How much to think, in the form that the model has for it; empty where there is nothing to say."""
    match target.model.thinking:
        case ThinkingForm.NEVER:
            dropped.append("reasoning")
            return {}
        case ThinkingForm.BUDGET:
            amount = _budget(thinking, target, dropped)
        case ThinkingForm.EFFORT:
            amount = _level(call, thinking, target, dropped)
        case None:
            amount = _as_asked(thinking, target, dropped)
    shown = {} if thinking.is_shown is None else {"includeThoughts": thinking.is_shown}
    if not amount and not shown and target.model.thinking is not ThinkingForm.EFFORT and thinking.is_on:
        amount = {"thinkingBudget": -1}  # as much as the model sees fit
    return {**shown, **amount}


def _as_asked(thinking: Thinking, target: Target, dropped: list[str]) -> dict[str, object]:
    """A limit or a level, as the client says it, for a model of which neither is known."""
    if not thinking.is_on:
        return {"thinkingBudget": 0}
    if thinking.budget_tokens is not None:
        if thinking.effort is not None:
            dropped.append("reasoning.effort")  # Google refuses the two together
        return {"thinkingBudget": thinking.budget_tokens}
    return {} if thinking.effort is None else {"thinkingLevel": _checked(thinking.effort, target, dropped).upper()}


def _budget(thinking: Thinking, target: Target, dropped: list[str]) -> dict[str, object]:
    """A limit in tokens, for models before the third generation."""
    if not thinking.is_on:
        if target.model.always_thinks:
            dropped.append("reasoning.enabled")
            return {}
        return {"thinkingBudget": 0}
    if thinking.effort is not None:
        dropped.append("reasoning.effort")
    if thinking.budget_tokens is not None:
        return {"thinkingBudget": thinking.budget_tokens}
    return {} if thinking.effort is None else {"thinkingBudget": _BUDGETS[_checked(thinking.effort, target, dropped)]}


def _level(call: Call, thinking: Thinking, target: Target, dropped: list[str]) -> dict[str, object]:
    """A level, for models from the third generation on, which have none for not thinking at all."""
    lowest = "LOW" if target.model.always_thinks else "MINIMAL"
    if not thinking.is_on:
        dropped.append("reasoning.enabled")
        return {"thinkingLevel": lowest}
    if thinking.budget_tokens is not None:
        dropped.append("reasoning.max_tokens")
    if thinking.effort is not None:
        level = _checked(thinking.effort, target, dropped).upper()
        if level == "MINIMAL" and lowest != level:
            dropped.append("reasoning.effort")
            level = lowest
        return {"thinkingLevel": level}
    if thinking.budget_tokens is None:
        return {}
    return {"thinkingLevel": effort_for(thinking.budget_tokens, call.max_tokens).upper()}


def _checked(effort: str, target: Target, dropped: list[str]) -> str:
    if effort == "max":
        dropped.append("reasoning.effort")
        return "xhigh"
    if effort not in _EFFORTS:
        words = ", ".join(sorted(_EFFORTS))
        raise invalid(f"{target.name} takes an effort of {words}.", param="reasoning.effort")
    return effort
