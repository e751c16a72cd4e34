"""The page's files: what is served, how it is guarded, and that no path leads out."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from pathlib import Path
from re import findall
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import msgspec
import pytest

from trunkline.core.problem import Kind, Problem
from trunkline.edge import page as page_module
from trunkline.edge.page import page_app

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trunkline.edge.request import App

SCRIPT = b"console.log('hello');" * 200
CANARY = b"canary: not for readers"
POLICY = (
    b"default-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class Answer(msgspec.Struct):
    """What an app sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(app: App, path: str, method: str = "GET", **headers: str) -> Answer:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": raw}
    await app(scope, receive, send)
    start, *bodies = sent
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert len(dict(start["headers"])) == len(start["headers"]), "a header was sent twice"
    return Answer(start["status"], dict(start["headers"]), b"".join(message["body"] for message in bodies))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A built page, with a package's file and a secret around it."""
    built = tmp_path / "web"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_bytes(b"<!doctype html><title>Trunkline</title>" + b" " * 2000)
    (built / "favicon.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (built / "assets" / "index-Ab12.js").write_bytes(SCRIPT)
    (built / "assets" / "index-Cd34.css").write_bytes(b"body{}")
    (built / "__init__.py").write_bytes(CANARY)
    (tmp_path / "secret.js").write_bytes(CANARY)
    return built


async def test_the_root_is_the_page_and_is_asked_for_again_each_time(root: Path) -> None:
    answer = await ask(page_app(root), "/")
    assert answer.status == 200
    assert answer.body.startswith(b"<!doctype html><title>Trunkline")
    assert answer.headers[b"content-type"] == b"text/html; charset=utf-8"
    assert answer.headers[b"cache-control"] == b"no-cache"
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()


@pytest.mark.parametrize(
    ("path", "content_type", "cache"),
    [
        ("/assets/index-Ab12.js", b"text/javascript; charset=utf-8", b"public, max-age=31536000, immutable"),
        ("/assets/index-Cd34.css", b"text/css; charset=utf-8", b"public, max-age=31536000, immutable"),
        ("/favicon.svg", b"image/svg+xml", b"no-cache"),
    ],
)
async def test_an_asset_has_its_type_and_its_cache_rule(
    root: Path, path: str, content_type: bytes, cache: bytes
) -> None:
    answer = await ask(page_app(root), path)
    assert (answer.status, answer.headers[b"content-type"]) == (200, content_type)
    assert answer.headers[b"cache-control"] == cache


@pytest.mark.parametrize("path", ["/", "/assets/index-Ab12.js", "/favicon.svg"])
async def test_every_file_carries_the_security_headers(root: Path, path: str) -> None:
    headers = (await ask(page_app(root), path)).headers
    assert headers[b"content-security-policy"] == POLICY
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"x-frame-options"] == b"DENY"


async def test_head_tells_the_length_and_sends_nothing(root: Path) -> None:
    app = page_app(root)
    head, get = await ask(app, "/", "HEAD"), await ask(app, "/")
    assert (head.status, head.headers, head.body) == (200, get.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"])
async def test_other_methods_are_told_which_are_allowed(root: Path, method: str) -> None:
    answer = await ask(page_app(root), "/", method)
    assert (answer.status, answer.headers[b"allow"], answer.body) == (405, b"GET, HEAD", b"")


async def test_what_the_browser_has_is_not_sent_again(root: Path) -> None:
    app = page_app(root)
    etag = (await ask(app, "/")).headers[b"etag"].decode()
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await ask(app, "/", if_none_match=condition)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers[b"cache-control"] == b"no-cache"
    assert (await ask(app, "/", if_none_match='"other"')).status == 200


async def test_the_tag_changes_with_the_page(root: Path) -> None:
    before = (await ask(page_app(root), "/")).headers[b"etag"]
    (root / "index.html").write_bytes(b"<!doctype html>new")
    assert (await ask(page_app(root), "/")).headers[b"etag"] != before


@pytest.mark.parametrize("accepted", ["gzip", "deflate, GZIP;q=0.5, br", "br;q=1.0, gzip; q=0.001"])
async def test_a_browser_that_takes_gzip_gets_it(root: Path, accepted: str) -> None:
    app = page_app(root)
    plain = await ask(app, "/assets/index-Ab12.js")
    packed = await ask(app, "/assets/index-Ab12.js", accept_encoding=accepted)
    assert packed.headers[b"content-encoding"] == b"gzip"
    assert gzip.decompress(packed.body) == plain.body == SCRIPT
    assert packed.headers[b"content-length"] == str(len(packed.body)).encode()
    assert packed.headers[b"etag"] != plain.headers[b"etag"]
    assert packed.headers[b"vary"] == plain.headers[b"vary"] == b"accept-encoding"


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "notgzip"])
async def test_a_browser_that_does_not_take_gzip_gets_the_bytes(root: Path, accepted: str) -> None:
    answer = await ask(page_app(root), "/assets/index-Ab12.js", accept_encoding=accepted)
    assert b"content-encoding" not in answer.headers
    assert answer.body == SCRIPT


