"""From a row to a provider: what switches it on, its address, its key or its other way to say who asks."""

from __future__ import annotations

import ipaddress
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.caller import Secret
from trunkline.core.catalog import Auth, Origin, Provider, Quirks, Timeouts, split_base_url
from trunkline.settings.proxies import read_proxy
from trunkline.settings.values import ENV

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline.core.proxy import Proxy
    from trunkline.settings.values import ProviderRow

DIALECTS: Final = frozenset({"anthropic_messages", "gemini", "openai_chat", "openai_responses"})

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
"""What a token of Google's is for, unless the row says otherwise."""

_LIBRARY: Final = {
    Auth.SIGV4: ("botocore", "botocore", "bedrock"),
    Auth.GOOGLE: ("google.auth", "google-auth", "vertex"),
}
"""What a way to authenticate needs: the module, the package that has it, and the extra that brings it."""

_YES: Final = frozenset({"1", "true", "yes", "on"})
_FILLING: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}", re.ASCII)
_SIGV4_SCOPE: Final = re.compile(r"[a-z0-9-]+/[a-z0-9-]+", re.ASCII)


class RowReader:
    """Makes providers of rows. `mistakes` collects one sentence for each thing to mend.

    `value` gives a variable's value, None where it is unset. `chosen_model` is the model that a variable names, where
    it is that of the first provider that is on. `proxy` leads to every provider whose row does not say otherwise, and
    whose address is not a private one.
    """

    def __init__(
        self,
        value: Callable[[str], str | None],
        mistakes: list[str],
        warn: Callable[[str], None],
        frontend_url: str,
        timeouts: Timeouts,
        *,
        proxy: Proxy | None,
    ) -> None:
        self.chosen_model: str | None = None
        self._value = value
        self._mistakes = mistakes
        self._warn = warn
        self._frontend_url = frontend_url
        self._timeouts = timeouts
        self._proxy = proxy
        self._is_first = True

    def provider(self, name: str, row: ProviderRow, *, is_written: bool) -> Provider | None:
        """The provider, if it is on and can be used. `is_written`: it stands in trunkline.toml, and so is meant."""
        where = f"trunkline.toml: providers.{name}"
        key_name, key = self._key(row, where)
        url = self._value(row.base_url_variable) if row.base_url_variable else None
        reason = self._reason(row, key_name, has_url=url is not None)
        if not is_written and reason is None:
            if key_name is not None and row.base_url_variable is not None:
                self._warn(f"{key_name} is set without {row.base_url_variable}, so {row.label or name} is off.")
            return None
        if row.retired is not None and not is_written:
            self._warn(f"{row.label or name} was ended by its vendor on {row.retired}: {reason} leads nowhere.")
        if is_written and row.wants_key and key is None and _is_reference(row):
            self._mistake(f"{where} has no key: set {_either(row.key_variables)}.")
        if row.dialect not in DIALECTS and (row.base_url or url):
            self._mistake(f"{where}.dialect must be one of {', '.join(sorted(DIALECTS))}.")
            return None
        address = self._address(row, url, where, reason or key_name)
        if address is None or row.dialect is None:
            return None
        origin, path = address
        origin = msgspec.structs.replace(origin, proxy=self._proxy_to(origin, row, where))
        plain = Provider(name=name, label=row.label or name, dialect=row.dialect, origin=origin, path=path)
        made = msgspec.structs.replace(
            plain,
            credential=key,
            spares=self._spares(row, where, key_name),
            key_header=row.key_header,
            headers=tuple(
                (header, value.replace("{frontend_url}", self._frontend_url))
                for header, value in (row.headers or {}).items()
            ),
            quirks=row.quirks or Quirks(),
            default_model=self._default_model(name, row),
            probe="/models" if row.probe is None else row.probe,
            models=row.models or (),
            families=row.families or (),
            price_list=row.price_list or "",
            allow_private=row.allow_private if row.allow_private is not None else _is_written_private(origin),
            timeouts=msgspec.structs.replace(self._timeouts, **(row.timeouts or {})),
        )
        self._is_first = False
        return made if key is not None else self._authenticated(made, row, where, reason)

    def _mistake(self, mistake: str) -> None:
        if mistake not in self._mistakes:
            self._mistakes.append(mistake)

    def _proxy_to(self, origin: Origin, row: ProviderRow, where: str) -> Proxy | None:
        """The row's own proxy, else the one for all: that would look for a private address at its own place."""
        if row.proxy is not None:
            return read_proxy(row.proxy, f"{where}.proxy", self._value, self._mistake)
        return None if _is_written_private(origin) else self._proxy

    def _spares(self, row: ProviderRow, where: str, first: str | None) -> tuple[Secret, ...]:
        """The keys after the first, where the file names several: each must be there."""
        if row.credentials is None or not _is_reference(row):
            return ()
        if row.api_key is not None:
            self._mistake(f"{where} has both api_key and credentials: give one of them.")
        others = [name for name in row.key_variables if name != first]
        values = {name: self._value(name) for name in others}
        for name, value in values.items():
            if value is None:
                self._mistake(f"{where}.credentials: set {name}, or leave it out.")
        return tuple(Secret(value) for value in values.values() if value is not None)

    def _key(self, row: ProviderRow, where: str) -> tuple[str | None, Secret | None]:
        """The first of its variables that is set, and the key in it."""
        if not _is_reference(row):
            what = "api_key" if row.credentials is None else "credentials"
            self._mistake(f"{where}.{what} must be env:NAME: secrets do not belong into the file.")
            return None, None
        for variable in row.key_variables:
            value = self._value(variable)
            if value is None:
                continue
            if all("!" <= character <= "~" for character in value):
                return variable, Secret(value)
            self._mistake(f"{variable} must hold only ASCII characters and no spaces.")
            return None, None
        return None, None

    def _reason(self, row: ProviderRow, key_name: str | None, *, has_url: bool) -> str | None:
        """The variable that switches it on."""
        if key_name is not None and row.needs_key is not False:
            return key_name
        if has_url and not row.wants_key:
            return row.base_url_variable
        return next((name for name in row.switch or () if (self._value(name) or "").lower() in _YES), None)

    def _default_model(self, name: str, row: ProviderRow) -> str | None:
        chosen = self._value(row.model_variable) if row.model_variable else None
        if chosen is not None and self._is_first:
            self.chosen_model = f"{name}/{chosen}"
        return chosen or row.default_model

    def _address(self, row: ProviderRow, url: str | None, where: str, reason: str | None) -> tuple[Origin, str] | None:
        asked = row.base_url_variable if url is not None else f"{where}.base_url"
        written = url
        if written is None and row.base_url is not None:
            filled = self._filled(row, row.base_url, where, reason)
            if filled is None:
                return None
            at = row.base_url_at or {}
            written = _fill(next((at[value] for value in filled.values() if value in at), row.base_url), filled)
        if written is None:
            is_set = row.base_url_variable is not None and reason is not None
            self._mistake(
                f"{reason} is set: set {row.base_url_variable} as well." if is_set else f"{where} has no base_url."
            )
            return None
        try:
            origin, path = split_base_url(written)
        except ValueError as error:
            self._mistake(f"{asked} {error}.")
            return None
        return origin, (row.path or "").rstrip("/") if url is not None and not path else path

    def _filled(self, row: ProviderRow, template: str, where: str, reason: str | None) -> dict[str, str] | None:
        """What fills each blank of the template; None where something is missing or wrong."""
        filled: dict[str, str] = {}
        for blank, sources in (row.fill or {}).items():
            if f"{{{blank}}}" not in template:
                continue
            given = (
                (source, self._value(source[len(ENV) :]) if source.startswith(ENV) else source) for source in sources
            )
            source, value = next(((source, value) for source, value in given if value), ("", None))
            if value is None:
                variables = _either([source[len(ENV) :] for source in sources if source.startswith(ENV)])
                needs = f"{reason} is set: set" if reason is not None else f"{where} needs its {blank}: set"
                self._mistake(f"{needs} {variables}{' as well' if reason is not None else ''}.")
            elif _FILLING.fullmatch(value) is None:
                named = source[len(ENV) :] if source.startswith(ENV) else f"{where}.fill.{blank}"
                self._mistake(f"{named} must hold only letters, digits and hyphens.")
            else:
                filled[blank] = value
                continue
            return None
        return filled

    def _authenticated(self, made: Provider, row: ProviderRow, where: str, reason: str | None) -> Provider | None:
        """The provider with its way to say who asks, where that is no key."""
        auth = row.auth or Auth.KEY
        if auth is Auth.KEY:
            return made
        module, package, extra = _LIBRARY[auth]
        if not _is_installed(module):
            subject = f"{reason} is set, but {made.label}" if reason is not None else where
            self._mistake(f"{subject} needs the package {package}: pip install 'trunkline[{extra}]'")
            return None
        scope = row.auth_scope or (CLOUD_PLATFORM if auth is Auth.GOOGLE else "")
        filled = self._filled(row, scope, where, reason)
        if filled is None:
            return None
        scope = _fill(scope, filled)
        if auth is Auth.SIGV4 and _SIGV4_SCOPE.fullmatch(scope) is None:
            self._mistake(f"{where}.auth_scope must be a region and a service, such as eu-west-1/bedrock.")
            return None
        values = ((name, self._value(name)) for name in row.auth_variables or ())
        return msgspec.structs.replace(
            made,
            auth=auth,
            auth_scope=scope,
            auth_values=tuple((name, Secret(value)) for name, value in values if value is not None),
            origin=msgspec.structs.replace(made.origin, account=made.name),
        )


def _is_reference(row: ProviderRow) -> bool:
    return all(one.startswith(ENV) for one in row.references)


def _either(names: tuple[str, ...] | list[str]) -> str:
    return " or ".join(names)


def _fill(template: str, filled: Mapping[str, str]) -> str:
    for blank, value in filled.items():
        template = template.replace(f"{{{blank}}}", value)
    return template


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _is_written_private(origin: Origin) -> bool:
    """Whether the operator wrote a loopback or private address, or localhost: then it is meant."""
    if origin.host == "localhost":
        return True
    try:
        return not ipaddress.ip_address(origin.host).is_global
    except ValueError:
        return False
