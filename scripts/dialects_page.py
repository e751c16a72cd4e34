"""Write docs/dialects.md from the probes of the tests; with --check, fail if it is stale.

Every cell is what the code did a moment ago, not what somebody wrote down.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from dialects import embedding_features as embeddings  # noqa: E402 - the tests are no package; the path must be there first
from dialects.answer_features import ANSWERS  # noqa: E402
from dialects.every_dialect import DIALECTS  # noqa: E402
from dialects.features import (  # noqa: E402
    COMPLETIONS,
    INGRESSES,
    PLAIN,
    SEED,
    TARGETS,
    Cell,
    Outcome,
    answer_in,
    answer_out,
    request_in,
    request_out,
)
from dialects.request_features import REQUESTS  # noqa: E402

PAGE = ROOT / "docs" / "dialects.md"

LABELS = {
    embeddings.OPENAI: "OpenAI embeddings",
    embeddings.ONE: "Gemini `embedContent`",
    embeddings.MANY: "Gemini `batchEmbedContents`",
    SEED: "`/api/chat`",
    "openai_chat": "OpenAI chat",
    PLAIN: "OpenAI chat, plain",
    "openai_responses": "OpenAI responses",
    "anthropic_messages": "Anthropic messages",
    "gemini": "Gemini",
    COMPLETIONS: "OpenAI completions",
}

TOP = """# What each dialect can say

*Made by `make docs` from probes that run the code; `make check` fails when it is stale, and `make test` when a cell
loses something without a word.*

Where client and provider speak the same dialect, nothing on this page applies: the client's own bytes go on, with
another model in them, and the answer's events come back as they came. This is what becomes of a request and of an
answer *between two* dialects.

| word | meaning |
|---|---|
| kept | it arrives. *less `x`*: but for `x`, which is named in the header `x-trunkline-dropped` |
| dropped `x` | it does not arrive; `x` is named in the header `x-trunkline-dropped` and in the receipt |
| refused `x` | the request is a 400 that names the field `x`: leaving it out would change what was asked for |
| verbatim only | it arrives at a provider of the same dialect; elsewhere it is dropped by its name |
| - | the dialect has no word for it |

"""

CLIENTS = """## What a client can ask for

"""
TARGET_NOTE = """
## What a provider is told of it

*OpenAI chat* is a provider that takes all that any of them takes, as OpenRouter's row says of it; *plain* is one that
takes only the core. `quirks` in [configuration.md](configuration.md) say what a row takes.

"""
UPSTREAMS = """
## What a provider's answer can say

Streamed and whole.

"""
ANSWER_NOTE = """
## What a client is told of it

What is dropped is named in `x-trunkline-dropped` beside what the request lost, where the answer is whole. A stream's
headers leave with the first content and name what is known by then; all of it stands under `dropped` in the receipt
(`GET /v1/requests/{id}`, or `x-trunkline-receipt: 1`), which has the model, usage and cost of every answer, too.

"""


EMBEDDINGS = """
## Embeddings

OpenAI's `POST /v1/embeddings` and Google's two, each to providers of either.

"""
EMBEDDINGS_OUT = """
What a provider is told of it:

"""
VECTORS_IN = """
What its answer can say:

"""
VECTORS_OUT = """
What a client is told of it:

"""


def table(columns: list[str], rows: list[tuple[str, list[Cell]]]) -> str:
    """One table. Raises SystemExit for a cell that is lost: there is no honest page to write."""
    lines = ["| feature | " + " | ".join(LABELS[column] for column in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for title, cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            if cell.outcome is Outcome.LOST:
                raise SystemExit(f"{title}, {column}: lost without a word. {cell.note}")
        lines.append(f"| {title} | " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    ingresses, targets, upstreams = list(INGRESSES), list(TARGETS), list(DIALECTS)
    asked = [(f.title, [request_out(f, name) for name in targets]) for f in REQUESTS]
    return "".join(
        (
            TOP + CLIENTS,
            table(ingresses, [(f.title, [request_in(f, name) for name in ingresses]) for f in REQUESTS]),
            TARGET_NOTE,
            table(targets, [row for row in asked if any(cell.outcome is not Outcome.NO_WORD for cell in row[1])]),
            UPSTREAMS,
            table(upstreams, [(f.title, [answer_in(f, name) for name in upstreams]) for f in ANSWERS]),
            ANSWER_NOTE,
            table(ingresses, [(f.title, [answer_out(f, name) for name in ingresses]) for f in ANSWERS]),
            *embeddings_page(),
        )
    )


def embeddings_page() -> Iterator[str]:
    """The part about embeddings."""
    clients, providers = list(embeddings.CLIENTS), list(embeddings.PROVIDERS)
    asked, told = embeddings.REQUESTS, embeddings.ANSWERS
    yield EMBEDDINGS
    yield table(clients, [(f.title, [embeddings.request_in(f, name) for name in clients]) for f in asked])
    yield EMBEDDINGS_OUT
    yield table(providers, [(f.title, [embeddings.request_out(f, name) for name in providers]) for f in asked])
    yield VECTORS_IN
    yield table(providers, [(f.title, [embeddings.answer_in(f, name) for name in providers]) for f in told])
    yield VECTORS_OUT
    yield table(clients, [(f.title, [embeddings.answer_out(f, name) for name in clients]) for f in told])


def main() -> int:
    """Write or check; the exit code."""
    made = page()
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if written == made:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(written.splitlines(keepends=True), made.splitlines(keepends=True), "written", "made")
    )
    print("docs/dialects.md is stale: run `make docs`.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
