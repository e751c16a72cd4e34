"""Amazon's signature, version 4: botocore makes it, with the credentials that AWS's own tools would use.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html (read 2026-11-25).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Final, Protocol, cast

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.upstream.short_lived import ShortLived

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.core.catalog import Provider
    from trunkline.dialects.dialect import WireRequest
    from trunkline.upstream.auth import Sender

FETCH_S: Final = 10.0
"""How long a request waits at most for credentials."""

REREAD_S: Final = 120.0
"""How long credentials are used before botocore, which knows when they expire, is asked for them again."""

LARGE_BODY: Final = 256 * 1024
"""From this size on a body is hashed in a thread, in bytes: the loop has other streams to serve."""

_UNFETCHED: Final = (BotoCoreError, ClientError, OSError, ValueError, TypeError, AttributeError, LookupError)
"""What botocore's look-up ends with; the last five where a file, a program or a token's place is not what it reads."""

_ADDED: Final = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")


class _Frozen(Protocol):
    """Credentials as they were at one moment."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class _Source(Protocol):
    """Credentials that may refresh themselves, as botocore has them."""

    def get_frozen_credentials(self) -> _Frozen: ...


class _Session(Protocol):
    """As much of a session of botocore as is used here."""

    def get_credentials(self) -> _Source | None: ...
    def set_config_variable(self, logical_name: str, value: object) -> None: ...
    def set_default_client_config(self, client_config: object) -> None: ...


class _Headers(Protocol):
    def add_header(self, name: str, value: str) -> None: ...
    def items(self) -> list[tuple[str, str]]: ...


class _Signer(Protocol):
    def add_auth(self, request: AWSRequest) -> None: ...


class SigV4:
    """Signs every request of one provider. Owns the credentials.

    Keys that the operator gave (`AWS_ACCESS_KEY_ID` and its two companions) come first; then botocore's own
    chain: profiles, single sign-on, web identity, the roles of containers and machines.
    """

    def __init__(self, provider: Provider) -> None:
        # What it would log at the level of debugging holds the session's token.
        logging.getLogger("botocore").setLevel(logging.INFO)
        self._label = provider.label
        self._region, _, self._service = provider.auth_scope.partition("/")
        given = {name: secret.reveal() for name, secret in provider.auth_values}
        self._given = _given_keys(given)
        self._session = cast("_Session", Session(profile=given.get("AWS_PROFILE")))
        self._session.set_config_variable("metadata_service_timeout", 2)
        proxy = provider.origin.proxy
        proxies = {} if proxy is None else {"https": proxy.url}  # None would have it look in the environment.
        self._session.set_default_client_config(
            Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1}, proxies=proxies)
        )
        self._lent: ShortLived[_Frozen] = ShortLived(provider.label, wait_s=FETCH_S)

    async def headers(self, request: WireRequest, sender: Sender, deadline: float) -> tuple[tuple[str, str], ...]:
        """The signature over method, host, path, headers and body, with its date, and the session's token."""
        del sender  # botocore has its own ways to ask
        credentials = self._given or await self._lent.get(self._fetch, deadline)
        sign = functools.partial(signed, request, credentials, self._region, self._service)
        return sign() if len(request.body) < LARGE_BODY else await asyncio.to_thread(sign)

    async def aclose(self) -> None:
        """End the look-up of credentials, if one runs."""
        await self._lent.aclose()

    async def _fetch(self) -> tuple[_Frozen, float]:
        return await asyncio.to_thread(self._look_up), REREAD_S

    def _look_up(self) -> _Frozen:
        try:
            found = self._session.get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except _UNFETCHED as error:
            raise self._refusal("could not be fetched", type(error).__name__) from error
        if frozen is None:
            raise self._refusal("are not there", "NoCredentials")
        return frozen

    def _refusal(self, what: str, detail: str) -> Problem:
        return Problem(
            Kind.KEY_REFUSED,
            f"The router's AWS credentials for {self._label} {what}. Where the router runs, set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role.",
            source=Source.ROUTER,
            retry=Retry.ELSEWHERE,
            detail=detail,
        )


def signed(request: WireRequest, credentials: _Frozen, region: str, service: str) -> tuple[tuple[str, str], ...]:
    """The headers that sign this request, all of its own headers included."""
    url = f"{request.origin.scheme}://{request.origin.authority}{request.path}"
    written = AWSRequest(method=request.method, url=url, data=request.body)
    headers = cast("_Headers", written.headers)
    for name, value in request.headers:
        headers.add_header(name, value)
    headers.add_header("Host", request.origin.authority)
    cast("_Signer", SigV4Auth(credentials, service, region)).add_auth(written)
    values = dict(headers.items())
    return tuple((name, values[name]) for name in _ADDED if name in values)


def _given_keys(given: Mapping[str, str]) -> _Frozen | None:
    key_id, secret = given.get("AWS_ACCESS_KEY_ID"), given.get("AWS_SECRET_ACCESS_KEY")
    if key_id is None or secret is None:
        return None
    return cast("_Source", Credentials(key_id, secret, given.get("AWS_SESSION_TOKEN"))).get_frozen_credentials()
