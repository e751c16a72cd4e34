"""What `trunkline explain` prints: the plan of a request, a target a row, with what is known of each."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_plan(plan: dict[str, Any], port: int) -> None:
    """The plan as a person reads it, at any width."""
    where = (
        f"as the router on port {port} sees it" if plan["live"] else f"no live health: no router runs on port {port}"
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    for place, one in enumerate(plan["targets"], 1):
        account = f" (key {one['credential']})" if one["credential"] else ""
        said = Text.assemble((f"{one['target']}{account}", "bold"), f" {one['why']}\n", (_facts(one), "dim"))
        table.add_row(Text(str(place), "green" if one["state"] == "closed" else "yellow"), said)
    for one in plan["passed_over"]:
        table.add_row(Text("-", "red"), Text.assemble((one["target"], "bold"), f" {one['why']}"))
    console = Console(highlight=False, markup=False)
    console.print(f"{plan['route']}, by {', then '.join(plan['policy'])} ({where})", soft_wrap=True)
    console.print(table)


def _facts(one: dict[str, Any]) -> str:
    """What is known of a target, the unknown left out."""
    first, pace, cost = one["first_token_s"], one["tokens_per_s"], one["estimated_cost"]
    facts = [
        f"breaker {one['state']}" + (f" ({one['state_why']})" if one["state_why"] else ""),
        f"{one['in_flight']} under way",
        None if first is None else f"first token {first:.2f} s",
        None if pace is None else f"{pace:.0f} tokens/s",
        "price unknown" if cost is None else f"about ${cost.rstrip('0').rstrip('.')}",
    ]
    return ", ".join(fact for fact in facts if fact)
