"""The command line: serve, demo, migrate, explain, doctor. Calls the app, prints with rich; heavy parts load late."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

from trunkline import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from trunkline.settings.values import Server, Settings
    from trunkline.supervisor.sockets import Listening

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2

NO_PROVIDER = """No model provider is configured. Do one of these:
  - set OPENROUTER_API_KEY (https://openrouter.ai/keys) in the environment or in .env;
    any other provider's key works as well: docs/configuration.md lists them
  - run `trunkline demo`: a small model on this machine answers, without any key"""

NO_ROUTER = """No router runs on port {port} that could be asked, and with these settings there is no plan.
If the keys are set in another shell, start the router there, or name its port with --port."""

app = typer.Typer(
    name="trunkline",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="One server between your applications and every model provider.",
    epilog="Start with [bold]trunkline demo[/bold]: it needs no key. Then open http://localhost:3001",
)


class Local(StrEnum):
    """When the model on this machine runs."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def main() -> None:
    """Run the command line."""
    app()


def _say(text: str) -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def _plain(text: str) -> str:
    """Text of the operator's, for a line with markup: its brackets are only brackets."""
    from rich.markup import escape

    return escape(text)


def _fail(text: str, code: int) -> NoReturn:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(text)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"trunkline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_flag: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


Host = Annotated[str | None, typer.Option(help="Address to listen on.  [HOST, default localhost]", show_default=False)]
Port = Annotated[int | None, typer.Option(help="Port.  [PORT, default 3001]", show_default=False)]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes.  [TRUNKLINE_WORKERS, default 1]", show_default=False)
]
Reload = Annotated[bool, typer.Option("--reload", help="Restart when the code or the configuration changes.")]
Config = Annotated[
    Path | None,
    typer.Option(help="A trunkline.toml.  [TRUNKLINE_CONFIG, default ./trunkline.toml]", show_default=False),
]


@app.command(
    epilog="Examples:\n\n"
    "  OPENROUTER_API_KEY=sk-or-... trunkline serve\n\n"
    "  trunkline serve --local=auto          a key if there is one, else the model on this machine\n\n"
    "  trunkline serve --port 8080 --workers 2\n\n"
    "  TRUNKLINE_ADMIN_SECRET=... trunkline serve --host 0.0.0.0"
)
def serve(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    reload: Reload = False,
    local: Annotated[
        Local, typer.Option(help="Run a model on this machine: always, never, or if no provider has a key.")
    ] = Local.NEVER,
    config: Config = None,
) -> None:
    """Start the router."""
    _serve(_flags(host, port, workers), config, local, reload=reload, is_demo=False)


@app.command(
    epilog="Examples:\n\n  trunkline demo --port 8080\n\n  trunkline demo --faults     how does your client take it?"
)
def demo(
    host: Host = None,
    port: Port = None,
    faults: Annotated[
        bool, typer.Option("--faults", help="A provider that fails in every way, by the model's name, in its place.")
    ] = False,
) -> None:
    """Start the router with a small model on this machine, whatever keys are set."""
    if not faults:
        _serve(_flags(host, port, None), None, Local.ALWAYS, reload=False, is_demo=True)
        return
    from trunkline.core.catalog import LOOPBACK_NAMES
    from trunkline.demo import FaultyDemo

    if host is not None and host not in LOOPBACK_NAMES:
        _fail("`trunkline demo --faults` serves this machine alone: leave out --host.", EXIT_MISCONFIGURED)
    flags = _flags("localhost", port, 1)
    _supervise(_load(flags, None), flags, None, FaultyDemo(), reload=False)


@app.command(epilog="Example:\n\n  CHAT_DATABASE_URL=sqlite:///chat.sqlite3 trunkline migrate")
def migrate(config: Config = None) -> None:
    """Create or update the tables of chat history. Safe to run again, and by two at once."""
    from trunkline.core.problem import Problem
    from trunkline.store.migrate import migrate as run

    settings = _load({}, config)
    url = settings.chat_database_url or settings.database_url
    if url is None:
        _fail(
            "Set CHAT_DATABASE_URL (or DATABASE_URL) to the database that chat history should use.", EXIT_MISCONFIGURED
        )
    if settings.chat_database_url is None:
        _say("CHAT_DATABASE_URL is not set: the chat tables go into DATABASE_URL.")
    try:
        for sentence in asyncio.run(run(url)):
            _say(sentence)
    except Problem as problem:
        _fail(problem.message, EXIT_FAILED)
    if settings.chat_database_url is None:
        _say("To use them, set CHAT_DATABASE_URL to the same address.")


