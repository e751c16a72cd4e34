"""The built page, served from memory: `/`, `/favicon.svg` and `/assets/*`."""

from __future__ import annotations

import base64
import gzip
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.problem import Kind, Problem, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from trunkline.edge.request import App, Receive, Scope, Send

    Headers = list[tuple[bytes, bytes]]

MAX_FILES: Final = 200
MAX_BYTES: Final = 16 * 1024 * 1024

CONTENT_TYPE: Final[Mapping[str, bytes]] = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
    ".woff2": b"font/woff2",
}
"""What is served, by suffix. Any other file that lies there (the Python package's own, a source map) is not."""

_COMPRESSED: Final = frozenset({".html", ".js", ".css", ".svg"})
_REVALIDATED: Final = b"no-cache"
_IMMUTABLE: Final = b"public, max-age=31536000, immutable"

_UNBUILT_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{max-width:38rem;margin:12vh auto;padding:0 1.5rem;font:1rem/1.6 system-ui,sans-serif}"
    "pre{overflow-x:auto;padding:1rem;border:1px solid #8884;border-radius:.6rem;font-size:.85rem}"
)
_UNBUILT: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trunkline</title>
<style>{_UNBUILT_STYLE}</style>
</head>
<body>
<h1>Trunkline is up</h1>
<p>The router answers on this address. Only its page is missing: it has not been built here.</p>
<p>To build it, install Node 20.19 or newer, stop the router, and start it again in the source folder with:</p>
<pre><code>make run</code></pre>
<p>Until then, ask from a terminal (with the port of this address):</p>
<pre><code>curl -N http://localhost:3001/api/chat \\
  -H 'content-type: application/json' \\
  -d '{{"message": "Hello, how are you?"}}'</code></pre>
</body>
</html>
"""


class Representation(msgspec.Struct, frozen=True):
    """One form of a file: its bytes, and the headers of a 200 and of a 304 that stands for it."""

    body: bytes
    headers: Headers
    unchanged: Headers


class Held(msgspec.Struct, frozen=True):
    """A file in memory. `packed` is its gzip form, where that is shorter."""

    plain: Representation
    packed: Representation | None
    etags: frozenset[bytes]


def page_app(root: Path) -> App:
    """The page under `root` (an `index.html` and its `assets`) as an ASGI app that never touches the disk again.

    All is read here, once. A path leads to a file only as a key of that table, so no spelling of a path leads out of
    it; a symlink that leaves `root` is not in it. Without `index.html`, `/` tells how to build the page.

    GET and HEAD; other methods are answered 405. The app raises Problem NOT_FOUND for every path that it does not have.
    Raises ValueError when `root` holds more than `MAX_FILES` files or `MAX_BYTES` bytes.
    """
    files = dict(_read(root))
    files.setdefault("/", _hold(_UNBUILT.encode(), ".html", _REVALIDATED, _policy(_UNBUILT_STYLE)))

    async def page(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - a GET has no body to receive
        held = files.get(scope["path"])
        if held is None:
            raise Problem(Kind.NOT_FOUND, "There is nothing at this address.", source=Source.CALLER)
        method: str = scope["method"]
        if method not in {"GET", "HEAD"}:
            await _answer(send, 405, _NOT_ALLOWED, b"")
            return
        asked = _combined(scope["headers"])
        form = held.packed if held.packed is not None and _takes_gzip(asked[b"accept-encoding"]) else held.plain
        if _names(asked[b"if-none-match"], held.etags):
            await _answer(send, 304, form.unchanged, b"")
        else:
            await _answer(send, 200, form.headers, b"" if method == "HEAD" else form.body)

    return page


def _policy(inline_style: str = "") -> bytes:
    """The content security policy: this origin and nothing else, and at most the one inline style that is given."""
    style = "'self'"
    if inline_style:
        digest = base64.b64encode(hashlib.sha256(inline_style.encode()).digest()).decode()
        style = f"'sha256-{digest}'"
    return (
        f"default-src 'self'; img-src 'self' data:; script-src 'self'; style-src {style}; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ).encode()


def _guarded(policy: bytes) -> Headers:
    return [
        (b"content-security-policy", policy),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]


_NOT_ALLOWED: Final[Headers] = [(b"allow", b"GET, HEAD"), (b"content-length", b"0"), *_guarded(_policy())]


def _read(root: Path) -> Iterator[tuple[str, Held]]:
    top = root.resolve()
    left = MAX_BYTES
    for path, cache in _served(top):
        # Resolved first: a link may lead anywhere, and what is read must lie under the root.
        real = path.resolve()
        if not (real.is_file() and real.is_relative_to(top)):
            continue
        with real.open("rb") as file:
            body = file.read(left + 1)
        left -= len(body)
        if left < 0:
            raise ValueError(f"The page in {root} is larger than {MAX_BYTES:,} bytes: build it again.")
        name = "/" if path.name == "index.html" else f"/{path.relative_to(top).as_posix()}"
        yield name, _hold(body, path.suffix, cache, _policy())


def _served(top: Path) -> Iterator[tuple[Path, bytes]]:
    """The files that a build leaves, each with its cache rule: an asset's name changes with what it holds."""
    yield top / "index.html", _REVALIDATED
    yield top / "favicon.svg", _REVALIDATED
    assets = top / "assets"
    if not assets.is_dir():
        return
    for count, path in enumerate(assets.iterdir()):
        if count >= MAX_FILES:
            raise ValueError(f"{assets} holds more than {MAX_FILES} files: build the page again.")
        if path.suffix in CONTENT_TYPE and not path.name.startswith("."):
            yield path, _IMMUTABLE


def _hold(body: bytes, suffix: str, cache: bytes, policy: bytes) -> Held:
    etag = hashlib.sha256(body).hexdigest()[:32].encode()
    rest = [(b"content-type", CONTENT_TYPE[suffix]), *_guarded(policy)]
    # Two forms are two representations: each has its own strong tag.
    plain = _represent(body, b'"' + etag + b'"', cache, rest)
    packed = None
    if suffix in _COMPRESSED:
        short = gzip.compress(body, compresslevel=6, mtime=0)
        if len(short) < len(body):
            packed = _represent(short, b'"' + etag + b'-gzip"', cache, [*rest, (b"content-encoding", b"gzip")])
    return Held(plain, packed, frozenset({b'"' + etag + b'"', b'"' + etag + b'-gzip"'}))


def _represent(body: bytes, etag: bytes, cache: bytes, rest: Headers) -> Representation:
    unchanged = [(b"etag", etag), (b"cache-control", cache), (b"vary", b"accept-encoding")]
    length = (b"content-length", str(len(body)).encode())
    return Representation(body, [length, *unchanged, *rest], unchanged)


def _combined(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    """The two headers that matter here; lines of one name joined as HTTP says, empty where there is none."""
    lines: dict[bytes, list[bytes]] = {b"accept-encoding": [], b"if-none-match": []}
    for name, value in headers:
        if name in lines:
            lines[name].append(value)
    return {name: b",".join(values) for name, values in lines.items()}


def _takes_gzip(accepted: bytes) -> bool:
    for item in accepted.split(b","):
        coding, _, weight = item.replace(b" ", b"").lower().partition(b";q=")
        if coding == b"gzip":
            return weight.strip(b"0.") != b"" if weight else True
    return False


def _names(condition: bytes, etags: frozenset[bytes]) -> bool:
    """Whether an If-None-Match names one of these tags. Source: RFC 9110, 13.1.2 (the weak comparison)."""
    tags = {tag.strip().removeprefix(b"W/") for tag in condition.split(b",")}
    return b"*" in tags or not tags.isdisjoint(etags)


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
