"""Findings as Markdown and as a chart; docs/performance.md is made of sections that each benchmark writes anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from findings import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from findings import Cost, Result

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
CHART = DOCS / "images" / "performance.svg"

QUIET = 0.05
"""Figures are called provisional when others took more than this part of the servers' core."""


def write_page(result: Result) -> None:
    """The section of the proxies in docs/performance.md, and its chart."""
    CHART.write_text(chart(result), encoding="utf-8")
    write_section("proxies", f"![CPU beside {REFERENCE}](images/{CHART.name})\n\n{table(result)}")


def write_section(name: str, text: str) -> None:
    """Put this between the marks of that name, and leave the rest of the page as it is."""
    begin, end = f"<!-- {name}: written by the benchmark -->", f"<!-- end of {name} -->"
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    written, count = pattern.subn(lambda _: f"{begin}\n{text.strip()}\n{end}", page)
    if count != 1:
        raise ValueError(f"docs/performance.md has no place for {name}.")
    PAGE.write_text(written, encoding="utf-8")


def table(result: Result) -> str:
    """All tables, and what they were made on."""
    parts = [_cpu(result), _times(result), _memory(result), _circumstances(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cpu(result: Result) -> str:
    modes = [mode for mode in result.modes if any(result.cost(server, mode) for server in result.servers())]
    lines = [_row("CPU", *(result.modes[mode] for mode in modes)), _rule(len(modes))]
    for server in result.servers():
        costs = [result.cost(server, mode) for mode in modes]
        if any(costs):
            lines.append(_row(_named(result, server), *map(_cost, costs)))
    return "\n".join(lines)


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    spent = f"{cost.median:.1f} us"
    if cost.ratio is None:
        return spent
    spread = "" if cost.least_ratio == cost.most_ratio else f", {cost.least_ratio:.2f} to {cost.most_ratio:.2f}"
    return f"**{cost.ratio:.2f}** ({spent}{spread})"


def _times(result: Result) -> str:
    streams = [mode for mode in result.modes if mode.startswith("streams")]
    firsts = [mode for mode in result.modes if mode == "rate" or mode in streams]
    titles = [f"first text: {result.modes[mode]}" for mode in firsts]
    titles += [f"a chunk comes later by: {result.modes[mode].removeprefix('a chunk, ')}" for mode in streams]
    lines = [_row("ms, p50 / p99", *(title.replace("a chunk, ", "") for title in titles)), _rule(len(titles))]
    for server in result.servers():
        times = [result.first_ms(server, mode) for mode in firsts] + [result.late_ms(server, mode) for mode in streams]
        cells = ["" if time is None else f"{time[0]:.2f} / {time[1]:.2f}" for time in times]
        lines.append(_row("no proxy" if server == "direct" else server, *cells))
    return "\n".join(lines)


def _memory(result: Result) -> str:
    if not result.resident:
        return ""
    streams = max(one.streams for one in result.resident)
    titles = ("idle", f"each of {streams:,} open streams", "start to first answer")
    lines = [_row("memory and start", *titles), _rule(len(titles))]
    for one in result.resident:
        idle = f"{one.idle_bytes / 2**20:.0f} MiB"
        each = "" if one.stream_bytes is None else f"{one.stream_bytes / 1024:.1f} KiB"
        lines.append(_row(one.server, idle, each, f"{one.started_s:.2f} s"))
    return "\n".join(lines)


def _circumstances(result: Result) -> str:
    missing = "".join(f" {name} was not there ({why})." for name, why in result.missing)
    failed = "".join(f" {name} could not be measured in {what}" for name, what in result.failed)
    rounds = f"{result.rounds} round{'s' * (result.rounds > 1)}"
    return f"{result.date}: {result.machine.line()}; {rounds}. {quiet(result.disturbance())}{missing}{failed}"


def quiet(most: float) -> str:
    """What it means that others took up to this part of the servers' core."""
    noise = f"Others took up to {most:.0%} of the servers' core during a measurement"
    if most <= QUIET:
        return f"{noise}."
    return f"{noise}: **the machine was not quiet, and these figures are provisional.**"


class Check(NamedTuple):
    """A figure, and the bound that it is to keep. `found` is None where a run was too short to tell."""

    what: str
    found: float | None
    unit: str
    bound: float
    is_least: bool = False
    """The bound is the least that will do, and not the most."""

    def verdict(self) -> str:
        """In a word."""
        if self.found is None:
            return "too short a run to tell"
        is_met = self.found >= self.bound if self.is_least else self.found <= self.bound
        return "met" if is_met else "**not met**"


def check_table(checks: Iterable[Check]) -> str:
    """What was found beside what it is to be."""
    lines = [_row("", "found", "to be", ""), _rule(3)]
    for one in checks:
        found = "" if one.found is None else f"{one.found:,.{2 if one.unit else 0}f} {one.unit}"
        bound = f"at {'least' if one.is_least else 'most'} {one.bound:,} {one.unit}"
        lines.append(_row(one.what, found.strip(), bound.strip(), one.verdict()))
    return "\n".join(lines)


def plain_table(*rows: Sequence[str]) -> str:
    """A table of these rows, the head first."""
    head, *others = rows
    return "\n".join([_row(*head), _rule(len(head) - 1), *(_row(*row) for row in others)])


def _named(result: Result, server: str) -> str:
    return f"{server} {result.versions[server]}".strip()


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|---" * (columns + 1) + "|"


STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .quiet { fill: #6e7781 } .title { font-weight: 600 }
.bar { fill: #9aa4b2 } .ours { fill: #2f6feb } .line { stroke: #8c959f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #8d96a0 } .bar { fill: #57606a } }
</style>"""
WIDTH, LEFT, RIGHT, ROW = 720, 110, 90, 22
CUT = 40
"""Bars of greater ratios end where the picture does, so that the others can be told apart; a number says the rest."""


def chart(result: Result) -> str:
    """The ratios to the reference as bars, one group for each mode that has them."""
    costs = {mode: {server: result.cost(server, mode) for server in result.servers()} for mode in result.modes}
    groups = {
        mode: {server: cost.ratio for server, cost in of.items() if cost is not None and cost.ratio is not None}
        for mode, of in costs.items()
    }
    most = max((ratio for group in groups.values() for ratio in group.values() if ratio <= CUT), default=1.0)
    scale = (WIDTH - LEFT - RIGHT) / most
    parts: list[str] = []
    y = 20
    for mode, group in groups.items():
        if not group:
            continue
        parts.append(f'<text class="title" x="8" y="{y}">CPU of {escape(result.modes[mode])}</text>')
        top = y + 8
        for server, ratio in group.items():
            kind = "bar ours" if server == "trunkline" else "bar"
            length = min(ratio, most) * scale
            number = f"{ratio:.2f}" if ratio <= most else f"{ratio:.0f}, cut"
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 22}" text-anchor="end">{escape(server)}</text>',
                f'<rect class="{kind}" x="{LEFT}" y="{y + 9}" width="{length:.1f}" height="16" rx="2"/>',
                f'<text class="quiet" x="{LEFT + length + 6:.1f}" y="{y + 22}">{number}</text>',
            ]
            y += ROW
        parts.append(f'<path class="line" d="M{LEFT + scale:.1f} {top}V{y + 8}"/>')
        y += 36
    label = f"CPU as a ratio to {REFERENCE}, measured in the same run"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{label}">'
    return "\n".join([head, STYLE, *parts, f'<text class="quiet" x="8" y="{y - 6}">{label}</text>', "</svg>", ""])
