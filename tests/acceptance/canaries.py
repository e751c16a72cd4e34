"""Secrets to look for where they must not be, and the ways in which requests fail that carry them (S06)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from raw_http import request
from trunkline.upstream import script
from trunkline.upstream.script import End, Framing, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# None has the shape of a real key: a mask that looks for shapes would hide what forgets to look for the key itself.
PROVIDER_KEY: Final = "Canary.Of.The.Provider.Key.7c31"
ADMIN_SECRET: Final = "Canary.Of.The.Administrators.Secret.9d02"
PASSWORD: Final = "Canary.Of.The.Databases.Password.55ab"
CLIENT_KEY: Final = "Canary.Of.Somebodys.Bearer.Token.e817"
API_KEY: Final = "Canary.Of.The.X-Api-Key.Header.20f4"
COOKIE: Final = "Canary.Of.The.Cookie.b6c9"
HEADER: Final = "Canary.Of.Some.Other.Header.417d"
QUERY: Final = "Canary.Of.The.Query.String.8e63"
PROMPT: Final = "Canary of the prompt: my card is 4111-1111-1111-1111, says Zuzana Hrdlickova"
REPLY: Final = "Canary of the reply: what the model said to Zuzana Hrdlickova"

SECRETS: Final = (PROVIDER_KEY, ADMIN_SECRET, PASSWORD, CLIENT_KEY, API_KEY, COOKIE, HEADER, QUERY)
CONTENT: Final = (PROMPT, REPLY)

TARGET: Final = f"/api/chat?key={QUERY}"
ADMITTED: Final = (
    f"Authorization: Bearer {ADMIN_SECRET}",
    f"X-Api-Key: {API_KEY}",
    f"Cookie: theme={COOKIE}; trunkline_session={COOKIE}",
    f"HTTP-Referer: https://example.test/{HEADER}",
    f"x-trunkline-something: {HEADER}",
    "Connection: close",
)
"""What every client sends that may come in: a right key, and beside it all that must not show up anywhere."""

ECHO: Final = f"Authorization: Bearer {PROVIDER_KEY} is wrong. You asked: {PROMPT}"

_HTML: Final = f"<!doctype html><h1>Bad gateway</h1><pre>{ECHO}</pre>".encode()
_CHUNK: Final = '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'


def _page(status: int) -> Script:
    return script.html(status).but(body=(_HTML,))


def _raw(*frames: str, end: End = End.CLEAN) -> Script:
    return Script(body=tuple(f"data: {frame}\n\n".encode() for frame in frames), end=end)


def _with_header(status: int, name: str, value: str) -> Script:
    return script.openrouter_error(status, ECHO, headers=((name, value),))


UPSTREAM: Final[Mapping[str, Script]] = {
    **{
        f"{status} that echoes": script.openrouter_error(status, ECHO)
        for status in (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 529)
    },
    "400 with the key as its type": script.openrouter_error(400, ECHO, error_type=PROVIDER_KEY),
    "400 with the key as its code": script.json_error(400, {"error": {"message": ECHO, "code": PROVIDER_KEY}}),
    "400 with a bare string": script.json_error(400, {"error": ECHO}),
    "400 whose context is too long": script.openrouter_error(400, ECHO, error_type="context_length_exceeded"),
    "500 without JSON": script.html(500).but(body=(ECHO.encode(),), headers=(("content-type", "text/plain"),)),
    "502 as a page": _page(502),
    "200 as a page": _page(200),
    "302 to the key": _with_header(302, "location", f"https://example.test/?key={PROVIDER_KEY}"),
    "429 that asks to wait for the key": _with_header(429, "retry-after", PROVIDER_KEY),
    "401 that sends the key back": _with_header(401, "www-authenticate", f"Bearer {PROVIDER_KEY}"),
    "200 that is no stream": script.chat_whole(ECHO),
    "200 that is null": script.null(),
    "200 that is broken gzip": script.bad_gzip(),
    "error in a 200": script.error_in_200(401, "authentication", message=ECHO),
    "error as the first event": script.error_midstream([], 401, "authentication", message=ECHO),
    "error after content": script.error_midstream(["Once"], 429, "rate_limit_exceeded", message=ECHO),
    "error whose words are the key": script.error_midstream(["Once"], PROVIDER_KEY, PROVIDER_KEY, message=ECHO),
    "frame that is no JSON": _raw(f"{ECHO}"),
    "frame that breaks off": _raw(_CHUNK + f'[{{"delta":{{"content":"{PROVIDER_KEY}'),
    "frame of another shape": _raw(json.dumps({"choices": ECHO, "usage": ECHO})),
    "finish of a name that is the key": _raw(
        _CHUNK + '[{"index":0,"delta":{"content":"Once"},"finish_reason":null}]}',
        _CHUNK + f'[{{"index":0,"delta":{{}},"finish_reason":"{PROVIDER_KEY}"}}]}}',
    ),
    "event that is too large": _raw(json.dumps({"choices": [], "x": ECHO * 1000})),
    "cut": script.chat_stream([REPLY], finish=None, done=False).but(end=End.FIN),
    "reset": script.chat_stream([REPLY], finish=None, done=False).but(end=End.RST),
    "silence after content": script.chat_stream([REPLY], finish=None, done=False).but(end=End.STALL),
    "silence from the start": Script(body=(b"",), end=End.STALL),
    "nothing at all": Script(head=b"", end=End.FIN, framing=Framing.EOF),
    "a head that is no HTTP": Script(head=f"{ECHO}\r\n\r\n".encode(), end=End.FIN, framing=Framing.EOF),
    "a header without a colon": Script(head=f"HTTP/1.1 200 OK\r\n{ECHO}\x01\r\n\r\n".encode(), framing=Framing.EOF),
    "a head without an end": Script(head=b"HTTP/1.1 200 OK\r\nx: " + ECHO.encode() * 2000, framing=Framing.EOF),
    "a length that is a lie": script.chat_whole(ECHO).but(status=400, content_length=9999, end=End.FIN),
    "the content filter": script.chat_stream(["Well,"], finish="content_filter"),
}
"""What the provider answers, with the key that it was sent and the prompt."""

TELLS_THE_CALLER: Final = ("400", "404", "418", "422", "a model that")
"""Beginnings of the names of ways whose answer may hold the caller's own words: in a provider's sentence, or echoed."""


def chat(message: str = PROMPT, *headers: str, host: str = "localhost", **more: object) -> bytes:
    """A chat request from a client that is let in."""
    body = json.dumps({"message": message, **more}).encode()
    return request("POST", TARGET, body, *ADMITTED, *headers, host=host)


def _post(body: str, target: str = TARGET, method: str = "POST") -> bytes:
    return request(method, target, body.encode(), *ADMITTED)


def _presenting(*headers: str, target: str = TARGET, method: str = "POST") -> bytes:
    body = json.dumps({"message": PROMPT}).encode() if method == "POST" else b""
    return request(method, target, body, *headers, "Connection: close")


REQUESTS: Final[Mapping[str, bytes]] = {
    "no JSON": _post(PROMPT),
    "no object": _post(json.dumps([PROMPT])),
    "no message": _post(json.dumps({"prompt": PROMPT})),
    "a message that is a list": _post(json.dumps({"message": [PROMPT]})),
    "a field twice": _post(f'{{"message":"{PROMPT}","message":"{PROMPT}"}}'),
    "a temperature in words": chat(temperature=PROMPT),
    "tokens in words": chat(maxTokens=PROMPT),
    "a model that nobody serves": chat(model="no/such-model"),
    "a session that is not there": chat(sessionId="00000000-0000-4000-8000-000000000000"),
    "a session that is no id": chat(sessionId="not an id"),
    "a provider that refuses the connection": chat(model="refusing/m"),
    "a provider without an address": chat(model="nowhere/m"),
    "a provider without TLS": chat(model="plain/m"),
    "a body over the limit": chat(PROMPT * 10_000),
    "a form": chat().replace(b"application/json", b"text/plain"),
    "a foreign name": chat(host=f"{HEADER}.test"),
    "a foreign origin": chat(PROMPT, f"Origin: https://{HEADER}.test"),
    "a header twice": chat(PROMPT, f"Authorization: Bearer {CLIENT_KEY}"),
    "another method": _post("{}", method="PUT"),
    "no such path": _post("{}", target=f"/v1/{QUERY}?key={QUERY}"),
    "a wrong bearer": _presenting(f"Authorization: Bearer {CLIENT_KEY}"),
    "a wrong basic": _presenting(f"Authorization: Basic {CLIENT_KEY}"),
    "a wrong x-api-key": _presenting(f"X-Api-Key: {API_KEY}"),
    "a wrong cookie": _presenting(f"Cookie: trunkline_session={COOKIE}"),
    "a forged cookie": _presenting(f"Cookie: trunkline_session=1893456000.{COOKIE}"),
    "a wrong key for the metrics": _presenting(
        f"Authorization: Bearer {CLIENT_KEY}", target=f"/metrics?key={QUERY}", method="GET"
    ),
    "a wrong key to log in": _post(json.dumps({"key": CLIENT_KEY}), target="/auth/login"),
    "no key to log in": _post(json.dumps({"secret": CLIENT_KEY}), target="/auth/login"),
    "a log-in that is no JSON": _post(CLIENT_KEY, target="/auth/login"),
    "a title over the limit": _post(json.dumps({"title": PROMPT * 10}), target="/api/chat/sessions"),
    "a session with a strange field": _post(json.dumps({"title": PROMPT, "x": 1}), target="/api/chat/sessions"),
    "a search with control characters": request("GET", f"/api/chat/sessions?q=%00{quote(PROMPT)}", b"", *ADMITTED),
    "no HTTP": f"{PROMPT} {CLIENT_KEY}\r\n\r\n".encode(),
    "a header line that is none": chat().replace(b"\r\n", f"\r\n{CLIENT_KEY}\x01\r\n".encode(), 1),
    "a head over the limit": _presenting(f"Authorization: Bearer {CLIENT_KEY * 5000}"),
}
"""What the client sends wrongly."""


def found(where: bytes, canaries: Iterable[str]) -> list[str]:
    """Those of the canaries that are there: as they are, in lower case, percent-encoded, in JSON, or in base64."""
    lowered = where.lower()
    return [canary for canary in canaries if any(form.lower() in lowered for form in _forms(canary))]


def _forms(canary: str) -> set[bytes]:
    inner = base64.b64encode(canary.encode())
    return {canary.encode(), quote(canary).encode(), json.dumps(canary)[1:-1].encode(), inner.rstrip(b"=")[:-1]}
