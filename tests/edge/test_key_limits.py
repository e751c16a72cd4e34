"""A caller cannot escape its key, and tenants share one upstream account: every field that could reach further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from served import openrouter, serving
from trunkline.access.keys import Keys
from trunkline.core.caller import Caller
from trunkline.dialects.anthropic_messages import state as anthropic_state
from trunkline.dialects.gemini import state as gemini_state
from trunkline.dialects.openai_chat.fields import Fate, fated
from trunkline.dialects.openai_responses import state as responses_state
from trunkline.upstream import script
from trunkline.upstream.scripted import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from served import Router

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
TENANT = Caller(
    user="tenant", scopes=frozenset(), models=frozenset({"fast", "openrouter/*", *(f"{name}/m" for name in DIALECTS)})
)


class OneTenant(Keys):
    """Everybody is the same tenant, with a key of few models and no scopes."""

    def __init__(self) -> None:
        super().__init__(None, is_open=False, clock=lambda: 0.0)

    def authorise(self, credential: str | None, cookie: str | None = None) -> Caller:
        del credential, cookie
        return TENANT


@pytest.fixture
async def upstream() -> AsyncGenerator[ScriptedUpstream]:
    """A provider that has nothing to say: what reached it is what counts."""
    async with ScriptedUpstream(lambda _: script.json_error(400, {"error": {"message": "no"}})) as scripted:
        yield scripted


def configured(upstream: ScriptedUpstream, directory: Path) -> Any:
    rows = [
        f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{upstream.base_url}"\napi_key = "env:KEY"\n'
        f'models = [{{ id = "m" }}, {{ id = "other" }}]\n'
        for name in DIALECTS
    ]
    (directory / "trunkline.toml").write_text("\n".join([*rows, '[aliases]\nfast = "openai_chat/other"\n']))
    return openrouter(upstream, directory, {"KEY": "k"})


@pytest.fixture
async def narrow(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with serving(configured(upstream, tmp_path), keys=OneTenant()) as router:
        yield router


@pytest.fixture
async def wide(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    async with serving(configured(upstream, tmp_path)) as router:
        yield router


Body = dict[str, Any]
HELLO = [{"role": "user", "content": "Hi"}]
BASE: dict[str, tuple[str, Body]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": HELLO}),
    "openai_responses": ("/v1/responses", {"input": HELLO}),
    "anthropic_messages": ("/v1/messages", {"messages": HELLO, "max_tokens": 9}),
    "gemini": ("/v1beta/models/{model}:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
}


async def post(router: Router, dialect: str, fields: Body, *, model: str | None = None) -> httpx.Response:
    """One request of a dialect's own, to an upstream of the same dialect unless another model is named."""
    path, base = BASE[dialect]
    named = model or f"{dialect}/m"
    body = {"model": named, **base, **fields} if dialect != "gemini" else {**base, **fields}
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(router.url + path.format(model=named), json=body)


def openai_part(part: Body) -> Body:
    return {"messages": [{"role": "user", "content": [part]}]}


def gemini_part(part: Body) -> Body:
    return {"contents": [{"role": "user", "parts": [part]}]}


def item(item: Body) -> Body:
    return {"input": [item]}


GOOGLES = "https://generativelanguage.googleapis.com/v1beta/files/abc"

