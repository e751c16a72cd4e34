"""The dialects' routes in the OpenAPI document. What their bodies hold, the vendors' own references tell."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

TAG: Final = "dialects"
BASES: Final = ("/v1", "/api/v1")

IDEMPOTENCY_KEY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request with the same key gets the same answer, for a day (`idempotent-replayed: true`).",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}

_COMPLETIONS: Final = {
    "/chat/completions": (
        "OpenAI's chat completions",
        "https://platform.openai.com/docs/api-reference/chat/create",
        ["model", "messages"],
    ),
    "/responses": (
        "OpenAI's responses, stateless",
        "https://platform.openai.com/docs/api-reference/responses/create",
        ["model", "input"],
    ),
    "/completions": (
        "OpenAI's older completions of one text",
        "https://platform.openai.com/docs/api-reference/completions/create",
        ["model", "prompt"],
    ),
    "/embeddings": (
        "OpenAI's embeddings",
        "https://platform.openai.com/docs/api-reference/embeddings/create",
        ["model", "input"],
    ),
    "/messages": ("Anthropic's messages", "https://docs.anthropic.com/en/api/messages", ["model", "messages"]),
    "/messages/count_tokens": (
        "An estimate of a request's tokens, in Anthropic's form",
        "https://docs.anthropic.com/en/api/messages-count-tokens",
        ["model", "messages"],
    ),
}
_GEMINI: Final = "https://ai.google.dev/api/generate-content"
_GEMINI_EMBEDDINGS: Final = "https://ai.google.dev/api/embeddings"


def dialect_paths(errors: Json, not_found: Json) -> Json:
    """The paths. `errors` are the answers of a completion that fails, `not_found` those of a list."""
    paths: Json = {}
    for base in BASES:
        for path, (summary, source, required) in _COMPLETIONS.items():
            paths[base + path] = {"post": _completion(summary, source, required, errors)}
    for path, summary in (
        ("key", "The caller's key, in OpenRouter's shape"),
        ("auth/key", "The same, at its older address"),
        ("credits", "The caller's credits, in OpenRouter's shape"),
    ):
        paths[f"/api/v1/{path}"] = {"get": _list(summary, not_found)}
    paths["/api/v1/models/{model}/endpoints"] = {
        "get": {**_list("A model's targets, in OpenRouter's shape", not_found), "parameters": [_MODEL]}
    }
    for base in (*BASES, "/v1beta"):
        paths[f"{base}/models"] = {"get": _list("The models that can be asked for", not_found)}
        paths[f"{base}/models/{{model}}"] = {"get": {**_list("One model", not_found), "parameters": [_MODEL]}}
        paths[f"{base}/models/{{model}}:{{action}}"] = {
            "post": {
                **_completion("Gemini's generateContent and countTokens", _GEMINI, ["contents"], errors),
                "parameters": [_MODEL, _ACTION, IDEMPOTENCY_KEY],
            }
        }
        for action, summary, required in (
            ("embedContent", "Gemini's embedding of one text", "content"),
            ("batchEmbedContents", "Gemini's embeddings of many texts", "requests"),
        ):
            paths[f"{base}/models/{{model}}:{action}"] = {
                "post": {
                    **_completion(summary, _GEMINI_EMBEDDINGS, [required], errors),
                    "parameters": [_MODEL, IDEMPOTENCY_KEY],
                }
            }
    return paths


_MODEL: Final[Json] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "A model's name; it may hold slashes and colons.",
    "schema": {"type": "string", "pattern": "^[a-z0-9._-]+$"},
}
_ACTION: Final[Json] = {
    "name": "action",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "enum": ["generateContent", "streamGenerateContent", "countTokens"]},
}


def _completion(summary: str, source: str, required: list[str], errors: Json) -> Json:
    body: Json = {"type": "object", "required": required}
    stream: Json = {"schema": {"type": "object"}}
    return {
        "summary": summary,
        "tags": [TAG],
        "parameters": [IDEMPOTENCY_KEY],
        "externalDocs": {"url": source},
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "The answer: a stream of events where one was asked for.",
                "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": stream},
            },
            **errors,
        },
    }


def _list(summary: str, errors: Json) -> Json:
    whole: Json = {
        "description": "In the shape of the client's dialect.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    return {"summary": summary, "tags": [TAG], "responses": {"200": whole, **errors}}
