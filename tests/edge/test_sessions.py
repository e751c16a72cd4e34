"""`/api/chat/sessions` over HTTP: pages, changes, exports, bad input, and other people's sessions."""

from __future__ import annotations

import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar

from store.databases import clock, database, history, opened, somewhere
from store.turns import begin, finish, say
from trunkline.core.caller import Caller
from trunkline.edge.problem_response import EXCEPTION_HANDLERS
from trunkline.edge.sessions import session_routes
from trunkline.server import Server
from trunkline.store.history import History

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping

    from store.databases import Clock, Place

    Scope = MutableMapping[str, Any]

__all__ = ["clock", "database", "history", "somewhere"]

PATH = "/api/chat/sessions"
ADA = {"x-user": "ada"}
MALLORY = {"x-user": "mallory"}


@asynccontextmanager
async def serving(history: History | None) -> AsyncGenerator[httpx.AsyncClient]:
    """The routes on a real socket, behind a front that takes the user from a header."""
    routes: Any = Litestar(
        route_handlers=[*session_routes(history)], exception_handlers=dict(EXCEPTION_HANDLERS), logging_config=None
    )

    async def front(
        scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        headers = dict(scope["headers"])
        caller = Caller(user=headers.get(b"x-user", b"ada").decode())
        await routes({**scope, "state": {"caller": caller}}, receive, send)

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = Server(front)
    await server.start([listening])
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=base_url, headers=ADA, timeout=20) as client:
            yield client
    finally:
        await server.close(within_s=2)
        listening.close()


@pytest.fixture
async def api(history: History) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the routes; it is `ada` unless it says otherwise."""
    async with serving(history) as client:
        yield client


def told(response: httpx.Response, status: int) -> str:
    """The message of an error response, which has this status and the seed's shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "type"}
    assert body["type"] in {"invalid_request", "server_error"}
    return body["error"]


async def test_without_history_every_route_says_why() -> None:
    async with serving(None) as api:
        key = uuid4()
        for response in (
            await api.get(PATH),
            await api.post(PATH, json={}),
            await api.get(f"{PATH}/{key}"),
            await api.put(f"{PATH}/{key}", json={}),
            await api.delete(f"{PATH}/{key}"),
            await api.get(f"{PATH}/{key}/messages"),
            await api.get(f"{PATH}/{key}/context"),
            await api.get(f"{PATH}/{key}/export"),
        ):
            assert "CHAT_DATABASE_URL" in told(response, 503)


async def test_a_session_is_made_read_changed_and_deleted(api: httpx.AsyncClient) -> None:
    made = await api.post(PATH, json={"title": "  A   title\n", "model": "m/x", "metadata": {"a": {"b": [1]}}})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    session = made.json()
    assert (session["title"], session["model"], session["metadata"]) == ("A title", "m/x", {"a": {"b": [1]}})
    assert (session["messageCount"], session["isArchived"], session["lastMessageAt"]) == (0, False, None)
    assert session["createdAt"].endswith("Z")
    path = f"{PATH}/{session['id']}"
    assert (await api.get(path)).json() == session
    changed = (await api.put(path, json={"title": "Another", "isArchived": True, "metadata": None})).json()
    assert (changed["title"], changed["isArchived"], changed["metadata"], changed["model"]) == (
        "Another",
        True,
        None,
        "m/x",
    )
    gone = await api.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    told(await api.get(path), 404)


async def test_an_empty_object_makes_an_empty_session(api: httpx.AsyncClient) -> None:
    session = (await api.post(PATH, json={})).json()
    assert (session["title"], session["model"], session["metadata"]) == (None, None, None)


async def test_sessions_are_listed_in_pages(api: httpx.AsyncClient, clock: Clock) -> None:
    for number in range(5):
        clock.now += 1
        await api.post(PATH, json={"title": f"No. {number}"})
    first = (await api.get(PATH, params={"limit": 3})).json()
    assert [session["title"] for session in first["sessions"]] == ["No. 4", "No. 3", "No. 2"]
    second = (await api.get(PATH, params={"limit": 3, "cursor": first["nextCursor"]})).json()
    assert [session["title"] for session in second["sessions"]] == ["No. 1", "No. 0"]
    assert second["nextCursor"] is None


async def test_sessions_are_searched_and_archived_ones_listed_apart(api: httpx.AsyncClient) -> None:
    await api.post(PATH, json={"title": "Trunk lines"})
    away = (await api.post(PATH, json={"title": "Branch lines"})).json()
    await api.put(f"{PATH}/{away['id']}", json={"isArchived": True})
    for params, titles in (
        ({"q": "TRUNK"}, ["Trunk lines"]),
        ({"q": "branch"}, []),
        ({"q": "branch", "archived": "true"}, ["Branch lines"]),
        ({"archived": "false"}, ["Trunk lines"]),
        ({"q": ""}, ["Trunk lines"]),
    ):
        found = (await api.get(PATH, params=params)).json()
        assert [session["title"] for session in found["sessions"]] == titles, params