STATE: list[tuple[str, Body, str]] = [
    *(("openai_chat", {name: "x"}, name) for name in sorted(fated(Fate.STATE))),
    ("openai_chat", openai_part({"type": "file", "file": {"file_id": "f"}}), "messages[0].content[0].file.file_id"),
    ("openai_chat", {"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
    *(("openai_responses", {name: "x"}, name) for name in responses_state.STATE_FIELDS),
    *(("openai_responses", item({"type": kind, "id": "x"}), "input[0].type") for kind in responses_state.STATE_ITEMS),
    ("openai_responses", item({"id": "msg_1"}), "input[0].id"),
    (
        "openai_responses",
        {"prompt_cache_options": {"comparison_response_id": "r"}},
        "prompt_cache_options.comparison_response_id",
    ),
    (
        "openai_responses",
        item({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}),
        "input[0].content[0].file_id",
    ),
    ("openai_responses", item({"type": "code_interpreter_call", "container_id": "c"}), "input[0].container_id"),
    *(("anthropic_messages", {name: "x"}, name) for name in anthropic_state.STATE_FIELDS),
    (
        "anthropic_messages",
        openai_part({"type": "image", "source": {"type": "file", "file_id": "f"}}),
        "messages[0].content[0].source.file_id",
    ),
    *(("gemini", {name: "x"}, name) for name in gemini_state.STATE_FIELDS),
    ("gemini", {"tools": [{"fileSearch": {}}]}, "tools[0].fileSearch"),
    ("gemini", {"tools": [{"retrieval": {}}]}, "tools[0].retrieval"),
    ("gemini", gemini_part({"fileData": {"fileUri": GOOGLES}}), "contents[0].parts[0].fileData.fileUri"),
]
TOOLS: list[tuple[str, Body, str]] = [
    *(("openai_chat", {name: [{"id": "web"}]}, name) for name in sorted(fated(Fate.TOOLS))),
    ("openai_chat", {"tools": [{"type": "browser_search"}]}, "tools[0].type"),
    *(
        ("openai_responses", {"tools": [{"type": kind}]}, "tools[0].type")
        for kind in ("web_search", "file_search", "code_interpreter", "mcp", "image_generation", "computer_of_tomorrow")
    ),
    ("anthropic_messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ("anthropic_messages", {"tools": [{"type": "code_execution_20260521", "name": "c"}]}, "tools[0].type"),
    ("anthropic_messages", {"mcp_servers": [{"type": "url", "url": "https://a.example"}]}, "mcp_servers"),
    *(
        ("gemini", {"tools": [{name: {}}]}, f"tools[0].{name}")
        for name in ("googleSearch", "google_search", "codeExecution", "urlContext", "googleMaps")
    ),
]
NEVER = [("openai_responses", name) for name in ("previous_response_id", "background")]


def refused(answer: httpx.Response, path: str) -> bool:
    return answer.status_code == 400 and f"`{path}`" in answer.text


async def test_a_key_without_the_scope_is_refused_by_the_fields_name(
    narrow: Router, upstream: ScriptedUpstream
) -> None:
    let_by = [
        (dialect, path)
        for dialect, fields, path in STATE + TOOLS
        if not refused(await post(narrow, dialect, fields), path)
    ]
    assert let_by == []
    assert upstream.requests == []


async def test_on_an_open_router_each_field_reaches_a_provider_of_its_dialect(
    wide: Router, upstream: ScriptedUpstream
) -> None:
    sent = [(one, fields) for one, fields, path in STATE + TOOLS if (one, path) not in NEVER]
    for dialect, fields in sent:
        await post(wide, dialect, fields)
    arrived = [request.json().items() for request in upstream.requests]
    assert [fields for (_, fields), body in zip(sent, arrived, strict=True) if not fields.items() <= body] == []


async def test_and_no_provider_of_another_dialect(wide: Router, upstream: ScriptedUpstream) -> None:
    let_by: list[tuple[str, str]] = []
    for dialect, fields, path in STATE + TOOLS:
        another = "gemini" if dialect != "gemini" else "openai_chat"
        if not refused(await post(wide, dialect, fields, model=f"{another}/m"), path):
            let_by.append((dialect, path))
    assert let_by == []
    assert upstream.requests == []


@pytest.mark.parametrize("name", [name for _, name in NEVER])
async def test_what_needs_a_kept_answer_is_refused_with_the_way_out(wide: Router, name: str) -> None:
    answer = await post(wide, "openai_responses", {name: "resp_1" if name != "background" else True})
    assert answer.status_code == 400
    assert f"`{name}`" in answer.json()["error"]["message"]
    assert "`input`" in answer.json()["error"]["message"]


@pytest.mark.parametrize("dialect", ["openai_responses", "openai_chat"])
async def test_nothing_is_stored_whatever_the_client_says(
    narrow: Router, wide: Router, upstream: ScriptedUpstream, dialect: str
) -> None:
    for router in (narrow, wide):
        await post(router, dialect, {"store": True})
    assert [request.json().get("store") in {False, None} for request in upstream.requests] == [True, True]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_only_the_models_of_the_key_can_be_named(
    narrow: Router, upstream: ScriptedUpstream, dialect: str
) -> None:
    for model in ("other", "m:nitro", "m:floor", "M"):
        assert (await post(narrow, dialect, {}, model=f"{dialect}/{model}")).status_code == 403
    for model in ("x/y:online", "@preset/mine"):
        assert (await post(narrow, dialect, {}, model=f"openrouter/{model}")).status_code == 400
    assert upstream.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["openai_chat/other"]},
        {"models": ["openai_chat/m", "gemini/other"]},
        {"fallbacks": [{"model": "gemini/other"}]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "openai_responses"])
async def test_every_name_in_a_list_is_checked(
    narrow: Router, upstream: ScriptedUpstream, dialect: str, fields: Body
) -> None:
    answer = await post(narrow, dialect, fields)
    assert answer.status_code == 403
    assert upstream.requests == []


async def test_an_alias_of_the_key_may_be_used_and_its_model_may_not(
    narrow: Router, upstream: ScriptedUpstream
) -> None:
    await post(narrow, "openai_chat", {}, model="fast")
    assert [request.json()["model"] for request in upstream.requests] == ["other"]
    assert (await post(narrow, "openai_chat", {}, model="openai_chat/other")).status_code == 403


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages"])
async def test_a_key_that_comes_twice_is_refused_however_it_is_written(
    narrow: Router, upstream: ScriptedUpstream, dialect: str
) -> None:
    path, base = BASE[dialect]
    whole = msgspec.json.encode({"model": f"{dialect}/m", **base})
    body = whole[:-1] + rb',"mod\u0065l":"openai_chat/other"}'
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"content-type": "application/json"}
        answer = await client.post(narrow.url + path, content=body, headers=headers)
    assert (answer.status_code, "`model` twice" in answer.text) == (400, True)
    assert upstream.requests == []


