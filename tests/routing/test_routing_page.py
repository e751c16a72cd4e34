"""docs/routing.md says what the policies do: its examples are loaded and planned."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from trunkline.core.call import Envelope, Facts, Need
from trunkline.core.caller import Caller
from trunkline.core.catalog import Policy
from trunkline.routing.breaker import State
from trunkline.routing.health import FRESH, Standing, Verdict
from trunkline.routing.plan import Rules, Wanted, plan
from trunkline.settings.reading import load
from trunkline.settings.values import compile_catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.core.catalog import Catalog

PAGE = Path(__file__).resolve().parents[2] / "docs" / "routing.md"
KEYS = {f"{name}_API_KEY": "k" for name in ("GROQ", "OPENROUTER", "TOGETHER", "ANTHROPIC")}


class Example(NamedTuple):
    """A section: its configuration, and its tables, each a list of rows by their titles."""

    toml: str
    tables: list[list[dict[str, str]]]

    def rows(self, title: str) -> list[dict[str, str]]:
        """The rows that have this column."""
        return [row for table in self.tables for row in table if title in row]


def examples() -> dict[str, Example]:
    """Every section that has a configuration."""
    found: dict[str, Example] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        if (toml := re.search(r"```toml\n(.*?)```", section, re.DOTALL)) is not None:
            title = section.partition("\n")[0]
            found[title] = Example(
                toml.group(1), [_table(one) for one in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)]
            )
    return found


def _table(text: str) -> list[dict[str, str]]:
    titles, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [dict(zip(titles, row, strict=True)) for row in rows]


EXAMPLES = examples()
ORDERS = [(name, row["request"], row["order"]) for name, one in EXAMPLES.items() for row in one.rows("order")]


def compiled(example: Example, directory: Path) -> Catalog:
    (directory / "trunkline.toml").write_text(example.toml, encoding="utf-8")
    return compile_catalog(load(KEYS, directory))


def number(text: str) -> float:
    return float(text.removesuffix(" s"))


def standings(example: Example) -> dict[str, Standing]:
    """What the tables say of each target."""
    return {
        row["target"]: Standing(
            Verdict(State.CLOSED),
            in_flight=int(row.get("under way", "0")),
            first_token_s=number(row["first token"]) if "first token" in row else None,
            tokens_per_s=number(row["tokens/s"]) if "tokens/s" in row else None,
        )
        for row in example.rows("target")
    }


def order(example: Example, catalog: Catalog, request: str, chance: Callable[[], float]) -> list[str]:
    """The providers in the order in which this request would ask them."""
    known = standings(example)
    size = re.search(r"([0-9,]+) bytes", request)
    words = re.search(r'"(.*)"', request)
    talk = re.search(r"conversation `(.*)`", request)
    facts = Facts(text_bytes=int(size[1].replace(",", "")) if size else 100, last_text=words[1] if words else "")
    wanted = Wanted(
        Envelope(model="fast"),
        "openai_chat",
        Caller(),
        catalog,
        lambda: facts,
        conversation=lambda: talk[1].encode() if talk else b"",
    )
    every = {name: frozenset(Need) for name in ("openai_chat", "anthropic_messages")}
    rules = Rules(every, lambda one: known.get(one.provider.name, FRESH), chance)
    return [step.provider.name for step in plan(wanted, rules).targets]


def test_every_policy_has_an_example() -> None:
    assert {*Policy, "Several together"} == set(EXAMPLES)


@pytest.mark.parametrize(("name", "request_", "stated"), ORDERS)
def test_the_order_is_as_it_is_stated(name: str, request_: str, stated: str, tmp_path: Path) -> None:
    catalog = compiled(EXAMPLES[name], tmp_path)
    assert order(EXAMPLES[name], catalog, request_, lambda: 0.5) == stated.split(", ")


def test_the_shares_are_as_they_are_stated(tmp_path: Path) -> None:
    example = EXAMPLES["weighted"]
    catalog, draw = compiled(example, tmp_path), random.Random(3)  # noqa: S311 - the same each time
    firsts = Counter(order(example, catalog, "any", draw.random)[0] for _ in range(3000))
    stated = {row["target"]: float(row["share"].removesuffix(" %")) for row in example.rows("share")}
    assert all(abs(firsts[name] / 30 - share) < 3 for name, share in stated.items())
    assert set(firsts) == set(stated)
