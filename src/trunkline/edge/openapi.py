"""The OpenAPI 3.1 document: Litestar's part, made from its structs, and the raw routes, which it does not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trunkline import __version__
from trunkline.core.problem import STATUS, Kind
from trunkline.dialects import simple
from trunkline.edge.openapi_dialects import BASES, IDEMPOTENCY_KEY, dialect_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]

ERROR: Final[Json] = {
    "type": "object",
    "description": "What failed and what to do about it.",
    "required": ["error", "type"],
    "properties": {
        "error": {"type": "string"},
        "type": {"type": "string", "enum": sorted(set(simple.ERROR_TYPE.values()))},
    },
}
ERROR_REF: Final[Json] = {"$ref": "#/components/schemas/Error"}

CHAT_REQUEST: Final[Json] = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {
            "type": "string",
            "minLength": 1,
            "maxLength": simple.MAX_MESSAGE_CHARACTERS,
            "pattern": r"\S",
            "description": "The prompt.",
        },
        "temperature": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": simple.MAX_TEMPERATURE,
            "default": simple.DEFAULT_TEMPERATURE,
        },
        "maxTokens": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": simple.MAX_MAX_TOKENS,
            "default": simple.DEFAULT_MAX_TOKENS,
        },
        "model": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": simple.MAX_MODEL_CHARACTERS,
            "pattern": "^[ -~]*[!-~][ -~]*$",
            "description": "`provider/model`, an alias, or a name that one provider serves. Default: the router's.",
        },
        "sessionId": {
            "type": ["string", "null"],
            "format": "uuid",
            "description": "The session to go on with. Left out, a new one begins (X-Session-Id), if history is on.",
        },
    },
    "example": {"message": "Hello, how are you?", "temperature": 0.7, "maxTokens": 10000},
}

CONTENT: Final[Json] = {
    "type": "object",
    "description": "More of the answer.",
    "required": ["content"],
    "properties": {"content": {"type": "string"}},
}

EXPORT: Final[Json] = {
    "type": "object",
    "required": ["session", "messages"],
    "properties": {
        "session": {"$ref": "#/components/schemas/Session"},
        "messages": {"type": "array", "items": {"$ref": "#/components/schemas/StoredMessage"}},
    },
}

ANYWHERE: Final = (
    Kind.INVALID_REQUEST,
    Kind.FORBIDDEN,
    Kind.MISDIRECTED,
    Kind.METHOD_NOT_ALLOWED,
    Kind.INTERNAL,
)
"""What any route may answer: the front's checks come before it."""

LISTED: Final = (*ANYWHERE, Kind.UNAUTHENTICATED, Kind.DRAINING, Kind.NOT_FOUND)

BEHIND_A_KEY: Final = (*ANYWHERE, Kind.UNAUTHENTICATED, Kind.DRAINING)


def _errors(kinds: Iterable[Kind], media: Iterable[str] = ("application/json",)) -> Json:
    statuses = sorted({STATUS[kind] for kind in kinds})
    content = {
        name: {"schema": ERROR_REF} if name == "application/json" else _events(_as_json(ERROR_REF)) for name in media
    }
    return {str(status): {"description": _names(status), "content": content} for status in statuses}


def _events(data: Json) -> Json:
    """An event stream: the schema is that of one event, whose `data:` line is this."""
    return {"schema": {"type": "object", "required": ["data"], "properties": {"data": data}}}


def _as_json(schema: Json) -> Json:
    """A string that holds JSON of this schema."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def _in_their_shape(kinds: Iterable[Kind]) -> Json:
    """Errors as the client's dialect has them."""
    schema: Json = {"application/json": {"schema": {"type": "object"}}}
    return {
        str(status): {"description": _names(status), "content": schema}
        for status in sorted({STATUS[kind] for kind in kinds})
    }


def _names(status: int) -> str:
    return ", ".join(kind.value for kind, number in STATUS.items() if number == status)


def _get(summary: str, tag: str, ok: Json, *, kinds: Iterable[Kind] = ANYWHERE) -> Json:
    return {"get": {"summary": summary, "tags": [tag], "responses": {"200": ok, **_errors(kinds)}}}


def _json(description: str, **properties: Json) -> Json:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def raw_paths() -> Json:
    """The routes that are answered by raw ASGI."""
    string: Json = {"type": "string"}
    pieces = [_as_json(CONTENT), _as_json(ERROR_REF)]
    chat = {
        "summary": "Stream a completion",
        "description": (
            'Server-sent events: `data: {"content":"..."}` as the text arrives, then one terminal: `data: [DONE]`, or'
            ' `data: {"error":"...","type":"..."}` when the answer broke. Errors before the first content have their'
            " status, and the same event as body, or plain JSON if Accept asks for application/json alone."
        ),
        "tags": ["chat"],
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": CHAT_REQUEST}}},
        "responses": {
            "200": {
                "description": "The stream.",
                "headers": {"X-Session-Id": {"description": "The session, if history is on.", "schema": string}},
                "content": {"text/event-stream": _events({"anyOf": [{"const": "[DONE]"}, *pieces]})},
            },
            **_errors(Kind, ("text/event-stream", "application/json")),
        },
    }
    ready = _get("Readiness: whether new requests are welcome", "operations", _json("It is.", status=string))
    ready["get"]["responses"]["503"] = _json("It is draining.", status=string)
    log_in = {
        "summary": "Log a browser in",
        "tags": ["access"],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object", "required": ["key"], "properties": {"key": string}}}
            },
        },
        "responses": {
            "204": {"description": "The cookie is set."},
            **_errors((*ANYWHERE, Kind.UNAUTHENTICATED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE)),
        },
    }
    metrics: Json = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": string}},
    }
    return {
        "/api/chat": {"post": chat},
        "/auth/login": {"post": log_in},
        "/health": _get(
            "The seed's health check",
            "operations",
            _json("It is up.", status=string, timestamp={**string, "format": "date-time"}, uptime={"type": "number"}),
        ),
        "/livez": _get("Liveness", "operations", _json("The process answers.", status=string)),
        "/readyz": ready,
        "/metrics": _get("Metrics of all workers", "operations", metrics, kinds=BEHIND_A_KEY),
    }