async def test_the_model_lists_show_only_what_the_key_may_use(narrow: Router) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        listed = (await client.get(f"{narrow.url}/v1/models")).json()["data"]
        names = {model["id"] for model in listed}
        assert names == {"fast", "openrouter/auto", *(f"{name}/m" for name in DIALECTS)}
        assert (await client.get(f"{narrow.url}/v1/models/openai_chat/m")).status_code == 200
        assert (await client.get(f"{narrow.url}/v1/models/openai_chat/other")).status_code == 404


async def test_the_clients_headers_reach_a_provider_of_its_dialect_and_no_other(
    wide: Router, upstream: ScriptedUpstream
) -> None:
    path, base = BASE["anthropic_messages"]
    sent = {"anthropic-beta": "context-1m-2025-08-07", "anthropic-version": "2024-01-01", "x-api-key": "theirs"}
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(wide.url + path, json={"model": "anthropic_messages/m", **base}, headers=sent)
        await client.post(wide.url + path, json={"model": "gemini/m", **base}, headers=sent)
    own, other = (dict(request.headers) for request in upstream.requests)
    assert own["anthropic-beta"] == "context-1m-2025-08-07"
    assert own["anthropic-version"] == "2024-01-01"
    assert own["x-api-key"] == "k"
    assert not {"anthropic-beta", "anthropic-version", "x-api-key"} & other.keys()


async def test_what_a_header_asked_for_and_did_not_get_is_named(wide: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_whole("Hello"))
    path, base = BASE["anthropic_messages"]
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            wide.url + path, json={"model": "openai_chat/m", **base}, headers={"anthropic-beta": "context-1m"}
        )
    assert answer.headers["x-trunkline-dropped"] == "anthropic-beta"


async def test_wishes_that_only_openrouter_can_honour_are_named_where_another_serves(
    wide: Router, upstream: ScriptedUpstream
) -> None:
    wishes = {"only": ["openai_chat", "deepinfra"], "data_collection": "deny", "zdr": True}
    upstream.play(script.chat_whole("Hello"), script.chat_whole("Hello"))
    answer = await post(wide, "openai_chat", {"provider": wishes})
    assert answer.headers["x-trunkline-dropped"] == "provider.data_collection, provider.zdr"
    answer = await post(wide, "openai_chat", {"provider": wishes}, model="openrouter/x/y")
    assert "x-trunkline-dropped" not in answer.headers
    assert [request.json().get("provider") for request in upstream.requests] == [None, wishes]
