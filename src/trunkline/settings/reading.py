"""From the sources to the settings: everything is read, and every mistake is reported, in one go."""

from __future__ import annotations

import ipaddress
import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from dotenv import dotenv_values

from trunkline.core.caller import Secret
from trunkline.core.catalog import Origin, Provider, Quirks, Timeouts, split_base_url
from trunkline.settings.values import ProviderRow, Server, Settings
from trunkline.settings.variables import MIN_SECRET, PLACEHOLDERS, VARIABLES, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

DIALECTS: Final = frozenset({"openai_chat"})


class SettingsError(Exception):
    """The configuration cannot be used. `mistakes` has one sentence for each thing to mend."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


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


class _Reading:
    """One reading of all sources: collects mistakes and warnings on the way."""

    def __init__(
        self, environment: Mapping[str, str], directory: Path, flags: Mapping[str, str], config: Path | None
    ) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._directory = directory
        self._values = self._merge(environment, flags)
        self._file = self._read_file(config)

    def settings(self) -> Settings:
        known = {"default_model", "server", "timeouts", "providers", "aliases"}
        self._unknown(self._file, known, "")
        server = self._table("server", Server)
        timeouts = self._table("timeouts", Timeouts)
        rest: dict[str, Any] = {}
        for variable in VARIABLES:
            value = self._value(variable.name)
            if value is None:
                continue
            try:
                parsed = variable.parse(value)
            except ValueError as error:
                self.mistakes.append(f"{variable.name} {error}.{self._shown(variable, value)}")
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
        providers = self._providers(frontend[0] if frontend else "", base)
        made = self._server(server)
        if self.mistakes:
            raise SettingsError(self.mistakes)
        return Settings(
            server=made,
            timeouts=base,
            providers=providers,
            aliases=tuple(aliases.items()),
            default_model=default_model,
            warnings=tuple(self.warnings),
            **rest,
        )

    def _merge(self, environment: Mapping[str, str], flags: Mapping[str, str]) -> dict[str, str]:
        path = self._directory / ".env"
        written: dict[str, str] = {}
        if path.is_file():
            try:
                written = {k: v for k, v in dotenv_values(path, interpolate=False).items() if v is not None}
            except (OSError, UnicodeDecodeError) as error:
                self.mistakes.append(f".env cannot be read: {error}.")
        return {**written, **{k: v for k, v in environment.items() if v.strip()}, **flags}

    def _value(self, name: str) -> str | None:
        value = self._values.get(name, "").strip()
        if value and value.lower() in PLACEHOLDERS:
            self.warnings.append(f"{name} still has its placeholder, so it counts as unset.")
            return None
        return value or None

    @staticmethod
    def _shown(variable: Variable, value: str) -> str:
        return "" if variable.is_secret else f" It is {value[:80]!r}."

    def _read_file(self, config: Path | None) -> dict[str, Any]:
        named = config or (Path(value) if (value := self._value("TRUNKLINE_CONFIG")) else None)
        path = named or self._directory / "trunkline.toml"
        if not path.is_file():
            if named is not None:
                self.mistakes.append(f"The configuration file {path} is not there.")
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
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
        fields = {field.name: field for field in msgspec.structs.fields(struct) if field.type != Secret | None}
        self._unknown(table, set(fields), where)
        read: dict[str, Any] = {}
        for name, value in table.items():
            if name not in fields:
                continue
            try:
                read[name] = msgspec.convert(value, fields[name].type)
            except msgspec.ValidationError as error:
                self.mistakes.append(f"trunkline.toml: {where}{name}: {error}.")
        return read

    def _strings(self, name: str) -> dict[str, str]:
        try:
            return msgspec.convert(self._file.get(name, {}), dict[str, str])
        except msgspec.ValidationError as error:
            self.mistakes.append(f"trunkline.toml: {name}: {error}.")
            return {}

    def _server(self, fields: dict[str, Any]) -> Server:
        # What the environment gave was checked as it was read; what the file gave is checked here.
        for variable in VARIABLES:
            table, _, name = variable.field.rpartition(".")
            value = fields.get(name)
            if table == "server" and isinstance(value, str | int | float) and not isinstance(value, bool):
                try:
                    variable.parse(str(value))
                except ValueError as error:
                    self.mistakes.append(f"trunkline.toml: server.{name} {error}.")
        fields.setdefault("data_dir", str(_home("XDG_DATA_HOME", ".local/share", self._values)))
        fields.setdefault("cache_dir", str(_home("XDG_CACHE_HOME", ".cache", self._values)))
        server = Server(**fields)
        if not server.is_loopback and server.admin_secret is None:
            self.mistakes.append(
                f"HOST is {server.host}, which other machines can reach: set TRUNKLINE_ADMIN_SECRET"
                f" ({MIN_SECRET} characters or more), or HOST=localhost."
            )
        return server

    def _providers(self, frontend_url: str, timeouts: Timeouts) -> tuple[Provider, ...]:
        written = self._mapping(self._file.get("providers", {}), "providers")
        rows = presets()
        named: dict[str, ProviderRow] = {}
        for name, table in written.items():
            where = f"providers.{name}"
            fields = self._fields(self._mapping(table, where), ProviderRow, f"{where}.")
            base = rows.get(fields.get("preset") or name, ProviderRow())
            named[name] = msgspec.structs.replace(base, **fields)
        providers: list[Provider] = []
        for name, row in {**rows, **named}.items():
            made = self._provider(name, row, frontend_url, timeouts, is_written=name in named)
            if made is not None:
                providers.append(made)
        # What the operator wrote comes first, in the order of the file.
        providers.sort(key=lambda provider: provider.name not in named)
        return tuple(providers)

    def _provider(
        self, name: str, row: ProviderRow, frontend_url: str, timeouts: Timeouts, *, is_written: bool
    ) -> Provider | None:
        where = f"trunkline.toml: providers.{name}"
        key, needs_key = self._credential(row, where)
        if not is_written and key is None:
            return None
        if is_written and needs_key and key is None:
            self.mistakes.append(f"{where} has no key: set {row.key or (row.api_key or '')[4:]}.")
        base_url = (self._value(row.base_url_variable) if row.base_url_variable else None) or row.base_url
        if base_url is None:
            self.mistakes.append(f"{where} has no base_url.")
            return None
        if row.dialect not in DIALECTS:
            self.mistakes.append(f"{where}.dialect must be one of {', '.join(sorted(DIALECTS))}.")
            return None
        try:
            origin, path = split_base_url(base_url)
        except ValueError as error:
            self.mistakes.append(f"{row.base_url_variable or where + '.base_url'} {error}. It is {base_url[:80]!r}.")
            return None
        if unknown := set(row.timeouts or {}) - {field.name for field in msgspec.structs.fields(Timeouts)}:
            self.mistakes.append(f"{where}.timeouts has no {', '.join(sorted(unknown))}.")
            return None
        default_model = (self._value(row.model_variable) if row.model_variable else None) or row.default_model
        return Provider(
            name=name,
            label=row.label or name,
            dialect=row.dialect,
            origin=origin,
            path=path,
            credential=key,
            headers=tuple(
                (header, value.replace("{frontend_url}", frontend_url)) for header, value in (row.headers or {}).items()
            ),
            quirks=row.quirks or Quirks(),
            default_model=default_model,
            probe=row.probe or "/models",
            models=row.models or (),
            allow_private=row.allow_private if row.allow_private is not None else _is_written_private(origin),
            timeouts=msgspec.structs.replace(timeouts, **(row.timeouts or {})),
        )

    def _credential(self, row: ProviderRow, where: str) -> tuple[Secret | None, bool]:
        """The provider's key, and whether it needs one."""
        if row.api_key is not None:
            if not row.api_key.startswith("env:"):
                self.mistakes.append(f"{where}.api_key must be env:NAME: secrets do not belong into the file.")
                return None, False
            value = self._value(row.api_key.removeprefix("env:"))
        elif row.key is not None:
            value = self._value(row.key)
        else:
            return None, False
        if value is not None and not value.isascii():
            self.mistakes.append(f"{row.key or row.api_key} must hold only ASCII characters.")
            return None, False
        return (Secret(value) if value else None), True


def _is_written_private(origin: Origin) -> bool:
    """Whether the operator wrote a loopback or private address, or localhost: then it is meant."""
    if origin.host == "localhost":
        return True
    try:
        return not ipaddress.ip_address(origin.host).is_global
    except ValueError:
        return False


def _home(variable: str, fallback: str, values: Mapping[str, str]) -> Path:
    root = values.get(variable, "").strip()
    return (Path(root) if root else Path.home() / fallback) / "trunkline"
