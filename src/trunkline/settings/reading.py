"""From the sources to the settings: everything is read, and every mistake is reported, in one go."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from dotenv import dotenv_values

from trunkline.core.catalog import Catalog, Timeouts
from trunkline.core.difficulty import Scale
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.settings.fields import read_fields
from trunkline.settings.prices import read_prices
from trunkline.settings.provider_rows import RowReader
from trunkline.settings.proxies import read_proxy
from trunkline.settings.routes import LOCAL, RouteRow, check_targets, read_route
from trunkline.settings.values import ProviderRow, Server, Settings
from trunkline.settings.variables import ADMIN_SECRET, MIN_SECRET, PLACEHOLDERS, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Provider
    from trunkline.core.price import Price
    from trunkline.core.proxy import Proxy


class SettingsError(Exception):
    """The configuration cannot be used. `mistakes` has one sentence for each thing to mend.

    `server` is what could be read of that table, for whoever only looks for the router that runs.
    """

    def __init__(self, mistakes: list[str], server: Server) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
        self.server = server


def presets() -> dict[str, ProviderRow]:
    """The providers that ship with Trunkline, in order of preference."""
    text = resources.files("trunkline.presets").joinpath("providers.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, ProviderRow])


def load(
    environment: Mapping[str, str],
    directory: Path,
    *,
    flags: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings that these sources give together.

    `flags` has variables' names as keys. Raises SettingsError with every mistake that was found.
    """
    return _Reading(environment, directory, flags or {}, config).settings()


_FIGURES: Final[dict[str, type[msgspec.Struct]]] = {
    "retries": RetryLimits,
    "breaker": BreakerLimits,
    "health": HealthLimits,
    "auto": Scale,
}
"""Tables that are read as they are."""


