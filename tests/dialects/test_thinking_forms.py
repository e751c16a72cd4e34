"""A model is asked to think in the form that it has for it; what that form cannot say is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dialects.targets import target as any_target
from trunkline.core.call import Call, Message, Role, Text, Thinking
from trunkline.core.catalog import Model, Quirks, ThinkingForm
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.anthropic_messages.sides import AnthropicMessages
from trunkline.dialects.gemini.sides import Gemini
from trunkline.dialects.openai_chat.egress import OpenAIChat
from trunkline.dialects.openai_responses.sides import OpenAIResponses

if TYPE_CHECKING:
    from trunkline.core.catalog import Target
    from trunkline.dialects.dialect import Egress

HELLO = (Message(Role.USER, (Text("Hello"),)),)
OFF = Thinking(is_on=False)
EGRESSES: dict[str, Egress] = {
    egress.name: egress for egress in (AnthropicMessages(), Gemini(), OpenAIChat(), OpenAIResponses())
}
BUDGET, EFFORT, NEVER = ThinkingForm.BUDGET, ThinkingForm.EFFORT, ThinkingForm.NEVER


def at(dialect: str, form: ThinkingForm | None, **more: Any) -> Target:
    quirks = more.pop("quirks", Quirks())
    return any_target(name="p", dialect=dialect, quirks=quirks, model=Model(id="m", thinking=form, **more))


def written(
    to: Target, thinking: Thinking | None, *, max_tokens: int = 10_000, temperature: float | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    call = Call(messages=HELLO, thinking=thinking, max_tokens=max_tokens, temperature=temperature)
    request = EGRESSES[to.provider.dialect].write_call(call, to)
    return msgspec.json.decode(request.body), request.dropped


def said(to: Target, thinking: Thinking, max_tokens: int = 10_000) -> tuple[Any, tuple[str, ...]]:
    """What the request says of thinking, whatever its dialect calls it, and what is named as dropped."""
    body, dropped = written(to, thinking, max_tokens=max_tokens)
    match to.provider.dialect:
        case "anthropic_messages":
            return (body.get("thinking"), body.get("output_config")), dropped
        case "gemini":
            return body["generationConfig"].get("thinkingConfig"), dropped
        case "openai_chat":
            return body.get("reasoning_effort"), dropped
        case _:
            return body.get("reasoning"), dropped


ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("form", "thinking", "expected", "dropped"),
    [
        (EFFORT, Thinking(), (ADAPTIVE, None), ()),
        (EFFORT, Thinking(effort="xhigh"), (ADAPTIVE, {"effort": "xhigh"}), ()),
        (EFFORT, Thinking(budget_tokens=8_000), (ADAPTIVE, {"effort": "high"}), ("thinking.budget_tokens",)),
        (EFFORT, Thinking(budget_tokens=1_024), (ADAPTIVE, {"effort": "low"}), ("thinking.budget_tokens",)),
        (
            EFFORT,
            Thinking(budget_tokens=8_000, effort="low"),
            (ADAPTIVE, {"effort": "low"}),
            ("thinking.budget_tokens",),
        ),
        (EFFORT, OFF, ({"type": "disabled"}, None), ()),
        (BUDGET, Thinking(), ({"type": "enabled", "budget_tokens": 5_000}, None), ()),
        (BUDGET, Thinking(effort="high"), ({"type": "enabled", "budget_tokens": 8_000}, None), ("thinking.effort",)),
        (BUDGET, Thinking(effort="minimal"), ({"type": "enabled", "budget_tokens": 1_024}, None), ("thinking.effort",)),
        (BUDGET, Thinking(budget_tokens=3_000), ({"type": "enabled", "budget_tokens": 3_000}, None), ()),
        (BUDGET, OFF, ({"type": "disabled"}, None), ()),
        (NEVER, Thinking(effort="high"), (None, None), ("thinking",)),
        (NEVER, OFF, (None, None), ()),
        (None, Thinking(effort="high"), (ADAPTIVE, {"effort": "high"}), ()),
        (None, Thinking(budget_tokens=3_000), ({"type": "enabled", "budget_tokens": 3_000}, None), ()),
    ],
)
def test_claude_is_asked_by_a_word_or_by_a_limit(
    form: ThinkingForm | None, thinking: Thinking, expected: object, dropped: tuple[str, ...]
) -> None:
    assert said(at("anthropic_messages", form), thinking) == (expected, dropped)


def test_claude_without_room_for_the_least_thought_is_not_asked() -> None:
    to = at("anthropic_messages", BUDGET)
    assert said(to, Thinking(effort="high"), max_tokens=1_024) == ((None, None), ("thinking.effort", "thinking"))


@pytest.mark.parametrize(
    ("form", "thinking", "expected", "dropped"),
    [
        (EFFORT, Thinking(), None, ()),
        (EFFORT, Thinking(effort="medium"), {"thinkingLevel": "MEDIUM"}, ()),
        (EFFORT, Thinking(effort="minimal"), {"thinkingLevel": "MINIMAL"}, ()),
        (EFFORT, Thinking(budget_tokens=9_000), {"thinkingLevel": "HIGH"}, ("reasoning.max_tokens",)),
        (
            EFFORT,
            Thinking(is_shown=True, budget_tokens=500),
            {"includeThoughts": True, "thinkingLevel": "LOW"},
            ("reasoning.max_tokens",),
        ),
        (EFFORT, OFF, {"thinkingLevel": "MINIMAL"}, ("reasoning.enabled",)),
        (BUDGET, Thinking(), {"thinkingBudget": -1}, ()),
        (BUDGET, Thinking(effort="medium"), {"thinkingBudget": 8_192}, ("reasoning.effort",)),
        (BUDGET, Thinking(effort="max"), {"thinkingBudget": 24_576}, ("reasoning.effort",)),
        (BUDGET, Thinking(budget_tokens=500), {"thinkingBudget": 500}, ()),
        (BUDGET, OFF, {"thinkingBudget": 0}, ()),
        (NEVER, Thinking(effort="high"), None, ("reasoning",)),
    ],
)
def test_gemini_is_asked_by_a_level_or_by_a_limit(
    form: ThinkingForm, thinking: Thinking, expected: object, dropped: tuple[str, ...]
) -> None:
    assert said(at("gemini", form), thinking) == (expected, dropped)


@pytest.mark.parametrize(
    ("dialect", "form", "thinking", "expected", "dropped"),
    [
        ("anthropic_messages", EFFORT, OFF, (None, None), ("thinking",)),
        ("gemini", EFFORT, OFF, {"thinkingLevel": "LOW"}, ("reasoning.enabled",)),
        ("gemini", EFFORT, Thinking(effort="minimal"), {"thinkingLevel": "LOW"}, ("reasoning.effort",)),
        ("gemini", BUDGET, OFF, None, ("reasoning.enabled",)),
        ("openai_chat", EFFORT, OFF, None, ("reasoning.enabled",)),
        ("openai_responses", EFFORT, OFF, None, ("reasoning.enabled",)),
    ],
)
def test_a_model_that_always_thinks_is_not_told_to_stop(
    dialect: str, form: ThinkingForm, thinking: Thinking, expected: object, dropped: tuple[str, ...]
) -> None:
    assert said(at(dialect, form, always_thinks=True), thinking) == (expected, dropped)


@pytest.mark.parametrize(
    ("form", "thinking", "expected", "dropped"),
    [
        (EFFORT, Thinking(effort="high"), "high", ()),
        (EFFORT, Thinking(budget_tokens=9_000), "high", ("reasoning.max_tokens",)),
        (EFFORT, OFF, "none", ()),
        (NEVER, Thinking(effort="high"), None, ("reasoning",)),
        (None, OFF, None, ("reasoning.enabled",)),
    ],
)
def test_a_chat_model_is_asked_by_a_word(
    form: ThinkingForm | None, thinking: Thinking, expected: object, dropped: tuple[str, ...]
) -> None:
    assert said(at("openai_chat", form), thinking) == (expected, dropped)


def test_a_responses_model_that_never_thinks_is_asked_for_no_thoughts() -> None:
    body, dropped = written(at("openai_responses", NEVER), Thinking(effort="high"))
    assert dropped == ("reasoning",)
    assert "reasoning" not in body
    assert "include" not in body


@pytest.mark.parametrize("dialect", EGRESSES)
def test_a_models_own_word_on_temperature_goes_before_its_providers(dialect: str) -> None:
    takes = at(dialect, None, takes_temperature=True, quirks=Quirks(takes_temperature=False))
    assert b'"temperature":0.5' in EGRESSES[dialect].write_call(Call(messages=HELLO, temperature=0.5), takes).body
    refuses = at(dialect, None, takes_temperature=False)
    with pytest.raises(Problem) as caught:
        written(refuses, None, temperature=0.5)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "temperature")


@pytest.mark.parametrize("dialect", EGRESSES)
def test_a_default_and_the_models_own_temperature_are_left_out_where_none_is_taken(dialect: str) -> None:
    refuses = at(dialect, None, takes_temperature=False)
    for call in (
        Call(messages=HELLO, temperature=0.7, defaulted=frozenset({"temperature"})),
        Call(messages=HELLO, temperature=1.0),
    ):
        assert b"temperature" not in EGRESSES[dialect].write_call(call, refuses).body


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_openai_takes_a_temperature_while_thinking_is_switched_off(dialect: str) -> None:
    body, _ = written(at(dialect, EFFORT, takes_temperature=False), OFF, temperature=0.5)
    assert body["temperature"] == 0.5
    with pytest.raises(Problem):
        written(at(dialect, EFFORT, takes_temperature=False, always_thinks=True), OFF, temperature=0.5)
