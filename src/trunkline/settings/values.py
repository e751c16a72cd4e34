"""The settings as frozen values, what a Catalog is compiled from, and their way to a worker process."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final

import msgspec

from trunkline.core.call import Need
from trunkline.core.caller import Secret
from trunkline.core.catalog import LOOPBACK_NAMES, Auth, Catalog, Model, Origin, Provider, Quirks, Timeouts
from trunkline.core.difficulty import Scale
from trunkline.core.price import Price
from trunkline.core.price_list import PriceList
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.settings.routes import LOCAL, RouteRow, compile_routes


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the router listens, and the bounds of one request.

    `max_in_flight` is how many requests each worker answers at once; None: as many as its file descriptors carry.
    `idempotency_hours` is for how long the answer to an `Idempotency-Key` is kept; 0: no such keys are taken.
    `proxy` leads to the providers whose rows do not say otherwise: an address, or `env:NAME`; None: no proxy.
    """

    host: str = "localhost"
    port: int = 3001
    workers: int = 1
    frontend_urls: tuple[str, ...] = ("http://localhost:5173",)
    allowed_hosts: tuple[str, ...] = ()
    admin_secret: Secret | None = None
    open: bool = False
    log_level: str = "info"
    log_format: str = "auto"
    drain_s: float = 30.0
    early_headers_s: float = 10.0
    keep_alive_s: float = 15.0
    body_read_s: float = 30.0
    max_body_bytes: int = 32 * 1024 * 1024
    body_budget_bytes: int = 512 * 1024 * 1024
    max_event_bytes: int = 16 * 1024 * 1024
    max_in_flight: Annotated[int, msgspec.Meta(ge=1)] | None = None
    idempotency_hours: Annotated[float, msgspec.Meta(ge=0, le=8760)] = 24.0
    proxy: str | None = None
    data_dir: str = ""
    cache_dir: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the router."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider as it is written in a preset or in `[providers.NAME]`. None: not said here.

    `keys` are the usual names of its key's variable: the first one that is set counts. `needs_key` False: it has no
    key, or need not. `switch` are variables that say 1 to have it on with what the machine is signed in with.
    `path` is added to an address that `base_url_variable` gives without one. `fill` names what fills the blanks of
    `base_url` and `auth_scope`: `env:NAME` or a plain value, the first that is there; `base_url_at` has another
    address where a blank has that value. `auth_variables` are those that its way to authenticate reads. `price_list` is
    the vendor's name in genai-prices. `proxy` is an address, `env:NAME`, or `direct` where the server's is not wanted.
    `retired` is the day on which its vendor ended the service.
    """

    preset: str | None = None
    label: str | None = None
    dialect: str | None = None
    base_url: str | None = None
    base_url_variable: str | None = None
    base_url_at: dict[str, str] | None = None
    fill: dict[str, tuple[str, ...]] | None = None
    path: str | None = None
    keys: tuple[str, ...] | None = None
    needs_key: bool | None = None
    switch: tuple[str, ...] | None = None
    api_key: str | None = None
    credentials: tuple[str, ...] | None = None
    default_model: str | None = None
    model_variable: str | None = None
    key_header: str | None = None
    auth: Auth | None = None
    auth_scope: str | None = None
    auth_variables: tuple[str, ...] | None = None
    probe: str | None = None
    headers: dict[str, str] | None = None
    quirks: Quirks | None = None
    models: tuple[Model, ...] | None = None
    families: tuple[Model, ...] | None = None
    price_list: str | None = None
    timeouts: dict[str, float] | None = None
    allow_private: bool | None = None
    proxy: str | None = None
    source: str | None = None
    retired: str | None = None

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Where its key may be, in the order in which they count."""
        return tuple(one.removeprefix(ENV) for one in self.references) or self.keys or ()

    @property
    def references(self) -> tuple[str, ...]:
        """Where the file says that its key is, or its keys are."""
        return self.credentials or (() if self.api_key is None else (self.api_key,))

    @property
    def wants_key(self) -> bool:
        """Whether it is of no use without a key of its own."""
        has_other_way = self.auth is not None and self.auth is not Auth.KEY
        return bool(self.key_variables) and self.needs_key is not False and not has_other_way

    @property
    def switches(self) -> tuple[str, ...]:
        """The variables any of which has it on: its keys, an address that needs none, or what says 1."""
        keys = self.key_variables if self.needs_key is not False else ()
        address = (self.base_url_variable,) if self.base_url_variable and not self.wants_key else ()
        return (*keys, *(self.switch or ()), *address)

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that this row reads, those that switch it on first."""
        blanks = tuple(
            source.removeprefix(ENV)
            for sources in (self.fill or {}).values()
            for source in sources
            if source.startswith(ENV)
        )
        addresses = tuple(name for name in (self.base_url_variable, self.model_variable) if name)
        named = (*self.key_variables, *(self.switch or ()), *addresses, *blanks, *(self.auth_variables or ()))
        return tuple(dict.fromkeys(named))


ENV: Final = "env:"
"""How a row says that a value is in the environment."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the operator decided. `warnings` are for the log at start.

    `prices` are the operator's own, by `provider/model`; `price_lists` those of the vendors, by name.
    """

    server: Server = Server()
    timeouts: Timeouts = Timeouts()
    retries: RetryLimits = RetryLimits()
    breaker: BreakerLimits = BreakerLimits()
    health: HealthLimits = HealthLimits()
    auto: Scale = Scale()
    providers: tuple[Provider, ...] = ()
    routes: dict[str, RouteRow] = {}
    aliases: tuple[tuple[str, str], ...] = ()
    prices: dict[str, Price] = {}
    price_lists: dict[str, PriceList] = {}
    default_model: str | None = None
    chat_database_url: Secret | None = None
    database_url: Secret | None = None
    warnings: tuple[str, ...] = ()


def local_provider(port: int, model_id: str, context_tokens: int) -> Provider:
    """The row of the model that runs on this machine: one of text, whose server runs without embeddings."""
    return Provider(
        name=LOCAL,
        label="The local model",
        dialect="openai_chat",
        origin=Origin("http", "127.0.0.1", port),
        path="/v1",
        default_model=model_id,
        models=(
            Model(
                id=model_id,
                context_tokens=context_tokens,
                max_output_tokens=context_tokens,
                price=Price(input_nano=0, output_nano=0),
                offers=frozenset({Need.TOOLS, Need.SCHEMA}),
            ),
        ),
        quirks=Quirks(prefill=True),
        allow_private=True,
        timeouts=Timeouts(first_token_s=300.0),
    )


def with_local(settings: Settings, provider: Provider, *, as_default: bool) -> Settings:
    """The settings with the local model among the providers; last, or the default for requests that name none."""
    return msgspec.structs.replace(
        settings,
        providers=(*settings.providers, provider),
        default_model=f"{provider.name}/{provider.default_model}" if as_default else settings.default_model,
    )


def compile_catalog(settings: Settings) -> Catalog:
    """The catalogue that these settings describe."""
    plain = Catalog(
        providers=settings.providers,
        aliases=settings.aliases,
        default_model=settings.default_model,
        prices=settings.prices,
        price_lists=settings.price_lists,
        scale=settings.auto,
    ).priced()
    return msgspec.structs.replace(plain, routes=compile_routes(settings.routes, plain))


def to_bytes(settings: Settings) -> bytes:
    """The settings for a worker process, secrets included: for a private pipe and nothing else."""
    return msgspec.json.encode(settings, enc_hook=_reveal)


def from_bytes(data: bytes) -> Settings:
    """What `to_bytes` wrote."""
    return msgspec.json.decode(data, type=Settings, dec_hook=_conceal)


def _reveal(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(type(value).__name__)


def _conceal(kind: type, value: Any) -> Secret:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(kind.__name__)
