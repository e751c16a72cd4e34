"""`/api/chat/sessions`: one user's conversations. Whose, the Caller says; nobody else's are there."""

import unicodedata
from typing import Annotated, Any, Final, Literal, TypeVar, cast
from uuid import uuid4

import msgspec
from litestar import Request, Router, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter, RawBody
from litestar.response import Stream
from msgspec import UNSET, Meta, UnsetType

from trunkline.core.problem import Kind, Problem, invalid
from trunkline.edge import session_export
from trunkline.store.conversation import MessagePage, Session, SessionPage, session_key
from trunkline.store.history import History
from trunkline.store.owned_sessions import OwnedSessions

MAX_TITLE_CHARACTERS: Final = 200
MAX_MODEL_CHARACTERS: Final = 256
MAX_QUERY_CHARACTERS: Final = 200
MAX_CURSOR_CHARACTERS: Final = 64
MAX_METADATA_BYTES: Final = 16 * 1024
MAX_METADATA_DEPTH: Final = 16
MAX_PAGE: Final = 200
MAX_CONTEXT_TOKENS: Final = 10_000_000

CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"
LINE: Final = f"^[^{CONTROL}]*$"
NOT_BLANK: Final = rf"^[^{CONTROL}]*[^{CONTROL}\s][^{CONTROL}]*$"
"""For the OpenAPI document: what `_text` and `_title` refuse, with sentences of their own."""

T = TypeVar("T")

Title = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_TITLE_CHARACTERS, extra_json_schema={"extra": {"pattern": NOT_BLANK}}),
]
ModelName = Annotated[
    str, Meta(min_length=1, max_length=MAX_MODEL_CHARACTERS, extra_json_schema={"extra": {"pattern": LINE}})
]
Metadata = dict[str, Any]
Mine = NamedDependency[OwnedSessions]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=MAX_CURSOR_CHARACTERS, required=False, description="`nextCursor` of the page before."),
]
SessionId = Annotated[str, PathParameter(description="The session's id.")]


class NewSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A session to make. Its first message becomes its title where none is given."""

    title: Title | None = None
    model: ModelName | None = None
    metadata: Metadata | None = None


class SessionChanges(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    title: Title | UnsetType | None = UNSET
    model: ModelName | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    is_archived: bool | UnsetType = UNSET


class ContextMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message as it would go upstream, and its size in tokens, estimated."""

    role: str
    content: str
    estimated_tokens: int