@app.command(
    epilog="Examples:\n\n"
    "  trunkline explain --model fast\n\n"
    "  trunkline explain --model fast --file request.json --json"
)
def explain(
    model: Annotated[str | None, typer.Option(help="The model, in place of the request's own.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="The request's body, as JSON.  [default: a short question]", show_default=False)
    ] = None,
    route: Annotated[str, typer.Option(help="The path that the request is for.")] = "/v1/chat/completions",
    port: Port = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Tell where a request would go, and why. Asks the router that runs here, if one does; no provider is called."""
    import msgspec

    from trunkline.settings.reading import SettingsError
    from trunkline.settings.sources import Sources

    try:
        settings = Sources(os.environ, Path.cwd(), _flags(None, port, None), config).settings()
        server, mistakes = settings.server, list[str]()
    except SettingsError as error:
        # The keys may be set for the router alone, which can be asked all the same.
        settings, server, mistakes = None, error.server, error.mistakes
    body = _request_body(model, file, route)
    plan = _live_plan(server, route, body)
    if plan is None:
        if settings is None:
            _fail("\n".join([*mistakes, NO_ROUTER.format(port=server.port)]), EXIT_MISCONFIGURED)
        plan = _plan_of(settings, route, body)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
    else:
        from trunkline.plan_table import print_plan

        print_plan(plan, server.port)


@app.command(epilog="Example:\n\n  trunkline doctor --json")
def doctor(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the configuration, the keys (one real call each), the network, the port and the database."""
    import msgspec

    from trunkline.doctor import State, examine, is_healthy

    findings = asyncio.run(examine(os.environ, Path.cwd(), config=config))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        style = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red", State.SKIPPED: "dim"}
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            state = Text(finding.state.value, style[finding.state])
            says = Text(finding.says)
            if finding.fix:
                says.append(f"\n→ {finding.fix}", "bold")
            table.add_row(state, Text(finding.check), says)
        Console().print(table)
    raise typer.Exit(0 if is_healthy(findings) else EXIT_FAILED)


def _flags(host: str | None, port: int | None, workers: int | None) -> dict[str, str]:
    given = {"HOST": host, "PORT": port, "TRUNKLINE_WORKERS": workers}
    return {name: str(value) for name, value in given.items() if value is not None}


def _load(flags: Mapping[str, str], config: Path | None) -> Settings:
    from trunkline.settings.reading import SettingsError
    from trunkline.settings.sources import Sources

    try:
        return Sources(os.environ, Path.cwd(), flags, config).settings()
    except SettingsError as error:
        _fail("\n".join(error.mistakes), EXIT_MISCONFIGURED)


def _request_body(model: str | None, file: Path | None, route: str) -> bytes:
    """The request that the user gave, or the shortest that there is, with this model."""
    import msgspec

    from trunkline.core.problem import Problem
    from trunkline.dialects.dialect import splice

    shortest = b'{"message":"Hello"}' if route == "/api/chat" else _HELLO
    try:
        body = shortest if file is None else file.read_bytes()
        return body if model is None else splice(body, {"model": msgspec.json.encode(model)})
    except UnicodeEncodeError:
        _fail("--model must be valid UTF-8.", EXIT_MISCONFIGURED)
    except OSError as error:
        _fail(f"{file} cannot be read: {error.strerror}.", EXIT_MISCONFIGURED)
    except Problem as problem:
        _fail(f"{file}: {problem.message}", EXIT_MISCONFIGURED)


_HELLO = b'{"messages":[{"role":"user","content":"Hello"}]}'


def _live_plan(server: Server, route: str, body: bytes) -> dict[str, Any] | None:
    """The running router's plan; None where none runs."""
    from trunkline.supervisor.control import LinkClosed, Refused, ask_router, control_path

    path = control_path(Path(server.data_dir) / "run", server.port)
    try:
        args = {"route": route, "body": body.decode()}
        return {"live": True, **asyncio.run(ask_router(path, "explain", args, timeout_s=5))}
    except LinkClosed:
        return None
    except UnicodeDecodeError:
        _fail("The request is not valid UTF-8.", EXIT_MISCONFIGURED)
    except (Refused, TimeoutError) as why:
        _fail(str(why) or "The router that runs here does not answer.", EXIT_FAILED)


def _plan_of(settings: Settings, route: str, body: bytes) -> dict[str, Any]:
    """The plan by the settings alone."""
    import msgspec

    from trunkline.app import explain_unasked
    from trunkline.core.problem import Problem

    try:
        return {"live": False, **msgspec.to_builtins(explain_unasked(settings, route, body))}
    except Problem as problem:
        _fail(problem.message, EXIT_FAILED)


def _serve(flags: Mapping[str, str], config: Path | None, local: Local, *, reload: bool, is_demo: bool) -> None:
    settings = _load(flags, config)
    for warning in settings.warnings:
        _say(f"[yellow]{_plain(warning)}[/yellow]")
    beside = _LocalModel(settings, is_wanted=_wants_local(local, settings), is_default=is_demo)
    if not settings.providers and not beside.is_wanted:
        _fail(NO_PROVIDER, EXIT_MISCONFIGURED)
    beside.fetch()
    _supervise(settings, flags, config, beside, reload=reload)


class _Beside(Protocol):
    """What runs as long as the router does: a provider on this machine."""

    def run(self) -> AbstractAsyncContextManager[object]:
        """Keep it running inside this block."""
        ...

    def added_to(self, settings: Settings) -> Settings:
        """The settings with it among the providers."""
        ...

    def greet(self, settings: Settings, listening: Listening) -> None:
        """Tell the user where everything is."""
        ...


def _supervise(
    settings: Settings, flags: Mapping[str, str], config: Path | None, beside: _Beside, *, reload: bool
) -> NoReturn:
    from trunkline.supervisor.failure import CannotStart
    from trunkline.supervisor.parent import Setup, supervise
    from trunkline.telemetry import configure_logging

    server = settings.server
    configure_logging(server.log_level, server.log_format)

    def current() -> bytes:
        from trunkline.settings.reading import SettingsError
        from trunkline.settings.sources import Sources
        from trunkline.settings.values import to_bytes

        try:
            return to_bytes(beside.added_to(Sources(os.environ, Path.cwd(), flags, config).settings()))
        except SettingsError as error:
            raise CannotStart("\n".join(error.mistakes)) from error

    def ready(listening: Listening) -> None:
        beside.greet(beside.added_to(settings), listening)

    setup = Setup(
        factory="trunkline.app:build",
        settings=current,
        runtime_dir=Path(server.data_dir) / "run",
        host=server.host,
        port=server.port,
        workers=server.workers,
        drain_s=server.drain_s,
        watch=_watched(config) if reload else (),
        beside=beside.run,
        on_ready=ready,
    )
    try:
        code = asyncio.run(supervise(setup))
    except CannotStart as error:
        _fail(str(error), EXIT_FAILED)
    raise typer.Exit(code)


def _wants_local(local: Local, settings: Settings) -> bool:
    if local is Local.ALWAYS or (local is Local.AUTO and not settings.providers):
        return True
    targets = (leg.target for route in settings.routes.values() for leg in route.legs)
    named = (settings.default_model or "", *(target for _, target in settings.aliases), *targets)
    return any(name.startswith("local/") for name in named)


def _watched(config: Path | None) -> tuple[Path, ...]:
    files = (Path.cwd() / ".env", config or Path.cwd() / "trunkline.toml")
    return (Path(__file__).parent, *files)


def _greet(settings: Settings, listening: Listening) -> None:
    from trunkline.core.problem import Problem
    from trunkline.settings.values import compile_catalog

    host = "localhost" if settings.server.is_loopback else settings.server.host
    url = f"http://[{host}]:{listening.port}" if ":" in host else f"http://{host}:{listening.port}"
    try:
        model = compile_catalog(settings).default_name()
    except Problem:
        model = "none is the default: each request names one"
    history = "on" if settings.chat_database_url else "off (CHAT_DATABASE_URL is not set)"
    _say(
        f"[bold]Trunkline {__version__}[/bold] is listening on [bold]{url}[/bold]\n"
        f"  page      {url}/\n  API       {url}/docs\n  model     {_plain(model)}\n  history   {history}\n"
        "  Ctrl-C ends it."
    )


class _LocalModel:
    """The local model, where it is wanted: fetched before the start, running as long as the router does."""

    def __init__(self, settings: Settings, *, is_wanted: bool, is_default: bool) -> None:
        self.is_wanted = is_wanted
        self._is_default = is_default
        self._cache_dir = Path(settings.server.cache_dir)
        self._weights: Path | None = None
        self._served: tuple[int, str, int] | None = None

    def fetch(self) -> None:
        """Have the weights, with a progress bar for a person. Ends the program where they cannot be had."""
        if not self.is_wanted:
            return
        from trunkline.upstream.local import HOW_TO_INSTALL, is_available
        from trunkline.upstream.weights import WeightsUnavailable, fetch_weights

        if not is_available():
            _fail(HOW_TO_INSTALL, EXIT_FAILED)
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("Fetching the local model"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
            task = progress.add_task("", total=None, visible=False)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total, visible=True)

            try:
                self._weights = fetch_weights(
                    self._cache_dir, report=report, say=lambda sentence: progress.console.print(_plain(sentence))
                )
            except WeightsUnavailable as error:
                _fail(str(error), EXIT_FAILED)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Keep the model running inside this block."""
        if self._weights is None:
            yield
            return
        from trunkline.supervisor.failure import CannotStart
        from trunkline.upstream.local import LocalModel, LocalModelFailed

        model = LocalModel(self._weights)
        try:
            await model.start()
        except LocalModelFailed as error:
            raise CannotStart(str(error)) from error
        try:
            self._served = (model.port, model.model_id, model.context_tokens)
            yield
        finally:
            await model.aclose()

    def added_to(self, settings: Settings) -> Settings:
        """The settings with the running model among the providers."""
        from trunkline.settings.values import local_provider, with_local

        if self._served is None:
            return settings
        return with_local(settings, local_provider(*self._served), as_default=self._is_default)

    def greet(self, settings: Settings, listening: Listening) -> None:
        """Tell the user where everything is."""
        _greet(settings, listening)
