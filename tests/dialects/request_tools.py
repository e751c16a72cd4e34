"""Tools, calls and results in a request, in the hub's terms and in each dialect's own.

Sources: https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create, https://platform.claude.com/docs/en/api/messages,
https://ai.google.dev/api/generate-content; what is OpenRouter's, https://openrouter.ai/docs/api-reference/parameters
(read 2026-11-25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dialects.every_dialect import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dialects.features import BASE, HI, PLAIN, RequestFeature
from dialects.request_native import (
    PNG,
    RAW_SCHEMA,
    SCHEMA,
    fields,
    has,
)
from trunkline.core.call import (
    ChoiceMode,
    Image,
    Inline,
    Message,
    Part,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

if TYPE_CHECKING:
    from trunkline.core.call import Call

LOOK_UP = Tool(name="look_up", description="Looks it up.", schema=RAW_SCHEMA)
ONE_TOOL = {"tools": (LOOK_UP,)}
CHAT_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks it up.", "parameters": SCHEMA},
}
RESPONSES_TOOL = {"type": "function", "name": "look_up", "description": "Looks it up.", "parameters": SCHEMA}
ANTHROPIC_TOOL = {"name": "look_up", "description": "Looks it up.", "input_schema": SCHEMA}
GEMINI_TOOL = {
    "functionDeclarations": [{"name": "look_up", "description": "Looks it up.", "parametersJsonSchema": SCHEMA}]
}


def with_tools(**native: Any) -> dict[str, dict[str, Any]]:
    """The dialects that have a word for it, the tool beside it."""
    tools = {"chat": CHAT_TOOL, "responses": RESPONSES_TOOL, "anthropic": ANTHROPIC_TOOL, "gemini": GEMINI_TOOL}
    return fields(**{name: {"tools": [tools[name]], **said} for name, said in native.items()})


def choice(mode: ChoiceMode, name: str | None = None) -> dict[str, Any]:
    """A tool, and whether it is to be called."""
    return {**ONE_TOOL, "tool_choice": ToolChoice(mode, name)}


def calling(mode: str, **more: Any) -> dict[str, Any]:
    """The same for Gemini."""
    return {"toolConfig": {"functionCallingConfig": {"mode": mode, **more}}}


TOOLS = [
    RequestFeature(
        "tools",
        ONE_TOOL,
        with_tools(chat={}, responses={}, anthropic={}, gemini={}),
        holds=lambda call: [(tool.name, tool.schema) for tool in call.tools] == [("look_up", RAW_SCHEMA)],
    ),
    RequestFeature(
        "tools that keep strictly to their schema",
        {"tools": (msgspec.structs.replace(LOOK_UP, is_strict=True),)},
        fields(
            chat={"tools": [{"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}]},
            responses={"tools": [{**RESPONSES_TOOL, "strict": True}]},
            anthropic={"tools": [{**ANTHROPIC_TOOL, "strict": True}]},
        ),
    ),
    RequestFeature(
        "tool choice: auto",
        choice(ChoiceMode.AUTO),
        with_tools(
            chat={"tool_choice": "auto"},
            responses={"tool_choice": "auto"},
            anthropic={"tool_choice": {"type": "auto"}},
            gemini=calling("AUTO"),
        ),
    ),
    RequestFeature(
        "tool choice: none",
        choice(ChoiceMode.NONE),
        with_tools(
            chat={"tool_choice": "none"},
            responses={"tool_choice": "none"},
            anthropic={"tool_choice": {"type": "none"}},
            gemini=calling("NONE"),
        ),
    ),
    RequestFeature(
        "tool choice: required",
        choice(ChoiceMode.REQUIRED),
        with_tools(
            chat={"tool_choice": "required"},
            responses={"tool_choice": "required"},
            anthropic={"tool_choice": {"type": "any"}},
            gemini=calling("ANY"),
        ),
    ),
    RequestFeature(
        "tool choice: a named one",
        choice(ChoiceMode.NAMED, "look_up"),
        with_tools(
            chat={"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
            responses={"tool_choice": {"type": "function", "name": "look_up"}},
            anthropic={"tool_choice": {"type": "tool", "name": "look_up"}},
            gemini=calling("ANY", allowedFunctionNames=["look_up"]),
        ),
    ),
    RequestFeature(
        "no tool calls in parallel",
        {**ONE_TOOL, "parallel_tool_calls": False},
        with_tools(
            chat={"parallel_tool_calls": False},
            responses={"parallel_tool_calls": False},
            anthropic={"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        holds=lambda call: call.parallel_tool_calls is False,
    ),
    RequestFeature(
        "a tool that the provider runs",
        None,
        fields(
            chat={"web_search_options": {}},
            responses={"tools": [{"type": "web_search"}]},
            anthropic={"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            gemini={"tools": [{"googleSearch": {}}]},
        ),
    ),
]


ARGUMENTS = '{"city":"Rome"}'
CALLED = ToolCall("call_1", "look_up", ARGUMENTS)


def answered(*results: ToolResult, calls: tuple[ToolCall, ...] = (CALLED,)) -> dict[str, Any]:
    """A conversation in which these calls were made and answered."""
    turns = (Message(Role.TOOL, (result,)) for result in results)
    return {"messages": (HI, Message(Role.ASSISTANT, calls), *turns)}


def chat_turns(*results: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """The same in chat completions."""
    made = [
        {"id": f"call_{place}", "type": "function", "function": {"name": "look_up", "arguments": ARGUMENTS}}
        for place in range(1, calls + 1)
    ]
    return {"messages": [BASE[CHAT]["messages"][0], {"role": "assistant", "tool_calls": made}, *results]}


def responses_turns(*results: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """The same as items."""
    made = [
        {"type": "function_call", "call_id": f"call_{place}", "name": "look_up", "arguments": ARGUMENTS}
        for place in range(1, calls + 1)
    ]
    return {"input": [BASE[RESPONSES]["input"][0], *made, *results]}


def anthropic_turns(*results: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """The same as blocks."""
    made = [
        {"type": "tool_use", "id": f"call_{place}", "name": "look_up", "input": {"city": "Rome"}}
        for place in range(1, calls + 1)
    ]
    turns = [{"role": "assistant", "content": made}, {"role": "user", "content": list(results)}]
    return {"messages": [BASE[ANTHROPIC]["messages"][0], *turns]}


def gemini_turns(*results: dict[str, Any], calls: int = 1) -> dict[str, Any]:
    """The same as parts."""
    made = [
        {"functionCall": {"id": f"call_{place}", "name": "look_up", "args": {"city": "Rome"}}}
        for place in range(1, calls + 1)
    ]
    turns = [
        {"role": "model", "parts": made},
        {"role": "user", "parts": [{"functionResponse": {"name": "look_up", **result}} for result in results]},
    ]
    return {"contents": [BASE[GEMINI]["contents"][0], *turns]}


def results_in(call: Call) -> list[tuple[str, tuple[Part, ...], bool]]:
    """The results that a call holds: whose, what, and whether it is an error."""
    return [(part.call_id, part.parts, part.is_error) for part in call.parts() if isinstance(part, ToolResult)]


SUNNY = ToolResult("call_1", (Text("Sunny."),))
SHOWN = ToolResult("call_1", (Text("Look:"), Image(Inline("image/png", PNG))))
FAILED = ToolResult("call_1", (Text("No such city."),), is_error=True)
WINDY = ToolResult("call_2", (Text("Windy."),))

RESULTS = [
    RequestFeature(
        "a tool call and its result",
        answered(SUNNY),
        fields(
            chat=chat_turns({"role": "tool", "tool_call_id": "call_1", "content": "Sunny."}),
            responses=responses_turns({"type": "function_call_output", "call_id": "call_1", "output": "Sunny."}),
            anthropic=anthropic_turns(
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "Sunny."}]}
            ),
            gemini=gemini_turns({"id": "call_1", "response": {"output": "Sunny."}}),
        ),
        holds=lambda call: results_in(call) == [("call_1", (Text("Sunny."),), False)] and has(CALLED)(call),
    ),
    RequestFeature(
        "parallel tool calls and their results",
        answered(SUNNY, WINDY, calls=(CALLED, msgspec.structs.replace(CALLED, id="call_2"))),
        fields(
            chat=chat_turns(
                {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."},
                {"role": "tool", "tool_call_id": "call_2", "content": "Windy."},
                calls=2,
            ),
            responses=responses_turns(
                {"type": "function_call_output", "call_id": "call_1", "output": "Sunny."},
                {"type": "function_call_output", "call_id": "call_2", "output": "Windy."},
                calls=2,
            ),
            anthropic=anthropic_turns(
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "Sunny."}]},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "Windy."}]},
                calls=2,
            ),
            gemini=gemini_turns(
                {"id": "call_1", "response": {"output": "Sunny."}},
                {"id": "call_2", "response": {"output": "Windy."}},
                calls=2,
            ),
        ),
        holds=lambda call: [whose for whose, _, _ in results_in(call)] == ["call_1", "call_2"],
    ),
    RequestFeature(
        "an image in a tool's result",
        answered(SHOWN),
        fields(
            responses=responses_turns(
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": [
                        {"type": "input_text", "text": "Look:"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    ],
                }
            ),
            anthropic=anthropic_turns(
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [
                        {"type": "text", "text": "Look:"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                }
            ),
            gemini=gemini_turns(
                {
                    "id": "call_1",
                    "response": {"output": "Look:"},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                }
            ),
        ),
        told=fields(
            chat=chat_turns(
                {"role": "tool", "tool_call_id": "call_1", "content": "Look:"},
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
                },
            )
        ),
        holds=lambda call: results_in(call) == [("call_1", SHOWN.parts, False)],
        notes={f"{CHAT} out": "in a user's message after it", f"{PLAIN} out": "in a user's message after it"},
    ),
    RequestFeature(
        "a tool that failed (`is_error`)",
        answered(FAILED),
        fields(
            anthropic=anthropic_turns(
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "No such city."}],
                }
            ),
            gemini=gemini_turns({"id": "call_1", "response": {"error": "No such city."}}),
        ),
        holds=lambda call: results_in(call) == [("call_1", FAILED.parts, True)],
        notes=dict.fromkeys((f"{CHAT} out", f"{PLAIN} out", f"{RESPONSES} out"), "the result itself is told"),
    ),
]

TOOL_USE: Final = (*TOOLS, *RESULTS)
