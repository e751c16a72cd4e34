"""Call -> a responses request. What it has no word for is named as dropped, or refused where that would mislead.

Source: https://platform.openai.com/docs/api-reference/responses/create (openai-python 3.54.0, 2026-11-24).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trunkline.core.call import (
    Audio,
    Call,
    ChoiceMode,
    Document,
    Extras,
    Format,
    Image,
    Inline,
    Media,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Stored,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Url,
)
from trunkline.core.catalog import ThinkingForm
from trunkline.core.problem import invalid
from trunkline.dialects.one_answer import refuse_several
from trunkline.dialects.openai_responses.call import ENCRYPTED, LOGPROBS, NAME
from trunkline.dialects.temperature import temperature_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Target

LOW_BUDGET: Final = 4_096
MEDIUM_BUDGET: Final = 16_384
"""Tokens of reasoning up to which a budget counts as low, as medium effort."""

_DEFAULT_FILENAME: Final[Mapping[str, str]] = {
    "application/pdf": "document.pdf",
    "text/plain": "document.txt",
    "text/markdown": "document.md",
    "text/csv": "document.csv",
    "text/html": "document.html",
}
"""A file must have a name, and its ending tells what it is."""


class Body:
    """A request in the making: its items, and the names of what cannot be told."""

    def __init__(self) -> None:
        self.items: list[dict[str, object]] = []
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """What cannot be told, each name once."""
        return tuple(self._dropped)

    def drop(self, name: str) -> None:
        """This cannot be told."""
        self._dropped[name] = None

    def extras(self, extras: Extras | None) -> dict[str, msgspec.Raw]:
        """Extras of this dialect; another's are dropped by their names."""
        if extras is None:
            return {}
        if extras.dialect == NAME:
            return {name: msgspec.Raw(raw) for name, raw in extras.fields}
        for name, _ in extras.fields:
            self.drop(name)
        return {}

    def cached(self, part: Text | Image | Document, extras: Mapping[str, object]) -> None:
        """A mark for the cache: OpenAI finds for itself what is worth caching, or has its own mark in the extras."""
        if part.is_cached and "prompt_cache_breakpoint" not in extras:
            self.drop("cache_control")


