"""`/docs`: the OpenAPI document as one plain page, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POLICY: Final = b"default-src 'none'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"

STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 8px; margin: .5rem 0; }
summary { cursor: pointer; padding: .6rem .9rem; } details > div { padding: 0 .9rem .9rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .875rem; }
pre { overflow-x: auto; padding: .8rem; border-radius: 6px; }
pre { background: color-mix(in srgb, currentColor 7%, transparent); }
.verb { display: inline-block; min-width: 4.2rem; font-weight: 700; text-transform: uppercase; font-size: .8rem; }
.quiet { opacity: .7; } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; }
"""


def render(document: Mapping[str, Any]) -> bytes:
    """The page, in UTF-8."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])} API</h1>",
        f"<p class=quiet>Version {escape(info['version'])}. {escape(info['description'])}",
        " The same as <a href=/openapi.json>openapi.json</a>.</p>",
    ]
    for tag, operations in _by_tag(document["paths"]).items():
        parts.append(f"<h2>{escape(tag)}</h2>")
        parts += [_operation(path, verb, operation) for path, verb, operation in operations]
    schemas = document["components"]["schemas"]
    parts.append("<h2>Schemas</h2>")
    for name, schema in sorted(schemas.items()):
        parts.append(f"<details><summary><code>{escape(name)}</code></summary><div>{_pre(schema)}</div></details>")
    return "".join(parts).encode()


def _by_tag(paths: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Any]]]:
    tags: dict[str, list[tuple[str, str, Any]]] = {}
    for path, methods in paths.items():
        for verb, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            tags.setdefault(tag, []).append((path, verb, operation))
    return tags


def _operation(path: str, verb: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(_details(operation))
    summary = escape(operation.get("summary") or "")
    return (
        f"<details><summary><span class=verb>{escape(verb)}</span><code>{escape(path)}</code>"
        f" <span class=quiet>{summary}</span></summary><div>{rows}</div></details>"
    )


def _details(operation: Mapping[str, Any]) -> Iterator[str]:
    if description := operation.get("description"):
        yield f"<p>{escape(description)}</p>"
    if parameters := operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for parameter in parameters:
            schema = escape(json.dumps(parameter.get("schema", {})))
            yield (
                f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
                f"<td><code>{schema}</code></td></tr>"
            )
        yield "</table>"
    if body := operation.get("requestBody"):
        yield f"<h4>Body</h4>{_pre(body['content'])}"
    yield "<h4>Answers</h4><table>"
    for status, response in operation.get("responses", {}).items():
        media = ", ".join(response.get("content", {}))
        yield (
            f"<tr><td>{escape(str(status))}</td><td>{escape(response.get('description') or '')}</td>"
            f"<td class=quiet>{escape(media)}</td></tr>"
        )
    yield "</table>"


def _pre(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