async def test_messages_are_there_as_soon_as_an_answer_has_ended(api: httpx.AsyncClient, history: History) -> None:
    session = await say(history, "Question", "Answer", status="cut")
    page = (await api.get(f"{PATH}/{session}/messages")).json()
    assert page["nextCursor"] is None
    question, answer = page["messages"]
    assert (question["role"], question["content"], question["status"]) == ("user", "Question", "complete")
    assert (question["temperature"], question["maxTokens"], question["requestId"]) == (0.7, 100, "r-1")
    assert (answer["role"], answer["content"], answer["status"]) == ("assistant", "Answer", "cut")
    assert (answer["parentId"], answer["sessionId"]) == (question["id"], session)
    assert answer["parts"] == [{"type": "text", "text": "Answer"}]
    assert (answer["tokensUsed"], answer["costNano"]) == (None, None)


async def test_messages_are_listed_in_pages(api: httpx.AsyncClient, history: History) -> None:
    session = await say(history, "Q0", "A0")
    await say(history, "Q1", "A1", session=session)
    first = (await api.get(f"{PATH}/{session}/messages", params={"limit": 3})).json()
    rest = (await api.get(f"{PATH}/{session}/messages", params={"cursor": first["nextCursor"]})).json()
    assert [message["content"] for message in first["messages"] + rest["messages"]] == ["Q0", "A0", "Q1", "A1"]


async def test_the_context_is_what_would_go_upstream(api: httpx.AsyncClient, history: History) -> None:
    session = await say(history, "x" * 400, "y" * 400)
    await say(history, "Failed", "", session=session, status="error")
    whole = (await api.get(f"{PATH}/{session}/context")).json()
    assert [message["content"][:6] for message in whole["messages"]] == ["xxxxxx", "yyyyyy", "Failed"]
    assert whole["estimatedTokens"] == sum(message["estimatedTokens"] for message in whole["messages"])
    part = (await api.get(f"{PATH}/{session}/context", params={"maxTokens": 130})).json()
    assert [message["content"][:6] for message in part["messages"]] == ["yyyyyy", "Failed"]
    assert part["dropped"] == 1
    assert part["estimatedTokens"] <= 130
    assert (await api.get(f"{PATH}/{session}/context", params={"maxTokens": 1})).json()["messages"] == []


async def test_a_session_is_exported_whole(api: httpx.AsyncClient, history: History, clock: Clock) -> None:
    session = await say(history, "Question 0?", "Answer 0.")
    for number in range(1, 60):
        turn = await begin(history, f"Question {number}?", session=session)
        finish(history, turn, f"Answer {number}.", status="cut" if number == 59 else "complete")
    as_json = await api.get(f"{PATH}/{session}/export", params={"format": "json"})
    assert as_json.headers["content-type"] == "application/json"
    assert as_json.headers["content-disposition"] == f'attachment; filename="session-{session}.json"'
    whole = as_json.json()
    assert whole["session"]["id"] == session
    assert [message["content"] for message in whole["messages"]] == [
        text for number in range(60) for text in (f"Question {number}?", f"Answer {number}.")
    ]
    as_markdown = await api.get(f"{PATH}/{session}/export")
    assert as_markdown.headers["content-type"] == "text/markdown; charset=utf-8"
    text = as_markdown.text
    assert text.startswith(
        "# Question 0?\n\n2027-01-15 08:00 UTC\n\n## User\n\nQuestion 0?\n\n## Assistant (served-model)\n"
    )
    assert text.endswith("Answer 59.\n\n*The answer broke here.*\n")
    assert text.count("## User") == text.count("## Assistant") == 60


async def test_an_empty_session_is_exported_too(api: httpx.AsyncClient) -> None:
    made = (await api.post(PATH, json={})).json()
    assert (await api.get(f"{PATH}/{made['id']}/export?format=json")).json() == {"session": made, "messages": []}
    assert (await api.get(f"{PATH}/{made['id']}/export?format=md")).text.startswith("# Untitled\n")