OUT = [
    "/../secret.js",
    "/../../etc/passwd",
    "/assets/../../secret.js",
    "/assets/../index.html",
    "/assets/..",
    "/assets/.",
    "/assets/",
    "/assets",
    "/assets//index-Ab12.js",
    "//assets/index-Ab12.js",
    "//",
    "/./",
    "/.",
    "/..",
    "/%2e%2e/secret.js",
    "/%2e%2e%2fsecret.js",
    "/assets/%2e%2e/%2e%2e/secret.js",
    "/assets/..%2f..%2fsecret.js",
    "/assets/%252e%252e/%252e%252e/secret.js",
    "/assets/..%252f..%252fsecret.js",
    "/assets/%25252e%25252e/secret.js",
    "/assets\\..\\..\\secret.js",
    "/assets/..\\..\\secret.js",
    "/..\\secret.js",
    "/assets/%5c..%5c..%5csecret.js",
    "/assets/..%5c..%5csecret.js",
    "/assets/..%255c..%255csecret.js",
    "/assets/index-Ab12.js%00",
    "/assets/index-Ab12.js%00.css",
    "/%00/etc/passwd",
    "/assets/%00../../secret.js",
    "/assets/....//....//secret.js",
    "/assets/..;/..;/secret.js",
    "/assets/%c0%ae%c0%ae/%c0%ae%c0%ae/secret.js",
    "/assets/%e0%80%ae%e0%80%ae/secret.js",
    "/assets/..%c0%af..%c0%afsecret.js",
    "/assets/%uff0e%uff0e/secret.js",
    "/assets/\uff0e\uff0e/secret.js",
    "/file:///etc/passwd",
    "/C:/Windows/win.ini",
    "/~root/secret.js",
    "/__init__.py",
    "/__pycache__/__init__.cpython-311.pyc",
    "/index.html",
    "/INDEX.HTML",
    "/assets/INDEX-AB12.JS",
    "/assets/index-Ab12.js/",
    "/assets/index-Ab12.js.",
    "/assets/index-Ab12.js ",
    "/assets/linked.js",
    "/assets/linked-folder/secret.js",
    "/assets/.hidden.js",
    "/assets/notes.txt",
    "secret.js",
    "",
    "*",
]


@pytest.mark.parametrize("path", OUT)
async def test_no_path_leads_out(root: Path, path: str) -> None:
    """Each path as it is written, and decoded once as a server hands it over."""
    (root / "assets" / "linked.js").symlink_to(root.parent / "secret.js")
    (root / "assets" / "linked-folder").symlink_to(root.parent)
    (root / "assets" / ".hidden.js").write_bytes(CANARY)
    (root / "assets" / "notes.txt").write_bytes(CANARY)
    app = page_app(root)
    for spelling in {path, unquote_to_bytes(path).decode("latin-1"), unquote_to_bytes(path).decode(errors="replace")}:
        with pytest.raises(Problem) as raised:
            await ask(app, spelling)
        assert raised.value.kind is Kind.NOT_FOUND


async def test_an_assets_folder_that_is_a_link_out_serves_nothing(tmp_path: Path, root: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "index.html").write_bytes(b"<!doctype html>")
    (linked / "assets").symlink_to(root / "assets")
    with pytest.raises(Problem):
        await ask(page_app(linked), "/assets/index-Ab12.js")


async def test_nothing_is_read_after_the_start(root: Path) -> None:
    app = page_app(root)
    for file in root.rglob("*.*"):
        file.unlink()
    (root / "assets" / "late.js").write_bytes(CANARY)
    assert (await ask(app, "/assets/index-Ab12.js")).body == SCRIPT
    with pytest.raises(Problem):
        await ask(app, "/assets/late.js")


def test_a_page_with_too_many_files_is_refused_at_the_start(root: Path) -> None:
    for number in range(page_module.MAX_FILES):
        (root / "assets" / f"part-{number}.js").touch()
    with pytest.raises(ValueError, match="more than 200 files"):
        page_app(root)


def test_a_page_that_is_too_large_is_refused_at_the_start(root: Path) -> None:
    with (root / "assets" / "large.js").open("wb") as file:
        file.truncate(page_module.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="larger than"):
        page_app(root)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_router_without_a_built_page_says_how_to_build_it(tmp_path: Path, exists: bool) -> None:
    root = tmp_path / "web"
    if exists:
        root.mkdir()
        (root / "__init__.py").touch()
    answer = await ask(page_app(root), "/")
    assert answer.status == 200
    for words in (b"Trunkline is up", b"make run", b"Node 20", b"curl -N http://localhost:3001/api/chat"):
        assert words in answer.body
    with pytest.raises(Problem):
        await ask(page_app(root), "/assets/index-Ab12.js")


async def test_the_unbuilt_page_may_use_its_own_style_and_no_other(tmp_path: Path) -> None:
    answer = await ask(page_app(tmp_path), "/")
    (style,) = findall(rb"<style>(.*?)</style>", answer.body)
    digest = b64encode(hashlib.sha256(style).digest())
    assert b"style-src 'sha256-" + digest + b"';" in answer.headers[b"content-security-policy"]
    assert b"unsafe" not in answer.headers[b"content-security-policy"]


def test_the_built_page_needs_nothing_inline_and_nothing_from_elsewhere() -> None:
    index = Path(page_module.__file__).parents[1] / "web" / "index.html"
    if not index.exists():
        pytest.skip("the page is not built here (make web)")
    text = index.read_text()
    assert not findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", text)
    assert all(address.startswith("/") for address in findall(r'(?:src|href)="([^"]*)"', text))
