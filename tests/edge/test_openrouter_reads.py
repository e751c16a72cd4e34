"""What OpenRouter's clients read: models, key and credits, in its shape, and nothing made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from served import openrouter, serving

if TYPE_CHECKING:
    from pathlib import Path

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream


async def read(router: Router, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"{router.url}/api/v1/{path}")


@pytest.mark.parametrize("path", ["key", "auth/key"])
async def test_a_key_without_a_limit_says_so(router: Router, path: str) -> None:
    answer = await read(router, path)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["label"], data["limit"], data["usage"]) == ("anonymous", None, None)


async def test_credits_are_not_made_up(router: Router) -> None:
    assert (await read(router, "credits")).json() == {"data": {"total_credits": None, "total_usage": None}}


async def test_a_router_that_wants_a_key_gives_these_to_nobody_else(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = openrouter(upstream, tmp_path, {"TRUNKLINE_ADMIN_SECRET": "canary-administrator-0123456789-abcdefgh"})
    async with serving(settings) as closed:
        assert [(await read(closed, path)).status_code for path in ("key", "credits", "models")] == [401, 401, 401]


async def test_models_are_told_with_what_is_known_of_them(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(
        "[providers.own]\n"
        f'dialect = "openai_chat"\nbase_url = "{upstream.base_url}"\n'
        'models = [{ id = "m", context_tokens = 9, offers = ["images", "tools"], '
        "price = { input_nano = 150000000, output_nano = 600000000 } }, { id = 'plain' }]\n"
        '[models.quick]\ntargets = ["own/plain", "own/m"]\n'
    )
    async with serving(openrouter(upstream, tmp_path)) as router:
        listed = {model["id"]: model for model in (await read(router, "models")).json()["data"]}
    assert listed["own/m"]["pricing"] == {"prompt": "0.00000015", "completion": "0.0000006", "request": "0"}
    assert listed["own/m"]["architecture"]["input_modalities"] == ["text", "image"]
    assert (listed["own/plain"]["pricing"], listed["own/plain"]["context_length"]) == (None, None)
    assert "quick" in listed