async def test_a_session_of_somebody_else_is_not_there(api: httpx.AsyncClient, history: History) -> None:
    session = await say(history, "Private question", "Private answer", user="ada")
    path = f"{PATH}/{session}"
    before = [(await api.get(f"{path}{tail}")).text for tail in ("", "/messages", "/context", "/export?format=json")]
    for response in (
        await api.get(path, headers=MALLORY),
        await api.put(path, json={"title": "Mine", "isArchived": True}, headers=MALLORY),
        await api.delete(path, headers=MALLORY),
        await api.get(f"{path}/messages", headers=MALLORY),
        await api.get(f"{path}/context", headers=MALLORY),
        await api.get(f"{path}/export", headers=MALLORY),
        await api.get(f"{path}/export?format=json", headers=MALLORY),
    ):
        unknown = told(response, 404)
        assert "Private" not in unknown
        assert unknown == told(await api.get(f"{PATH}/{uuid4()}", headers=MALLORY), 404)
    for query in ({}, {"q": "Private"}, {"q": "%"}, {"archived": "true"}):
        assert (await api.get(PATH, params=query, headers=MALLORY)).json() == {"sessions": [], "nextCursor": None}
    after = [(await api.get(f"{path}{tail}")).text for tail in ("", "/messages", "/context", "/export?format=json")]
    assert before == after


async def test_a_cursor_of_somebody_else_shows_only_ones_own(api: httpx.AsyncClient) -> None:
    for number in range(3):
        await api.post(PATH, json={"title": f"Ada's {number}"})
    cursor = (await api.get(PATH, params={"limit": 1})).json()["nextCursor"]
    assert (await api.get(PATH, params={"cursor": cursor}, headers=MALLORY)).json()["sessions"] == []


BAD_FIELDS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"title": 5}, "title"),
    ({"title": ""}, "title"),
    ({"title": "   "}, "title"),
    ({"title": "x" * 201}, "title"),
    ({"title": "a\0b"}, "title"),
    ({"model": ["m"]}, "model"),
    ({"model": "x" * 257}, "model"),
    ({"model": "a\nb"}, "model"),
    ({"metadata": []}, "metadata"),
    ({"metadata": "text"}, "metadata"),
    ({"metadata": {"a": "x" * 17_000}}, "metadata"),
    ({"metadata": {"a": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}}, "metadata"),
    ({"nonsense": 1}, "nonsense"),
    ({"id": str(uuid4())}, "id"),
    ({"user_id": "mallory"}, "user_id"),
)


async def test_a_bad_field_is_refused_and_named(api: httpx.AsyncClient) -> None:
    session = (await api.post(PATH, json={})).json()
    for body, name in BAD_FIELDS:
        assert f"`{name}`" in told(await api.post(PATH, json=body), 400)
        assert f"`{name}`" in told(await api.put(f"{PATH}/{session['id']}", json=body), 400)
    assert (await api.get(f"{PATH}/{session['id']}")).json() == session


async def test_archived_is_a_boolean_and_nothing_like_one(api: httpx.AsyncClient) -> None:
    session = (await api.post(PATH, json={})).json()
    for value in ("true", 1, None, [], "no"):
        assert "isArchived" in told(await api.put(f"{PATH}/{session['id']}", json={"isArchived": value}), 400)


BAD_BODIES = (
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b'{"title": NaN}',
    b'{"title": "\xff"}',
    b'{"title": "\xed\xa0\x80"}',
    b'{"title": "\\ud800"}',
    b'{"metadata": {"n": 1e999}}',
    b'{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    b"[" * 100_000,
)


async def test_a_body_that_is_not_what_it_should_be_is_refused(api: httpx.AsyncClient) -> None:
    session = (await api.post(PATH, json={})).json()
    for body in BAD_BODIES:
        for method, path in (("POST", PATH), ("PUT", f"{PATH}/{session['id']}")):
            told(await api.request(method, path, content=body, headers={"content-type": "application/json"}), 400)


async def test_a_large_number_in_metadata_comes_back_as_it_was(api: httpx.AsyncClient) -> None:
    for number in (10**30, -(2**63), 2**64, 1.5e308):
        made = (await api.post(PATH, json={"metadata": {"n": number, "nul": "\0", "emoji": "👩‍🚀"}})).json()
        read = (await api.get(f"{PATH}/{made['id']}")).json()
        assert read["metadata"] == {"n": number, "nul": "\0", "emoji": "👩‍🚀"}


BAD_PARAMETERS = (
    ("?limit=0", "limit"),
    ("?limit=201", "limit"),
    ("?limit=-1", "limit"),
    ("?limit=ten", "limit"),
    ("?limit=", "limit"),
    ("?limit=99999999999999999999999", "limit"),
    ("?cursor=nonsense", "cursor"),
    ("?cursor=%00", "cursor"),
    ("?cursor=" + "A" * 33, "cursor"),
    ("?cursor=" + "f" * 32, "cursor"),
    ("?cursor=" + "A" * 5_000, "cursor"),
    ("?q=" + "x" * 201, "q"),
    ("?q=%00", "q"),
    ("?archived=perhaps", "archived"),
    ("/{id}/messages?limit=0", "limit"),
    ("/{id}/messages?cursor=-1", "cursor"),
    ("/{id}/messages?cursor=_____w", "cursor"),
    ("/{id}/context?maxTokens=0", "maxTokens"),
    ("/{id}/context?maxTokens=1e9", "maxTokens"),
    ("/{id}/context?maxTokens=99999999999999999999", "maxTokens"),
    ("/{id}/export?format=pdf", "format"),
)


