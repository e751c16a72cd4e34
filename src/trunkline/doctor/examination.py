"""All checks at once, each within its time, and what they found without any secret."""

from __future__ import annotations

import asyncio
import resource
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import msgspec

from trunkline.doctor.answers import check_local_model, check_provider, no_provider
from trunkline.doctor.finding import Finding, failed
from trunkline.doctor.place import check_descriptors, check_frontend, check_history, check_page, check_port
from trunkline.doctor.sources import check_env_file, holds_secret, read_settings
from trunkline.upstream.address import system_resolve
from trunkline.upstream.auth import authenticators
from trunkline.upstream.client import Client
from trunkline.upstream.local import is_available

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping, Sequence

    from trunkline.settings.values import Settings
    from trunkline.upstream.address import Resolve

CHECK_S: Final = 10.0
"""How long any check may take, its clean-up included."""

SHORT_SECRET: Final = 4
"""A password of fewer characters is a part of ordinary words: it is not looked for."""

PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def examine(
    environment: Mapping[str, str],
    directory: Path,
    *,
    flags: Mapping[str, str] | None = None,
    config: Path | None = None,
    resolve: Resolve = system_resolve,
) -> list[Finding]:
    """Everything that `serve` would need from these sources, checked at once: about 10 s at most, and never raising.

    The sources are those of `settings.reading.load`. Each provider gets one real call, which costs nothing.
    """
    reading = read_settings(environment, directory, flags or {}, config)
    providers = reading.settings.providers if reading.settings else ()
    has_proxy = any(environment.get(name) for name in PROXIES)
    client = Client(resolve=resolve, authenticators=authenticators(providers))
    checks: list[tuple[str, Awaitable[Finding]]] = [
        *((f"provider {one.name}", check_provider(one, client, has_proxy=has_proxy)) for one in providers),
        ("local model", check_local_model(reading)),
        ("port", check_port(reading, client)),
        ("history database", check_history(reading)),
    ]
    try:
        outcomes = await asyncio.gather(*(_within(*check) for check in checks), return_exceptions=True)
    finally:
        await client.aclose()
    findings = [
        *reading.findings,
        *check_env_file(directory, has_provider=bool(providers)),
        *([] if providers else [no_provider(reading, local_is_available=is_available())]),
        *(_told(check, outcome) for (check, _), outcome in zip(checks, outcomes, strict=True)),
        *check_frontend(reading),
        check_page(Path(str(resources.files("trunkline.web")))),
        check_descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    ]
    return conceal(findings, reading.settings)


async def _within(check: str, work: Awaitable[Finding]) -> Finding:
    try:
        async with asyncio.timeout(CHECK_S):
            return await work
    except TimeoutError:
        return failed(check, f"This check had no result within {CHECK_S:g} s.", "Try again.")


def _told(check: str, outcome: Finding | BaseException) -> Finding:
    """A check that breaks is a finding as well: it must not take the others with it."""
    if isinstance(outcome, Finding):
        return outcome
    if not isinstance(outcome, Exception):
        raise outcome
    says = f"This check itself broke ({type(outcome).__name__})."
    return failed(check, says, "That is a fault of Trunkline: please report it.")


def conceal(findings: Sequence[Finding], settings: Settings | None) -> list[Finding]:
    """The findings with every secret of the settings blotted out. None should be there: this is the second lock."""
    secrets = sorted(set(_secrets(settings)), key=len, reverse=True) if settings else []

    def blot(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return [
        msgspec.structs.replace(one, says=blot(one.says), fix=None if one.fix is None else blot(one.fix))
        for one in findings
    ]


def _secrets(settings: Settings) -> Iterator[str]:
    known = [settings.server.admin_secret]
    known += [key for provider in settings.providers for key in (provider.credential, *provider.spares)]
    known += [value for one in settings.providers for name, value in one.auth_values if holds_secret(name)]
    words = [secret.reveal() for secret in known if secret is not None]
    for proxy in (provider.origin.proxy for provider in settings.providers):
        if proxy is not None and proxy.credential is not None:
            password = proxy.credential.reveal().partition(":")[2]
            words += [proxy.credential.reveal(), password, quote(password, safe="")]
    for url in (settings.chat_database_url, settings.database_url):
        if url is not None:
            password = _password(url.reveal())
            words += [password, unquote(password)]
    return (word for word in words if len(word) >= SHORT_SECRET)


def _password(url: str) -> str:
    """Of a URL, up to its last `@`: a password that was not escaped may hold `/` and `@`. Empty where there is none."""
    return url.partition("://")[2].partition(":")[2].rpartition("@")[0]