NOTHING: Final[Json] = {"type": "object", "additionalProperties": False, "example": {}}

REASONED: Final[Json] = {
    "type": "object",
    "description": "A target; `why` goes on after its name.",
    "required": ["target", "why"],
    "properties": {"target": {"type": "string"}, "why": {"type": "string"}},
}


def admin_paths() -> Json:
    """The administrator's routes, and the receipts of recent requests."""
    string: Json = {"type": "string"}
    listed: Json = {"type": "array", "items": REASONED}
    names: Json = {"type": "array", "items": string}
    plan = _json("The plan.", route=string, policy=names, targets=listed, passed_over=listed)
    reloaded = _json("The new catalogue is in use.", status=string, needs_restart=names)
    wrong = (*BEHIND_A_KEY, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE)
    refused = (*wrong, Kind.NOT_FOUND, Kind.RATE_LIMITED, Kind.KEY_REFUSED, Kind.UNAVAILABLE)
    completion: Json = {"application/json": {"schema": {"type": "object"}, "example": _CHAT}}
    explain = {
        "summary": "Where a request would go, and why",
        "description": "The body is that of a completion; nobody is asked. An error is what it would be answered with.",
        "tags": ["administration"],
        "parameters": [_ROUTE],
        "requestBody": {"required": True, "content": completion},
        "responses": {"200": plan, **_errors(refused)},
    }
    reload = {
        "summary": "Take over the configuration as it is now",
        "description": "All mistakes are told together (`mistakes`); then nothing has changed. Running requests go on.",
        "tags": ["administration"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": NOTHING}}},
        "responses": {"200": reloaded, **_errors((*wrong, Kind.UNAVAILABLE))},
    }
    receipt = {
        "summary": "What became of a request of yours",
        "tags": ["operations"],
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {**string, "pattern": "^[A-Za-z0-9]+$"}}
        ],
        "responses": {
            "200": _json("Its receipt.", id=string, outcome=string, attempts={"type": "array"}),
            **_in_their_shape((*LISTED, Kind.UNAVAILABLE)),
        },
    }
    return {
        "/admin/explain": {"post": explain},
        "/admin/reload": {"post": reload},
        **{f"{base}/requests/{{id}}": {"get": receipt} for base in BASES},
    }


_CHAT: Final[Json] = {"model": "openrouter/auto", "messages": [{"role": "user", "content": "Hello"}]}
_ROUTE: Final[Json] = {
    "name": "route",
    "in": "query",
    "description": "The path of the completion that the body is for.",
    "schema": {"type": "string", "default": "/v1/chat/completions"},
}


def document(framework: Mapping[str, Any]) -> Json:
    """The whole document. `framework` is Litestar's own, made from its routes."""
    components = {**framework.get("components", {})}
    schemas: Json = {**components.get("schemas", {}), "Error": ERROR}
    for name in _bodies(framework):
        # The routes read their bodies strictly; the framework has no word for that.
        schemas[name] = {**schemas[name], "additionalProperties": False}
    components["schemas"] = schemas
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Needed once a secret or a key is set."}
    }
    framework_paths = {
        path: {method: _with_errors(operation) for method, operation in methods.items()}
        for path, methods in framework.get("paths", {}).items()
    }
    # The framework knows one media type for a status.
    export = framework_paths["/api/chat/sessions/{session_id}/export"]["get"]["responses"]["200"]
    export["content"] = {**export["content"], "application/json": {"schema": EXPORT}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trunkline",
            "version": __version__,
            "description": "One server between your applications and every model provider.",
            "license": {"name": "ISC", "identifier": "ISC"},
        },
        "paths": {
            **raw_paths(),
            **framework_paths,
            **dialect_paths(_in_their_shape(Kind), _in_their_shape(LISTED)),
            **admin_paths(),
        },
        "components": components,
        "security": [{}, {"bearer": []}],
    }


def _bodies(framework: Mapping[str, Any]) -> set[str]:
    """The names of the schemas that requests have as their body."""
    operations = (operation for methods in framework.get("paths", {}).values() for operation in methods.values())
    bodies = (operation["requestBody"]["content"] for operation in operations if "requestBody" in operation)
    return {media["schema"]["$ref"].rpartition("/")[2] for content in bodies for media in content.values()}


def _with_errors(operation: Json) -> Json:
    kinds = (
        *BEHIND_A_KEY,
        Kind.NOT_FOUND,
        Kind.CONFLICT,
        Kind.UNAVAILABLE,
        Kind.TOO_LARGE,
        Kind.UNSUPPORTED_MEDIA_TYPE,
    )
    return {**operation, "responses": {**operation.get("responses", {}), **_errors(kinds)}}