class Context(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What would go upstream before the next message, oldest first; `dropped` older ones did not fit."""

    session_id: str
    messages: list[ContextMessage]
    estimated_tokens: int
    dropped: int


@get("/", summary="List your sessions, the one active last first")
async def list_sessions(
    mine: Mine,
    q: Annotated[
        str | None,
        QueryParameter(
            max_length=MAX_QUERY_CHARACTERS,
            required=False,
            description="Text to find in titles and messages.",
            schema_extra={"pattern": LINE},
        ),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 20,
    cursor: Cursor = None,
    archived: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
) -> SessionPage:
    """Sessions with activity, newest first. With `archived=true` those that were put away."""
    query = None if q is None else _text(q, "q").strip()
    return await mine.page(query=query, limit=limit, cursor=cursor, is_archived=archived)


@post("/", summary="Make an empty session")
async def create_session(mine: Mine, data: JSONBody[NewSession], body: RawBody) -> Session:  # noqa: ARG001 - `data` makes the schema
    """A chat without a `sessionId` makes one by itself."""
    new = _strictly(body, NewSession)
    return await mine.create(
        uuid4(),
        title=None if new.title is None else _title(new.title),
        model=None if new.model is None else _text(new.model, "model"),
        metadata=None if new.metadata is None else _metadata(new.metadata),
    )


@get("/{session_id:str}", summary="Read a session")
async def read_session(mine: Mine, session_id: SessionId) -> Session:
    """Its title, model, counts and times."""
    return await mine.read(session_key(session_id))


@put("/{session_id:str}", summary="Change a session")
async def update_session(mine: Mine, session_id: SessionId, data: JSONBody[SessionChanges], body: RawBody) -> Session:  # noqa: ARG001 - `data` makes the schema
    """Rename it, archive it, or set its model or metadata."""
    new = _strictly(body, SessionChanges)
    changes: dict[str, Any] = {}
    if new.title is not UNSET:
        changes["title"] = None if new.title is None else _title(new.title)
    if new.model is not UNSET:
        changes["model"] = None if new.model is None else _text(new.model, "model")
    if new.metadata is not UNSET:
        changes["metadata"] = None if new.metadata is None else _metadata(new.metadata)
    if new.is_archived is not UNSET:
        changes["is_archived"] = new.is_archived
    return await mine.update(session_key(session_id), changes)


@delete("/{session_id:str}", summary="Delete a session and its messages")
async def delete_session(mine: Mine, session_id: SessionId) -> None:
    """What is still being streamed into it is not stored any more."""
    await mine.delete(session_key(session_id))


@get("/{session_id:str}/messages", summary="List a session's messages, oldest first")
async def list_messages(
    mine: Mine,
    session_id: SessionId,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)] = 100,
    cursor: Cursor = None,
) -> MessagePage:
    """Every message, also of answers that broke: `status` says how each ended."""
    return await mine.messages(session_key(session_id), limit=limit, cursor=cursor)


@get("/{session_id:str}/context", summary="Show what would go upstream before the next message")
async def show_context(
    mine: Mine,
    session_id: SessionId,
    max_tokens: Annotated[
        int | None,
        QueryParameter(
            name="maxTokens",
            ge=1,
            le=MAX_CONTEXT_TOKENS,
            required=False,
            description="Leave out the oldest over this.",
        ),
    ] = None,
) -> Context:
    """Whole messages; the oldest are left out first."""
    key = session_key(session_id)
    earlier = await mine.context(key)
    found = [
        ContextMessage(role=each.role.value, content=each.text, estimated_tokens=each.estimated_tokens())
        for each in earlier
    ]
    total = sum(each.estimated_tokens for each in found)
    dropped = 0
    while max_tokens is not None and total > max_tokens:
        total -= found[dropped].estimated_tokens
        dropped += 1
    return Context(session_id=str(key), messages=found[dropped:], estimated_tokens=total, dropped=dropped)


@get(
    "/{session_id:str}/export",
    summary="Download a session as one file",
    responses={200: ResponseSpec(data_container=str, media_type="text/markdown", description="The file.")},
)
async def export_session(
    mine: Mine,
    session_id: SessionId,
    format: Annotated[Literal["md", "json"], QueryParameter()] = "md",  # noqa: A002 - the name of the parameter
) -> Stream:
    """As Markdown for people, or as JSON with everything that is known of each message."""
    key = session_key(session_id)
    session = await mine.read(key)
    first = await mine.messages(key, limit=session_export.PAGE)
    found = session_export.pages(mine, session, first)
    is_json = format == "json"
    return Stream(
        session_export.as_json(session, found) if is_json else session_export.as_markdown(session, found),
        media_type="application/json" if is_json else "text/markdown",
        headers={
            "content-disposition": f'attachment; filename="session-{key}.{format}"',
            "x-content-type-options": "nosniff",
        },
    )


def session_routes(history: History | None) -> list[Router]:
    """The routes. The front leaves the Caller in `scope["state"]["caller"]`; without history they answer 503."""

    def mine(request: Request[Any, Any, Any]) -> OwnedSessions:
        if history is None:
            raise Problem(Kind.UNAVAILABLE, "Chat history is off here: CHAT_DATABASE_URL is not set.")
        return history.owned_by(request.scope["state"]["caller"].user)

    router = Router(
        path="/api/chat/sessions",
        route_handlers=[
            list_sessions,
            create_session,
            read_session,
            update_session,
            delete_session,
            list_messages,
            show_context,
            export_session,
        ],
        dependencies={"mine": Provide(mine, sync_to_thread=False)},
        response_headers={"cache-control": "no-store"},
        tags=["sessions"],
    )
    return [router]


def _strictly(body: bytes, kind: type[T]) -> T:
    """The body, without the framework's leniency (it takes "true" for true)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise invalid(f"The body: {error}.") from None


def _text(text: str, name: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise invalid(f"`{name}` must not hold control characters.", param=name)
    return text


def _title(title: str) -> str:
    line = " ".join(title.split())
    if not line:
        raise invalid("`title` must not be empty.", param="title")
    return _text(line, "title")


def _metadata(metadata: Metadata) -> Metadata:
    size = len(msgspec.json.encode(metadata))
    if size > MAX_METADATA_BYTES:
        raise invalid(f"`metadata` must have at most {MAX_METADATA_BYTES:,} bytes as JSON.", param="metadata")
    level: list[Any] = [metadata]
    for _ in range(MAX_METADATA_DEPTH):
        level = [child for each in level for child in _children(each)]
        if not level:
            return metadata
    raise invalid(f"`metadata` must be nested at most {MAX_METADATA_DEPTH} deep.", param="metadata")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("Metadata", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []
