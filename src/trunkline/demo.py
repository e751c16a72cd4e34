"""`trunkline demo --faults`: the router before a provider that fails on purpose, and a table of all its models."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline import __version__
from trunkline.core.catalog import Model, Origin, Provider, Quirks, Timeouts
from trunkline.core.price import NANO, Price
from trunkline.core.resilience import BreakerLimits, RetryLimits
from trunkline.settings.routes import RouteRow
from trunkline.settings.values import Settings
from trunkline.upstream.faults import FAULTS, JOURNAL, SCRIPTED, FaultyProvider
from trunkline.upstream.scripted import HOST, ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.supervisor.sockets import Listening

PROVIDER: Final = "faults"
TIMEOUTS: Final = Timeouts(first_token_s=3, idle_bytes_s=3, idle_content_s=5, total_s=10, whole_s=10)
"""Shorter than those of real use: who tries a fault out does not want to wait a minute for it."""

BREAKER: Final = BreakerLimits(consecutive=1_000_000, least=1_000_000)
"""It never opens: each request meets the fault that it asks for."""

RETRIES: Final = RetryLimits(concurrent=100_000, reserve_per_s=1_000_000)
"""Nor do many requests at once use up the retries of each other."""

REMEMBER: Final = 100


class Shown(NamedTuple):
    """A route of the demo: its row, and what it is there to show."""

    row: RouteRow
    does: str
    gets: str


def _target(name: str) -> str:
    return f"{PROVIDER}/{name}"


ROUTES: Final = {
    "failover": Shown(
        RouteRow(targets=(_target("overloaded"), _target("html"), _target("fine"))),
        "overloaded, then html, then fine",
        "the whole answer, asked thrice",
    ),
    "hedged": Shown(
        RouteRow(targets=(_target("sometimes-slow"), _target("fine")), hedge=True),
        "sometimes-slow; if late, fine, too",
        "it soon, once it has seen twenty",
    ),
    "resumed": Shown(
        RouteRow(targets=(_target("cut-mid-stream"), _target("fine")), resume=True),
        "cut-mid-stream, then fine",
        "one whole answer of the two",
    ),
}


class FaultyDemo:
    """The provider, running as long as the router does. It owns the port on which it listens."""

    def __init__(self) -> None:
        self._port = 0

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Keep the provider running inside this block."""
        faulty = FaultyProvider()
        models = [fault.name for fault in FAULTS]
        async with ScriptedUpstream(faulty.answer, models=models, remember=REMEMBER) as upstream:
            faulty.journal = upstream
            self._port = upstream.port
            yield

    def added_to(self, settings: Settings) -> Settings:
        """The demo's own settings: no other provider, no database, no key, and nobody but this machine."""
        return Settings(
            server=msgspec.structs.replace(settings.server, host="localhost", admin_secret=None),
            timeouts=TIMEOUTS,
            breaker=BREAKER,
            retries=RETRIES,
            providers=(faulty_provider(self._port),),
            routes={name: shown.row for name, shown in ROUTES.items()},
            default_model=_target("fine"),
        )

    def greet(self, settings: Settings, listening: Listening) -> None:  # noqa: ARG002 - the demo's own are known
        """Print what can be asked for, and how."""
        console = Console(highlight=False, markup=False)
        for part in greeting(f"http://localhost:{listening.port}", f"http://{HOST}:{self._port}/v1"):
            console.print(part, soft_wrap=isinstance(part, Text))


def faulty_provider(port: int) -> Provider:
    """The row of the provider that fails."""
    price = Price(input_nano=NANO, output_nano=2 * NANO)
    return Provider(
        name=PROVIDER,
        label="The faulty provider",
        dialect="openai_chat",
        origin=Origin("http", HOST, port),
        path="/v1",
        default_model="fine",
        models=tuple(Model(id=name, price=price) for name in (*(fault.name for fault in FAULTS), SCRIPTED)),
        quirks=Quirks(prefill=True),
        allow_private=True,
        timeouts=TIMEOUTS,
    )


def greeting(url: str, upstream_url: str) -> list[Text | Table]:
    """What the demo says at its start: text and tables, from top to bottom."""
    sixty = f"for i in $(seq 60); do {curl(url, 'hedged')} -so /dev/null -w '%{{time_starttransfer}}\\n'; done"
    return [
        Text.assemble(
            (f"Trunkline {__version__}", "bold"), " is listening on ", (url, "bold"),
            ", before a provider that fails on purpose.\n",
        ),
        _table(),
        Text.assemble("\nTry one; with another name, another:\n\n  ", (curl(url, _target("stall")), "cyan"), "\n"),
        Text.assemble(
            "Sixty requests; two would take 2 s, but another target is asked, too:\n\n  ",
            (sixty, "cyan"),
            "\n",
        ),
        Text.assemble(
            "A fault of your own, in OpenAI's Python client by extra_body={'script': ...}:\n\n  ",
            (curl(url, _target(SCRIPTED), text="One two three four.", delay_first_s=1, cut_after=2, end="rst"), "cyan"),
            "\n",
        ),
        _facts(url, upstream_url),
    ]  # fmt: skip


def curl(url: str, model: str, **script: object) -> str:
    """A request for this model, to be pasted into a shell."""
    body: dict[str, object] = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    if script:
        body["script"] = script
    written = json.dumps(body, separators=(",", ":"))
    return f"curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '{written}'"


def _table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("model", "the provider", "", "your client gets"):
        table.add_column(title, no_wrap=not title or title == "model")
    group = None
    for fault in FAULTS:
        if fault.group is not group:
            group = fault.group
            table.add_row(Text(f"\n{group.value}", "bold"))
        status = Text(str(fault.status), "green" if fault.is_answer else "yellow" if fault.status == 200 else "red")
        table.add_row(Text.assemble((f"{PROVIDER}/", "dim"), fault.name), Text(fault.does), status, Text(fault.gets))
    table.add_row(Text("\nRoutes over them", "bold"))
    for name, shown in ROUTES.items():
        table.add_row(Text(name), Text(shown.does), Text("200", "green"), Text(shown.gets))
    return table


def _facts(url: str, upstream_url: str) -> Text:
    facts = {
        "clients": f"OpenAI {url}/v1, Anthropic and Gemini {url}; any key, or none",
        "timers": f"first token {TIMEOUTS.first_token_s:g} s, silence {TIMEOUTS.idle_bytes_s:g} s,"
        f" a stream {TIMEOUTS.total_s:g} s, a whole answer {TIMEOUTS.whole_s:g} s",
        "provider": f"{upstream_url} without the router; it speaks OpenAI's chat completions",
        "journal": f"{upstream_url}/{JOURNAL} tells what reached it, your client's leaving included",
        "page": f"{url}/",
    }
    lines = "\n".join(f"  {name:<9} {says}" for name, says in facts.items())
    return Text(f"{lines}\n  Ctrl-C ends it.")
