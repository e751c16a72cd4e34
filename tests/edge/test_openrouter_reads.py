"""What OpenRouter's clients read: models, key and credits, in its shape, and nothing made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from served import openrouter, serving
from trunkline.access.keys import Keys
from trunkline.core.call import Need
from trunkline.core.caller import Caller
from trunkline.core.catalog import Model, Origin, Provider, Target, ThinkingForm
from trunkline.core.price import Price
from trunkline.edge.openrouter import described

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream


class OfOneRoute(Keys):
    """Keys of which every one may use a single route."""

    def __init__(self) -> None:
        super().__init__(None, is_open=True, clock=lambda: 0.0)

    def authorise(self, credential: str | None, cookie: str | None = None) -> Caller:
        return Caller(user="somebody", models=frozenset({"quick"}))


async def read(router: Router, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"{router.url}/api/v1/{path}")


@pytest.mark.parametrize("path", ["key", "auth/key"])
async def test_a_key_without_a_limit_says_so(router: Router, path: str) -> None:
    answer = await read(router, path)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["label"], data["limit"], data["limit_remaining"]) == ("anonymous", None, None)
    assert data["rate_limit"]["requests"] == -1


async def test_usage_that_nobody_counted_is_not_nought(router: Router) -> None:
    data = (await read(router, "key")).json()["data"]
    assert {data[name] for name in data if "usage" in name} == {None}
    assert len([name for name in data if "usage" in name]) == 8


async def test_credits_are_not_made_up(router: Router) -> None:
    assert (await read(router, "credits")).json() == {"data": {"total_credits": None, "total_usage": None}}


async def test_a_router_that_wants_a_key_gives_these_to_nobody_else(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": "canary-administrator-0123456789-abcdefgh"})
    async with serving(settings) as closed:
        assert [(await read(closed, path)).status_code for path in ("key", "credits", "models")] == [401, 401, 401]


ROWS = """
[providers.own]
dialect = "openai_chat"
base_url = "{url}"
label = "Our own"

[[providers.own.models]]
id = "m"
context_tokens = 9
max_output_tokens = 5
offers = ["images", "tools"]

[[providers.own.models]]
id = "plain"

[[providers.own.models]]
id = "vectors"
offers = ["embeddings"]

[models.quick]
targets = ["own/plain", "own/m"]
"""


@pytest.fixture
async def known(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    """A router that knows a model well, one by its name alone, one for embeddings, and a route."""
    (tmp_path / "trunkline.toml").write_text(ROWS.format(url=upstream.base_url))
    async with serving(openrouter(upstream, tmp_path)) as router:
        yield router


def test_a_model_is_told_with_what_is_known_of_it() -> None:
    price = Price(input_nano=150_000_000, output_nano=600_000_000, cached_nano=75_000_000)
    model = Model(
        id="m", context_tokens=9, max_output_tokens=5, price=price,
        offers=frozenset({Need.IMAGES, Need.TOOLS}), thinking=ThinkingForm.EFFORT,
    )  # fmt: skip
    provider = Provider(name="own", label="Our own", dialect="gemini", origin=Origin("http", "127.0.0.1", 1), path="")
    assert described("own/m", Target(provider, model)) == {
        "id": "own/m",
        "canonical_slug": "own/m",
        "name": "own/m",
        "description": None,
        "context_length": 9,
        "architecture": {
            "modality": "text+image->text",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "tokenizer": None,
            "instruct_type": None,
        },
        "pricing": {
            "prompt": "0.00000015",
            "completion": "0.0000006",
            "input_cache_read": "0.000000075",
            "request": "0",
        },
        "top_provider": {"context_length": 9, "max_completion_tokens": 5, "is_moderated": None},
        "per_request_limits": None,
        "supported_parameters": [
            "max_tokens", "temperature", "tools", "tool_choice", "reasoning", "include_reasoning",
        ],
        "default_parameters": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": "/api/v1/models/own/m/endpoints"},
    }  # fmt: skip


async def test_the_list_of_models_is_openais_and_openrouters_in_one(known: Router) -> None:
    listed = {model["id"]: model for model in (await read(known, "models")).json()["data"]}
    assert (listed["own/m"]["object"], listed["own/m"]["owned_by"]) == ("model", "own")
    assert listed["own/m"]["architecture"]["input_modalities"] == ["text", "image"]
    assert isinstance(listed["own/m"]["created"], int)


async def test_what_is_not_known_of_a_model_is_null(known: Router) -> None:
    model = (await read(known, "models/own/plain")).json()
    assert model["pricing"] == {"prompt": None, "completion": None, "request": None}
    assert (model["context_length"], model["supported_parameters"]) == (None, None)
    assert model["architecture"]["modality"] == "text->text"


async def test_a_model_for_embeddings_puts_out_embeddings(known: Router) -> None:
    assert (await read(known, "models/own/vectors")).json()["architecture"]["modality"] == "text->embeddings"


async def test_a_route_is_listed_and_told_as_its_first_target(known: Router) -> None:
    listed = [model["id"] for model in (await read(known, "models")).json()["data"]]
    assert "quick" in listed
    assert (await read(known, "models/quick")).json()["id"] == "quick"


async def test_the_endpoints_of_a_route_are_its_targets(known: Router) -> None:
    data = (await read(known, "models/quick/endpoints")).json()["data"]
    assert data["id"] == "quick"
    assert [(one["tag"], one["provider_name"], one["model_id"]) for one in data["endpoints"]] == [
        ("own", "Our own", "own/plain"),
        ("own", "Our own", "own/m"),
    ]
    second = data["endpoints"][1]
    assert (second["context_length"], second["max_completion_tokens"]) == (9, 5)
    assert {second[name] for name in ("status", "uptime_last_30m", "latency_last_30m", "quantization")} == {None}


async def test_the_endpoint_of_a_model_with_slashes_in_its_name_is_its_provider(known: Router) -> None:
    data = (await read(known, "models/openai/gpt-4o/endpoints")).json()["data"]
    assert [one["tag"] for one in data["endpoints"]] == ["openrouter"]


async def test_the_endpoints_of_what_nobody_serves_are_not_found(known: Router) -> None:
    answer = await read(known, "models/nobody-serves-this/endpoints")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_key_for_a_route_does_not_learn_its_targets(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(ROWS.format(url=upstream.base_url))
    async with serving(openrouter(upstream, tmp_path), keys=OfOneRoute()) as router:
        assert (await read(router, "models/quick/endpoints")).json()["data"]["endpoints"] == []
        assert [one["id"] for one in (await read(router, "models")).json()["data"]] == ["quick"]
        assert (await read(router, "models/own/m/endpoints")).status_code == 404