async def test_a_bad_parameter_is_refused_and_named(api: httpx.AsyncClient) -> None:
    session = (await api.post(PATH, json={})).json()
    for path, name in BAD_PARAMETERS:
        assert f"`{name}`" in told(await api.get(PATH + path.format(id=session["id"])), 400), path


async def test_what_is_no_id_is_not_found(api: httpx.AsyncClient) -> None:
    for name in ("0", "nonsense", "%00", "%ff", "..%2f..%2fetc", "{id}'", "null", "A" * 5_000, "ⅳ"):
        for tail in ("", "/messages", "/context", "/export"):
            told(await api.get(f"{PATH}/{name}{tail}"), 404)
        told(await api.put(f"{PATH}/{name}", json={}), 404)
        told(await api.delete(f"{PATH}/{name}"), 404)


async def test_other_paths_and_methods_are_told_alike(api: httpx.AsyncClient) -> None:
    told(await api.get(f"{PATH}/{uuid4()}/nonsense"), 404)
    told(await api.patch(PATH, json={}), 405)


INJECTIONS = (
    "' OR '1'='1",
    "'; DROP TABLE chat_messages; --",
    '" OR ""="',
    "1; SELECT pg_sleep(5)",
    "' || pg_sleep(5) || '",
    "'; SELECT pg_sleep(5); --",
    "%' AND (SELECT 1 FROM pg_sleep(5)) IS NOT NULL --",
    "\\'; DELETE FROM chat_sessions; --",
    "') UNION SELECT id, user_id, content FROM chat_messages --",
    "$$; SELECT pg_sleep(5); $$",
    "randomblob(1000000000)",
    "{{7*7}}${7*7}",
)


async def test_sql_in_any_field_is_only_text(api: httpx.AsyncClient, history: History, somewhere: Place) -> None:
    session = await say(history, "Question", "Answer")
    await api.get(f"{PATH}/{session}")
    made = (await api.post(PATH, json={})).json()["id"]
    before = (await somewhere.count("chat_sessions"), await somewhere.count("chat_messages"))
    for text in INJECTIONS:
        started = time.perf_counter()
        responses = [
            await api.get(PATH, params={name: text}) for name in ("q", "limit", "cursor", "archived", "order", "sort")
        ]
        responses += [
            await api.get(f"{PATH}/{made}/{tail}", params={name: text})
            for tail, name in (
                ("messages", "cursor"),
                ("messages", "limit"),
                ("context", "maxTokens"),
                ("export", "format"),
            )
        ]
        responses += [
            await api.request(method, f"{PATH}/{text.replace('/', '')}", json={} if method == "PUT" else None)
            for method in ("GET", "PUT", "DELETE")
        ]
        responses += [
            await api.put(f"{PATH}/{made}", json=body)
            for body in ({"title": text}, {"model": text}, {"metadata": {text: text}}, {text: text})
        ]
        responses.append(await api.get(PATH, headers={"x-user": text}))
        assert time.perf_counter() - started < 4 * 1.0
        assert {response.status_code for response in responses} <= {200, 400, 404}
        read = (await api.get(f"{PATH}/{made}")).json()
        assert (read["title"], read["model"], read["metadata"]) == (" ".join(text.split()), text, {text: text})
        for user, name in (("ada", text), (text, session)):
            with pytest.raises(Exception, match="There is no session"):
                await begin(history, text, session=name, user=user)
    after = (await somewhere.count("chat_sessions"), await somewhere.count("chat_messages"))
    assert after == before
    assert await somewhere.rows("SELECT content FROM chat_messages ORDER BY position") == [("Question",), ("Answer",)]


async def test_while_the_database_is_away_the_routes_say_so(unused_port: int) -> None:
    async with (
        opened(f"postgresql://u:canary-password@127.0.0.1:{unused_port}/d") as database,
        serving(History(database)) as api,
    ):
        for response in (await api.get(PATH), await api.post(PATH, json={}), await api.get(f"{PATH}/{uuid4()}")):
            assert "not available" in told(response, 503)
            assert response.headers["retry-after"] == "5"
            assert "canary" not in response.text


async def test_the_document_describes_the_routes(history: History) -> None:
    app = Litestar(route_handlers=[*session_routes(history)], exception_handlers=dict(EXCEPTION_HANDLERS))
    document = app.openapi_schema.to_schema()
    assert set(document["paths"]) == {
        PATH,
        f"{PATH}/{{session_id}}",
        f"{PATH}/{{session_id}}/messages",
        f"{PATH}/{{session_id}}/context",
        f"{PATH}/{{session_id}}/export",
    }
    assert "maxTokens" in str(document["paths"][f"{PATH}/{{session_id}}/context"])
