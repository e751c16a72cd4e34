"""Google's short-lived tokens: google-auth knows how to get one, from the machine's own credentials.

Source: https://cloud.google.com/docs/authentication/application-default-credentials (read 2026-11-25).
"""

from __future__ import annotations

import asyncio
import functools
import re
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import urlsplit

import google.auth
import google.auth.transport
import msgspec
from google.auth import exceptions

from trunkline.core.catalog import Timeouts, split_base_url
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects.dialect import WireRequest
from trunkline.upstream.short_lived import ShortLived

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline.core.catalog import Provider
    from trunkline.core.proxy import Proxy
    from trunkline.upstream.auth import Sender

FETCH_S: Final = 10.0
"""How long a request waits at most for a token, and how long one question to Google may take."""

UNKNOWN_LIFETIME_S: Final = 600.0
"""How long a token is used whose end nobody told."""

MAX_ANSWER: Final = 1024 * 1024

_NOT_AS_READ: Final = (OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
"""What google-auth ends with, beside its own errors, where a file or an answer is not what it reads."""

_REASON: Final = re.compile(r"\b(invalid_\w+|unauthorized_client|access_denied|account_disabled)\b")


class _Credentials(Protocol):
    """As much of google-auth's credentials as is used here."""

    token: str | None
    expiry: datetime | None

    def refresh(self, request: google.auth.transport.Request) -> None: ...


class _Load(Protocol):
    """How google-auth finds credentials."""

    def __call__(
        self, *, scopes: Sequence[str], request: google.auth.transport.Request
    ) -> tuple[_Credentials, str | None]: ...


class GoogleToken:
    """Gives every request of one provider a bearer token. Owns the token and the credentials it comes from.

    The credentials are those of the file that `GOOGLE_APPLICATION_CREDENTIALS` names, else the machine's own:
    gcloud's, those of a machine or container at Google.
    """

    def __init__(self, provider: Provider) -> None:
        self._label = provider.label
        self._proxy = provider.origin.proxy
        self._scope = provider.auth_scope
        given = dict(provider.auth_values).get("GOOGLE_APPLICATION_CREDENTIALS")
        self._file = None if given is None else given.reveal()
        self._credentials: _Credentials | None = None
        self._token: ShortLived[str] = ShortLived(provider.label, wait_s=FETCH_S)

    async def headers(self, request: WireRequest, sender: Sender, deadline: float) -> tuple[tuple[str, str], ...]:
        """A token as the bearer; it is fetched when it is first needed, and again before it ends."""
        del request
        token = await self._token.get(functools.partial(self._fetch, sender), deadline)
        return (("Authorization", f"Bearer {token}"),)

    async def aclose(self) -> None:
        """End the fetch of a token, if one runs."""
        await self._token.aclose()

    async def _fetch(self, sender: Sender) -> tuple[str, float]:
        transport = Transport(sender, asyncio.get_running_loop(), self._proxy)
        return await asyncio.to_thread(self._refresh, transport)

    def _refresh(self, transport: Transport) -> tuple[str, float]:
        """A new token and how long it lives, in seconds. Blocks."""
        try:
            if self._credentials is None:
                self._credentials = self._load(transport)
            self._credentials.refresh(transport)
        except exceptions.GoogleAuthError as error:
            raise self._problem(error) from error
        except _NOT_AS_READ as error:
            raise self._unreadable(error) from error
        token, expiry = self._credentials.token, self._credentials.expiry
        if not token:
            raise self._refusal("gave no token", "no token")
        lifetime = UNKNOWN_LIFETIME_S
        if expiry is not None:  # in UTC, without saying so
            lifetime = max(1.0, (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
        return token, lifetime

    def _load(self, transport: Transport) -> _Credentials:
        load = cast("_Load", google.auth.default)
        if self._file is not None:
            named = cast("Callable[..., tuple[_Credentials, str | None]]", google.auth.load_credentials_from_file)
            load = functools.partial(named, self._file)
        with warnings.catch_warnings():
            # It warns of files from strangers; this one is the operator's.
            warnings.simplefilter("ignore", DeprecationWarning)
            credentials, _ = load(scopes=[self._scope], request=transport)
        return credentials

    def _problem(self, error: exceptions.GoogleAuthError) -> Problem:
        """What kept a token from coming. Nothing that Google said is passed on but its own word for the reason."""
        detail = type(error).__name__
        unsent = error if isinstance(error, exceptions.TransportError) else error.__cause__
        if isinstance(unsent, exceptions.TransportError):
            cause = unsent.__cause__
            what = cause.message if isinstance(cause, Problem) else "Google could not be reached."
            return self._failure(Kind.UNREACHABLE, Source.NETWORK, what, detail)
        if isinstance(error, exceptions.RefreshError) and getattr(error, "retryable", False):
            return self._failure(Kind.UPSTREAM_FAILED, Source.UPSTREAM, "Google has a problem of its own.", detail)
        if isinstance(error, exceptions.DefaultCredentialsError):
            return self._refusal("are not there, or cannot be read", detail)
        reason = _REASON.search(str(error))
        return self._refusal(f"were refused by Google{f' ({reason[0]})' if reason else ''}", detail)

    def _unreadable(self, error: Exception) -> Problem:
        """Where there are credentials, it was Google's answer that could not be read."""
        detail = type(error).__name__
        if self._credentials is None:
            return self._refusal("are not there, or cannot be read", detail)
        return self._failure(Kind.UPSTREAM_INVALID, Source.UPSTREAM, "Google's answer cannot be read.", detail)

    def _failure(self, kind: Kind, source: Source, what: str, detail: str) -> Problem:
        message = f"There is no token for {self._label}: {what}"
        return Problem(kind, message, source=source, retry=Retry.ELSEWHERE, detail=detail)

    def _refusal(self, what: str, detail: str) -> Problem:
        return Problem(
            Kind.KEY_REFUSED,
            f"The router's Google credentials for {self._label} {what}. Where the router runs, set "
            "GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth application-default login`.",
            source=Source.ROUTER,
            retry=Retry.ELSEWHERE,
            detail=detail,
        )


class Answer(google.auth.transport.Response):
    """An answer, as google-auth wants it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._status, self._headers, self._data = status, headers, data

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in lower case."""
        return self._headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._data


class Transport(google.auth.transport.Request):
    """google-auth's requests over the router's own client. It is called in a thread, and waits for the loop there.

    The addresses are google-auth's and those of the operator's credentials, never of a request; the machine's own
    metadata server is a private one. `proxy` leads to what is asked over https; the rest is this machine's or a
    neighbour's.
    """

    def __init__(self, sender: Sender, loop: asyncio.AbstractEventLoop, proxy: Proxy | None = None) -> None:
        self._sender = sender
        self._loop = loop
        self._proxy = proxy

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Answer:
        """Make the request. Raises TransportError where no answer comes within `timeout` s, or 10 s."""
        del kwargs
        limit_s = min(timeout or FETCH_S, FETCH_S)
        asked = self._ask(url, method, body or b"", headers or {}, limit_s)
        try:
            return asyncio.run_coroutine_threadsafe(asked, self._loop).result(limit_s + 1.0)
        except (Problem, TimeoutError, ValueError) as error:
            raise exceptions.TransportError(f"no answer from {urlsplit(url).hostname}") from error

    async def _ask(self, url: str, method: str, body: bytes, headers: Mapping[str, str], limit_s: float) -> Answer:
        bare, _, query = url.partition("?")
        origin, path = split_base_url(bare)
        if origin.scheme == "https":
            origin = msgspec.structs.replace(origin, proxy=self._proxy)
        request = WireRequest(
            method=method,
            origin=origin,
            path=f"{path or '/'}?{query}" if query else path or "/",
            headers=tuple(headers.items()),
            body=body,
            allow_private=True,
        )
        deadline = self._loop.time() + limit_s
        stream = await self._sender.send(request, timeouts=Timeouts(), deadline=deadline)
        try:
            return Answer(stream.status, stream.headers, await stream.read_all(deadline, MAX_ANSWER))
        finally:
            stream.close()