class _Reading:
    """One reading of all sources: collects mistakes and warnings on the way."""

    def __init__(
        self, environment: Mapping[str, str], directory: Path, flags: Mapping[str, str], config: Path | None
    ) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._chosen_model: str | None = None
        self._known_providers: frozenset[str] = frozenset()
        self._directory = directory
        self._values = self._merge(environment, flags)
        self._file = self._read_file(config)

    def settings(self) -> Settings:
        known = {"default_model", "server", "timeouts", "providers", "models", "aliases", "prices", *_FIGURES}
        self._unknown(self._file, known, "")
        server = self._parsed(self._table("server", Server))
        timeouts = self._table("timeouts", Timeouts)
        rest: dict[str, Any] = {}
        for variable in VARIABLES:
            value = self._value(variable.name)
            if value is None:
                continue
            try:
                parsed = variable.parse(value)
            except ValueError as error:
                # The value is not said back: it may be a secret in the wrong line.
                self.mistakes.append(f"{variable.name} {error}.")
                continue
            table, _, name = variable.field.rpartition(".")
            (server if table == "server" else rest)[name] = parsed
        aliases = self._strings("aliases")
        default_model = self._file.get("default_model")
        if default_model is not None and not isinstance(default_model, str):
            self.mistakes.append("trunkline.toml: default_model must be a string.")
            default_model = None
        frontend = server.get("frontend_urls", Server().frontend_urls)
        base = Timeouts(**timeouts)
        providers = self._providers(frontend[0] if frontend else "", base, self._proxy(server))
        figures: dict[str, Any] = {name: struct(**self._table(name, struct)) for name, struct in _FIGURES.items()}
        if figures["auto"].tier_1 > figures["auto"].tier_2:
            self.mistakes.append("trunkline.toml: auto.tier_1 must not be above auto.tier_2.")
        routes = self._routes(Catalog(providers=providers, aliases=tuple(aliases.items())))
        prices = self._prices()
        made = self._server(server)
        if self.mistakes:
            raise SettingsError(self.mistakes, made)
        return Settings(
            server=made,
            timeouts=base,
            **figures,
            providers=providers,
            routes=routes,
            aliases=tuple(aliases.items()),
            prices=prices,
            default_model=default_model or self._chosen_model,
            warnings=tuple(self.warnings),
            **rest,
        )

    def _routes(self, catalog: Catalog) -> dict[str, RouteRow]:
        written = self._mapping(self._file.get("models", {}), "models")
        routes: dict[str, RouteRow] = {}
        for name, table in written.items():
            row = read_route(name, self._mapping(table, f"models.{name}"), self.mistakes.append)
            if row is not None:
                routes[name] = row
        check_targets(routes, catalog, self.mistakes.append)
        return routes

    def _prices(self) -> dict[str, Price]:
        written = self._mapping(self._file.get("prices", {}), "prices")
        return read_prices(written, {*self._known_providers, LOCAL}, self.mistakes.append)

    def _merge(self, environment: Mapping[str, str], flags: Mapping[str, str]) -> dict[str, str]:
        path = self._directory / ".env"
        written: dict[str, str] = {}
        if path.is_file():
            try:
                read = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
                written = {name: value for name, value in read.items() if value is not None}
            except (OSError, UnicodeDecodeError) as error:
                self.mistakes.append(f".env cannot be read: {error}.")
        given = {name: value for name, value in environment.items() if value.strip()}
        return {**environment, **written, **given, **flags}

    def _value(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        value = value.strip()
        if not value:
            self._warn(f"{name} is empty, so it counts as unset.")
            return None
        # A secret is never unset by its value: it was meant to close the router, so it is refused like any weak one.
        if value.lower() in PLACEHOLDERS and name != ADMIN_SECRET:
            self._warn(f"{name} still has its placeholder, so it counts as unset.")
            return None
        return value

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _read_file(self, config: Path | None) -> dict[str, Any]:
        named = config or (Path(value) if (value := self._value("TRUNKLINE_CONFIG")) else None)
        path = named or self._directory / "trunkline.toml"
        if not path.is_file():
            if named is not None:
                self.mistakes.append(f"The configuration file {path} is not there.")
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError, OSError) as error:
            self.mistakes.append(f"{path.name} cannot be read: {error}.")
            return {}

    def _unknown(self, table: Mapping[str, Any], known: set[str], where: str) -> None:
        for name in sorted(set(table) - known):
            self.mistakes.append(f"trunkline.toml: {where}{name} is not a setting.")

    def _table(self, name: str, struct: type[msgspec.Struct]) -> dict[str, Any]:
        """One table of the file, field by field, so that every mistake is found."""
        return self._fields(self._mapping(self._file.get(name, {}), name), struct, f"{name}.")

    def _mapping(self, value: Any, name: str) -> dict[str, Any]:
        try:
            return msgspec.convert(value, dict[str, Any])
        except msgspec.ValidationError:
            self.mistakes.append(f"trunkline.toml: {name} must be a table.")
            return {}

    def _fields(self, table: Mapping[str, Any], struct: type[msgspec.Struct], where: str) -> dict[str, Any]:
        return read_fields(table, struct, where, self.mistakes.append)

    def _strings(self, name: str) -> dict[str, str]:
        try:
            return msgspec.convert(self._file.get(name, {}), dict[str, str])
        except msgspec.ValidationError as error:
            self.mistakes.append(f"trunkline.toml: {name}: {error}.")
            return {}

    def _parsed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What the file says of the server, read as the same settings of the environment are."""
        for variable in VARIABLES:
            table, _, name = variable.field.rpartition(".")
            if table != "server" or name not in fields or isinstance(fields[name], bool):
                continue
            value: str | float | tuple[str, ...] = fields[name]
            try:
                fields[name] = variable.parse(",".join(value) if isinstance(value, tuple) else str(value))
            except ValueError as error:
                self.mistakes.append(f"trunkline.toml: server.{name} {error}.")
                del fields[name]
        return fields

    def _server(self, fields: dict[str, Any]) -> Server:
        fields.setdefault("data_dir", str(_home("XDG_DATA_HOME", ".local/share", self._values)))
        fields.setdefault("cache_dir", str(_home("XDG_CACHE_HOME", ".cache", self._values)))
        server = Server(**fields)
        if not server.is_loopback and server.admin_secret is None:
            self.mistakes.append(
                f"HOST is {server.host}, which other machines can reach: set TRUNKLINE_ADMIN_SECRET"
                f" ({MIN_SECRET} characters or more), or HOST=localhost."
            )
        return server

    def _proxy(self, fields: dict[str, Any]) -> Proxy | None:
        """The proxy for all providers. What cannot be one is not kept: it may hold a password."""
        written = fields.get("proxy")
        if written is None:
            return None
        count = len(self.mistakes)
        proxy = read_proxy(written, "trunkline.toml: server.proxy", self._value, self.mistakes.append)
        if len(self.mistakes) > count:
            del fields["proxy"]
        return proxy

    def _providers(self, frontend_url: str, timeouts: Timeouts, proxy: Proxy | None) -> tuple[Provider, ...]:
        written = self._mapping(self._file.get("providers", {}), "providers")
        rows = presets()
        named: dict[str, ProviderRow] = {}
        for name, table in written.items():
            where = f"providers.{name}"
            if not name or "/" in name or not name.isprintable():
                self.mistakes.append(f"trunkline.toml: {where!r}: a provider's name is printable and has no slash.")
            fields = self._fields(self._mapping(table, where), ProviderRow, f"{where}.")
            if "timeouts" in fields:
                fields["timeouts"] = self._fields(fields["timeouts"], Timeouts, f"{where}.timeouts.")
            self._no_prices(fields, where)
            preset = fields.get("preset")
            if preset is not None and preset not in rows:
                self.mistakes.append(f"trunkline.toml: {where}.preset must be one of {', '.join(rows)}.")
            base = rows.get(preset or name, ProviderRow())
            named[name] = msgspec.structs.replace(base, **fields)
        self._known_providers = frozenset({*rows, *named})
        reader = RowReader(self._value, self.mistakes, self._warn, frontend_url, timeouts, proxy=proxy)
        made = (reader.provider(name, row, is_written=name in named) for name, row in {**rows, **named}.items())
        providers = [provider for provider in made if provider is not None]
        self._chosen_model = reader.chosen_model
        # What the operator wrote comes first, in the order of the file.
        order = {name: position for position, name in enumerate(named)}
        providers.sort(key=lambda provider: order.get(provider.name, len(order)))
        return tuple(providers)

    def _no_prices(self, fields: dict[str, Any], where: str) -> None:
        for kind in ("models", "families"):
            for place, model in enumerate(fields.get(kind) or ()):
                if model.price is not None:
                    name = f"{where.removeprefix('providers.')}/{model.id}"
                    self.mistakes.append(
                        f'trunkline.toml: {where}.{kind}[{place}].price: prices stand under [prices."{name}"].'
                    )


def _home(variable: str, fallback: str, values: Mapping[str, str]) -> Path:
    root = values.get(variable, "").strip()
    return (Path(root) if root else Path.home() / fallback) / "trunkline"
