"""A plan holds the targets of the model that was named, best first."""

from __future__ import annotations

import pytest

from trunkline.core.call import Envelope
from trunkline.core.catalog import Catalog, Model, Origin, Provider
from trunkline.core.problem import Kind, Problem
from trunkline.routing.plan import plan

PROVIDER = Provider(
    name="local",
    label="Local",
    dialect="openai_chat",
    origin=Origin("http", "127.0.0.1", 8080),
    path="/v1",
    default_model="small",
    models=(Model(id="small"), Model(id="large")),
)
CATALOG = Catalog(providers=(PROVIDER,))


@pytest.mark.parametrize(("name", "target"), [(None, "local/small"), ("large", "local/large"), ("local/x", "local/x")])
def test_a_plan_has_the_target_of_the_model(name: str | None, target: str) -> None:
    assert [one.name for one in plan(Envelope(model=name), CATALOG).targets] == [target]


def test_a_model_that_nobody_serves_has_no_plan() -> None:
    with pytest.raises(Problem) as caught:
        plan(Envelope(model="huge"), CATALOG)
    assert caught.value.kind is Kind.NOT_FOUND