def write_body(call: Call, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """The JSON body, and what it does not tell. Raises Problem where that would change what was asked for."""
    body = Body()
    _refuse_unsayable(call)
    instructions, messages = _instructions(call.messages)
    for message in messages:
        _message(message, body)
    request: dict[str, object] = {"model": target.model.id}
    if instructions is not None:
        request["instructions"] = instructions
    request["input"] = body.items
    if call.stream:
        request["stream"] = True
    request["store"] = False
    _sampling(call, target, request, body)
    _tools(call, request, body)
    if call.format is not None:
        request["text"] = {"format": _format(call.format)}
    if call.thinking is not None and (reasoning := _reasoning(call.thinking, target, body)) is not None:
        request["reasoning"] = reasoning
    if includes := _includes(call, request):
        request["include"] = includes
    metadata = None if call.metadata is None else msgspec.Raw(call.metadata)
    said = {"user": call.user, "metadata": metadata, "service_tier": call.service_tier}
    request.update({name: value for name, value in said.items() if value is not None})
    _add_extras(request, body.extras(call.extras))
    return msgspec.json.encode(request), body.dropped


def _includes(call: Call, request: Mapping[str, object]) -> list[str]:
    """What is to come beside the text."""
    includes = [LOGPROBS] if call.logprobs or call.top_logprobs else []
    if call.thinking is not None and call.thinking.is_on and "reasoning" in request:
        includes.append(ENCRYPTED)
    return includes


def _tools(call: Call, request: dict[str, object], body: Body) -> None:
    if call.tools:
        request["tools"] = [_tool(tool, body) for tool in call.tools]
    if call.tool_choice is not None:
        choice = call.tool_choice
        is_named = choice.mode is ChoiceMode.NAMED
        request["tool_choice"] = {"type": "function", "name": choice.name} if is_named else choice.mode.value
    if call.parallel_tool_calls is not None:
        request["parallel_tool_calls"] = call.parallel_tool_calls


def _refuse_unsayable(call: Call) -> None:
    refuse_several(call)
    if call.stop:
        raise invalid(
            "`stop` cannot be asked of this target: OpenAI's responses have no stop sequences. Leave it out.",
            param="stop",
        )


def _sampling(call: Call, target: Target, request: dict[str, object], body: Body) -> None:
    if (temperature := temperature_for(call, target, is_free_without_thought=True)) is not None:
        request["temperature"] = temperature
    if call.max_tokens is not None:
        request["max_output_tokens"] = limited(
            call.max_tokens, target, "max_tokens", is_default="max_tokens" in call.defaulted
        )
    if call.top_p is not None:
        request["top_p"] = call.top_p
    if call.top_logprobs is not None:
        request["top_logprobs"] = call.top_logprobs
    unsaid = {
        "top_k": call.top_k,
        "seed": call.seed,
        "frequency_penalty": call.frequency_penalty or None,  # 0 is what it is without one
        "presence_penalty": call.presence_penalty or None,
    }
    for name, value in unsaid.items():
        if value is not None:
            body.drop(name)


def limited(wanted: int, target: Target, param: str, *, is_default: bool = False) -> int:
    """The limit of the answer. Raises Problem where an explicit one is over the target's."""
    limit = target.model.max_output_tokens
    if limit is None or wanted <= limit:
        return wanted
    if is_default:
        return limit
    raise invalid(f"{target.name} gives at most {limit:,} tokens in an answer; {wanted:,} were asked for.", param=param)


def _instructions(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    """The first message as `instructions`, where it is a system prompt in plain text; the rest."""
    if len(messages) > 1 and (first := messages[0]).role is Role.SYSTEM and first.name is None and first.extras is None:
        match first.parts:
            case (Text(text=text, is_cached=False, extras=None),):
                return text, messages[1:]
            case _:
                pass
    return None, messages


def _message(message: Message, body: Body) -> None:
    """A message as one or more items: calls, results and thoughts are items of their own."""
    extras = body.extras(message.extras)
    if message.name is not None:
        body.drop("name")
    content: list[dict[str, object]] = []

    def flush() -> None:
        if content:
            body.items.append(
                {"type": "message", "role": _role(message), "content": _compact(content, message.role), **extras}
            )
            content.clear()

    for part in message.parts:
        match part:
            case ToolCall():
                flush()
                _tool_call(part, body)
            case ToolResult():
                flush()
                _tool_result(part, body)
            case Reasoning():
                flush()
                _thought(part, body)
            case _:
                content.append(_part(part, message.role, body))
    flush()


def _role(message: Message) -> str:
    """A tool's message whose blocks are no results speaks as the user."""
    return "user" if message.role is Role.TOOL else message.role.value


def _compact(content: list[dict[str, object]], role: Role) -> object:
    """One plain text as the bare string that every server of this dialect takes, an assistant's words, too.

    OpenAI takes them as parts just as well, but servers that hold to its schema (vLLM) take a part of an assistant's
    for an answer that was stored and want its `id` and `status`; its guide to conversations writes them as a string.
    Source: https://developers.openai.com/api/docs/guides/conversation-state (read 2026-11-26).
    """
    only = content[0]
    if len(content) == 1 and only.keys() == {"type", "text"}:
        return only["text"]
    beside: dict[str, object] = {"annotations": []} if role is Role.ASSISTANT else {}
    return [{**part, **beside} if part["type"] == "output_text" else part for part in content]


def _part(part: Part, role: Role, body: Body) -> dict[str, object]:
    match part:
        case Text():
            extras = body.extras(part.extras)
            body.cached(part, extras)
            return {"type": "output_text" if role is Role.ASSISTANT else "input_text", "text": part.text, **extras}
        case Refusal() if role is Role.ASSISTANT:
            return {"type": "refusal", "refusal": part.text}
        case Refusal():
            return {"type": "input_text", "text": part.text}
        case Image() | Document() | Audio() if role is Role.ASSISTANT:
            raise invalid(
                "OpenAI's responses take media from the user, not in an assistant's message.", param="messages"
            )
        case Image():
            extras = body.extras(part.extras)
            body.cached(part, extras)
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "input_image", "image_url": _url(part.media), **detail, **extras}
        case Document():
            extras = body.extras(part.extras)
            body.cached(part, extras)
            return {"type": "input_file", **_file(part), **extras}
        case Audio():
            sound = {"data": part.data, "format": part.format}
            return {"type": "input_audio", "input_audio": sound, **body.extras(part.extras)}
        case _:
            raise AssertionError(part)  # calls, results and thoughts are items of their own


def _url(media: Media) -> str:
    match media:
        case Url(url=url):
            return url
        case Inline(media_type=media_type, data=data):
            return f"data:{media_type};base64,{data}"
        case Stored():
            raise invalid("A provider's stored file cannot be named to this target: send the file.", param="file_id")


def _file(part: Document) -> dict[str, object]:
    if isinstance(part.media, Inline):
        name = part.name or _DEFAULT_FILENAME.get(part.media.media_type, "document")
        return {"filename": name, "file_data": _url(part.media)}
    name = {} if part.name is None else {"filename": part.name}
    return {"file_url": _url(part.media), **name}


def _tool_call(call: ToolCall, body: Body) -> None:
    if call.is_cached:
        body.drop("cache_control")
    if call.opaque is not None:
        body.drop("tool_call.signature")
    item = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
    body.items.append({**item, **body.extras(call.extras)})


def _tool_result(result: ToolResult, body: Body) -> None:
    if result.is_cached:
        body.drop("cache_control")
    if result.is_error:
        body.drop("tool_result.is_error")
    if result.name is not None:
        body.drop("tool_result.name")
    output: object = ""
    if result.parts:
        output = _compact([_part(part, Role.TOOL, body) for part in result.parts], Role.TOOL)
    body.items.append(
        {"type": "function_call_output", "call_id": result.call_id, "output": output, **body.extras(result.extras)}
    )


def _thought(thought: Reasoning, body: Body) -> None:
    """A thought goes back only with OpenAI's own proof of it; without one it means nothing there."""
    extras = body.extras(thought.extras)
    if thought.opaque is None:
        body.drop("reasoning")
        return
    if thought.opaque.dialect != NAME:
        body.drop("reasoning.signature")
        return
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    proof = msgspec.Raw(thought.opaque.raw)
    body.items.append({"type": "reasoning", "summary": summary, "encrypted_content": proof, **extras})


def _tool(tool: Tool, body: Body) -> dict[str, object]:
    if tool.is_cached:
        body.drop("cache_control")
    written: dict[str, object] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    written["parameters"] = None if tool.schema is None else msgspec.Raw(tool.schema)
    # Functions are strict here unless told otherwise, and nowhere else: not said elsewhere means not strict.
    written["strict"] = tool.is_strict or False
    return {**written, **body.extras(tool.extras)}


def _format(wanted: Format) -> dict[str, object]:
    if wanted.schema is None:
        return {"type": "json_object"}
    written: dict[str, object] = {"type": "json_schema", "name": wanted.name or "response"}
    if wanted.description is not None:
        written["description"] = wanted.description
    written["schema"] = msgspec.Raw(wanted.schema)
    if wanted.is_strict is not None:
        written["strict"] = wanted.is_strict
    return written


def _reasoning(thinking: Thinking, target: Target, body: Body) -> dict[str, object] | None:
    """None where the model is not to be told: it never thinks, or always does."""
    if target.model.thinking is ThinkingForm.NEVER:
        body.drop("reasoning")
        return None
    if not thinking.is_on and target.model.always_thinks:
        body.drop("reasoning.enabled")
        return None
    if not thinking.is_on:
        return {"effort": "none"}
    written: dict[str, object] = {}
    if thinking.effort is not None:
        written["effort"] = thinking.effort
    elif thinking.budget_tokens is not None:
        written["effort"] = _effort(thinking.budget_tokens)
    if thinking.budget_tokens is not None:
        body.drop("reasoning.budget_tokens")
    if thinking.is_shown:
        written["summary"] = "auto"
    return written


def _effort(budget_tokens: int) -> str:
    if budget_tokens <= LOW_BUDGET:
        return "low"
    return "medium" if budget_tokens <= MEDIUM_BUDGET else "high"


def _add_extras(request: dict[str, Any], extras: Mapping[str, msgspec.Raw]) -> None:
    """Extras go where they came from: `text.verbosity` into `text`; what is asked for beside the text is added up."""
    for path, raw in extras.items():
        outer, dot, inner = path.partition(".")
        if path == "include":
            request["include"] = msgspec.json.decode(raw, type=list[str]) + request.get("include", [])
        elif dot and outer in {"text", "reasoning"}:
            request.setdefault(outer, {})[inner] = raw
        else:
            request.setdefault(path, raw)
