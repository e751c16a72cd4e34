"""A plan holds the targets that can serve a request, best first, and says why the others were left out."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.core.call import Envelope, Facts, Need, Operation, Preferences
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Leg, Model, Origin, Provider, Route, Target
from trunkline.core.price import Price
from trunkline.core.problem import Kind, Problem
from trunkline.routing.health import FRESH
from trunkline.routing.plan import Plan, Rules, Wanted, plan

EVERYTHING = frozenset(Need)
OFFERS = {"openai_chat": EVERYTHING, "anthropic_messages": frozenset({Need.IMAGES, Need.TOOLS})}
RULES = Rules(OFFERS, lambda _: FRESH, lambda: 0.5)


def provider(name: str, *models: Model, dialect: str = "openai_chat") -> Provider:
    return Provider(
        name=name,
        label=name.title(),
        dialect=dialect,
        origin=Origin("http", "127.0.0.1", 8080),
        path="/v1",
        default_model=models[0].id,
        models=models,
    )


CATALOG = Catalog(
    providers=(
        provider("local", Model(id="small", offers=frozenset({Need.TOOLS})), Model(id="large")),
        provider("claude", Model(id="opus"), dialect="anthropic_messages"),
        provider("groq", Model(id="llama")),
    ),
    aliases=(("fast", "groq/llama"),),
)


def planned(caller: Caller | None = None, *needs: Need, dialect: str = "openai_chat", **envelope: Any) -> Plan:
    facts = Facts(needs=frozenset(needs))
    return plan(Wanted(Envelope(**envelope), dialect, caller or Caller(), CATALOG, lambda: facts), RULES)


def names(made: Plan) -> list[str]:
    return [target.name for target in made.targets]


def refusal(*needs: Need, caller: Caller | None = None, **envelope: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        planned(caller, *needs, **envelope)
    return caught.value


@pytest.mark.parametrize(
    ("name", "target"),
    [(None, "local/small"), ("large", "local/large"), ("local/x", "local/x"), ("fast", "groq/llama")],
)
def test_a_plan_has_the_target_of_the_model(name: str | None, target: str) -> None:
    assert names(planned(model=name)) == [target]


def test_a_model_that_nobody_serves_has_no_plan() -> None:
    assert refusal(model="huge").kind is Kind.NOT_FOUND
    assert refusal(model="large", fallbacks=("huge",)).kind is Kind.NOT_FOUND


def test_fallbacks_follow_the_model_each_once() -> None:
    asked = ("groq/llama", "fast", "local/large", "claude/opus")
    assert names(planned(model="large", fallbacks=asked)) == ["local/large", "groq/llama", "claude/opus"]


def test_what_a_model_is_known_not_to_offer_is_not_asked_of_it() -> None:
    made = planned(None, Need.IMAGES, model="small", fallbacks=("large",))
    assert names(made) == ["local/large"]
    assert [(one.target.name, one.reason) for one in made.passed_over] == [("local/small", "does not take images")]


def test_what_a_dialect_has_no_place_for_is_not_translated_into_it() -> None:
    made = planned(None, Need.AUDIO, model="claude/opus", fallbacks=("large",))
    assert names(made) == ["local/large"]
    assert names(planned(None, Need.AUDIO, model="claude/opus", dialect="anthropic_messages")) == ["claude/opus"]


def test_where_nobody_is_left_the_request_is_refused_with_the_reason() -> None:
    problem = refusal(Need.AUDIO, Need.FILES, model="claude/opus")
    assert problem.kind is Kind.INVALID_REQUEST
    assert problem.message == "claude/opus does not take audio or files."


def test_a_request_is_scanned_only_where_a_target_is_choosy() -> None:
    def scan() -> Facts:
        raise AssertionError("nobody asked")

    plan(Wanted(Envelope(model="large"), "openai_chat", Caller(), CATALOG, scan), RULES)
    with pytest.raises(AssertionError, match="nobody asked"):
        plan(Wanted(Envelope(model="small"), "openai_chat", Caller(), CATALOG, scan), RULES)


def test_embeddings_go_only_where_the_dialect_has_them() -> None:
    assert refusal(model="claude/opus", operation=Operation.EMBED).kind is Kind.INVALID_REQUEST
    assert names(planned(model="large", operation=Operation.EMBED)) == ["local/large"]


ALL: dict[str, Any] = {"model": "large", "fallbacks": ("claude/opus", "groq/llama")}


@pytest.mark.parametrize(
    ("preferences", "left", "consumed"),
    [
        (Preferences(), ["local/large", "claude/opus", "groq/llama"], set[str]()),
        (Preferences(order=("groq", "local")), ["groq/llama", "local/large", "claude/opus"], {"groq", "local"}),
        (Preferences(only=("claude", "deepinfra")), ["claude/opus"], {"claude"}),
        (Preferences(only=("deepinfra",)), ["local/large", "claude/opus", "groq/llama"], set[str]()),
        (Preferences(ignore=("local",)), ["claude/opus", "groq/llama"], {"local"}),
        (Preferences(order=("groq",), allow_fallbacks=False), ["groq/llama"], {"groq"}),
    ],
)
def test_a_caller_narrows_the_plan_by_the_names_of_its_providers(
    preferences: Preferences, left: list[str], consumed: set[str]
) -> None:
    made = planned(preferences=preferences, **ALL)
    assert names(made) == left
    assert made.consumed == consumed
    assert len(made.targets) + len(made.passed_over) == 3


@pytest.mark.parametrize(
    ("models", "model", "may"),
    [
        ({"groq/llama"}, "groq/llama", True),
        ({"groq/llama"}, "fast", True),
        ({"fast"}, "fast", True),
        ({"fast"}, "groq/llama", False),
        ({"groq/*"}, "groq/other", True),
        ({"groq/llama"}, "groq/llama:nitro", False),
        ({"groq/llama"}, None, False),
        (set[str](), "groq/llama", False),
    ],
)
def test_a_caller_asks_only_for_the_models_of_its_key(models: set[str], model: str | None, *, may: bool) -> None:
    caller = Caller(models=frozenset(models))
    if may:
        assert len(planned(caller, model=model).targets) == 1
    else:
        assert refusal(caller=caller, model=model).kind is Kind.FORBIDDEN


DEAR = Price(input_nano=3_000_000_000, output_nano=15_000_000_000)
CHEAP = Price(input_nano=100_000_000, output_nano=400_000_000)


def routed(*legs: tuple[str, Price | None], sort: str | None = None, **most: Any) -> list[str]:
    providers = tuple(provider(name, Model(id="m", price=price)) for name, price in legs)
    route = Route(name="r", legs=tuple(Leg(target=Target(one, one.models[0])) for one in providers))
    envelope = Envelope(model="r", preferences=Preferences(sort=sort, **most))
    catalog = Catalog(providers=providers, routes=(route,))
    return names(plan(Wanted(envelope, "openai_chat", Caller(), catalog, Facts), RULES))


def test_a_target_that_is_written_twice_stands_at_its_first_place() -> None:
    assert routed(("a", None), ("b", None), ("a", None)) == ["a/m", "b/m"]


def test_a_caller_may_sort_by_price_and_set_the_most_that_it_pays() -> None:
    legs = (("dear", DEAR), ("unknown", None), ("cheap", CHEAP))
    assert routed(*legs) == ["dear/m", "unknown/m", "cheap/m"]
    assert routed(*legs, sort="price") == ["cheap/m", "dear/m", "unknown/m"]
    assert routed(*legs, max_output_nano=1_000_000_000) == ["unknown/m", "cheap/m"]
    assert routed(*legs, max_input_nano=0) == ["unknown/m"]


def test_every_fallback_is_checked_too() -> None:
    caller = Caller(models=frozenset({"groq/llama"}))
    assert refusal(caller=caller, model="groq/llama", fallbacks=("local/large",)).kind is Kind.FORBIDDEN


def test_a_refusal_does_not_name_the_targets_of_other_callers() -> None:
    theirs, ours = (provider(name, Model(id="m", offers=frozenset())) for name in ("theirs", "ours"))
    legs = (Leg(target=Target(theirs, theirs.models[0]), caller="secret"), Leg(target=Target(ours, ours.models[0])))
    for chosen, said in ((legs, "ours/m does not take images."), (legs[:1], "is for other callers.")):
        catalog = Catalog(providers=(theirs, ours), routes=(Route(name="r", legs=chosen),))
        facts = Facts(needs=frozenset({Need.IMAGES}))
        with pytest.raises(Problem) as caught:
            plan(Wanted(Envelope(model="r"), "openai_chat", Caller(), catalog, lambda facts=facts: facts), RULES)
        assert caught.value.message.endswith(said)
        assert "theirs" not in caught.value.message
        assert "secret" not in caught.value.message
