"""What can be asked, and where: providers, models, targets. Immutable, swapped whole on reload."""

from __future__ import annotations

import difflib
import re
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from trunkline.core.call import Need
from trunkline.core.caller import Secret
from trunkline.core.difficulty import Scale
from trunkline.core.price import Price
from trunkline.core.price_list import PriceList
from trunkline.core.problem import Kind, invalid
from trunkline.core.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every timer of one attempt, in seconds.

    `idle_bytes_s` and `idle_content_s` are the longest silence within a stream: of anything at all, and of
    content (a keep-alive resets only the first). `total_s` covers a streaming request from its arrival, `whole_s`
    one that does not stream.
    """

    connect_s: float = 5.0
    pool_wait_s: float = 2.0
    first_token_s: float = 60.0
    idle_bytes_s: float = 60.0
    idle_content_s: float = 300.0
    total_s: float = 3600.0
    whole_s: float = 600.0


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a provider differs from its dialect: data, so that no code compares a provider's name.

    `serves_any_model`: it aggregates; whatever slug it is asked for, it may serve. `stream_usage`: usage comes in
    a stream only if `stream_options` asks. `takes_temperature`: False where the parameter is refused.
    `max_tokens_key`: what it calls the limit of an answer.

    Of chat completions alone: `reasoning_key` is how it is asked to reason: `reasoning_effort` (a word), `reasoning`
    (OpenRouter's object), or empty where it cannot be asked. `reasoning_echo_key`: under which key of a message it
    takes earlier reasoning back; empty where it does not. `takes_cache_control`, `takes_top_k`: whether it knows
    these. `keeps_answers`: it stores them unless told `store: false`. `accepts_provider_object`: it knows
    OpenRouter's own fields. `prefill`: it goes on from a last message of the assistant's. `seed_key`: what it calls the
    seed. `refuses`: fields that it takes for a mistake.

    Of Gemini alone: `counts_bare`: a count of tokens is asked for with a request's fields, not with a whole request.
    """

    serves_any_model: bool = False
    max_tokens_key: str = "max_tokens"
    stream_usage: bool = True
    takes_temperature: bool = True
    reasoning_key: str = "reasoning_effort"
    reasoning_echo_key: str = ""
    takes_cache_control: bool = False
    takes_top_k: bool = False
    keeps_answers: bool = False
    accepts_provider_object: bool = False
    prefill: bool = False
    seed_key: str = "seed"
    refuses: tuple[str, ...] = ()
    counts_bare: bool = False


class Auth(StrEnum):
    """How a provider is told who asks."""

    KEY = "key"
    """By the row's key, in its dialect's own header or as the row says; by nothing, where it has none."""
    SIGV4 = "sigv4"
    """By a signature over the whole request: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html."""
    GOOGLE = "google"
    """By a short-lived token that Google gives: https://cloud.google.com/docs/authentication/application-default-credentials."""


class Origin(msgspec.Struct, frozen=True):
    """Where a connection goes, and as whom. `host` is without brackets.

    `account` is the name of the provider whose `Auth` has to be applied to what goes there; empty where a request
    carries all that it needs. Connections of two accounts are never shared. `proxy` is what leads there; None where
    the connection is made to the origin itself.
    """

    scheme: str
    host: str
    port: int
    account: str = ""
    proxy: Proxy | None = None

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT[self.scheme] else f"{host}:{self.port}"

    @property
    def described(self) -> str:
        """How messages name it: the authority, and the proxy on the way there."""
        return self.authority if self.proxy is None else f"{self.authority} (through the proxy {self.proxy.name})"


_DEFAULT_PORT = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[a-z0-9._:%-]+")


def split_base_url(url: str) -> tuple[Origin, str]:
    """An absolute http(s) URL -> (origin, path without a trailing slash). Raises ValueError, saying what is wrong."""
    if _PRINTABLE.fullmatch(url) is None:
        raise ValueError("must hold only ASCII characters and no spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or a port that is not one") from None
    if parts.scheme not in _DEFAULT_PORT:
        raise ValueError("must start with http:// or https://")
    if not parts.hostname:
        raise ValueError("has no host")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; give the key in its own variable")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    if _HOST.fullmatch(parts.hostname) is None or port == 0:
        raise ValueError("has a host or a port that is not one")
    return Origin(parts.scheme, parts.hostname, port or _DEFAULT_PORT[parts.scheme]), parts.path.rstrip("/")


class ThinkingForm(StrEnum):
    """How a model is asked to think."""

    BUDGET = "budget"
    """By a limit in tokens; a word would be refused."""
    EFFORT = "effort"
    """By a word, or left to the model; a limit in tokens would be refused."""
    NEVER = "never"
    """It does not think: whoever asks it to is refused."""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a model. None means unknown; tokens.

    `offers` are the needs that it can meet; what it is known not to offer is not asked of it. `always_thinks`: its
    thinking cannot be switched off. `takes_temperature`: None where it is as its provider's quirk says.
    """

    id: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    price: Price | None = None
    offers: frozenset[Need] | None = None
    thinking: ThinkingForm | None = None
    always_thinks: bool = False
    takes_temperature: bool | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A row: an address, a dialect, a way to authenticate, quirks.

    `label` is its name for people. `credential` is None where none is needed. `headers` go out with every request.
    `allow_private` permits a private or loopback address for exactly this origin: the operator wrote it so.
    `spares` are further credentials, among which requests are spread; `variants` gives each an `account` of its own.
    `key_header` is the header that carries the credential bare, where that is not the dialect's own way. `probe` is a
    path under `path` that costs nothing and answers 401 to a wrong key; empty where there is none.

    `auth_scope` is what a signature or a token is for: `region/service` of AWS, or an OAuth scope. `auth_values` are
    the operator's own variables for it, by name. `families` are rows for all models whose names begin so.
    `price_list` is the name of the list that has its prices; empty where there is none.
    """

    name: str
    label: str
    dialect: str
    origin: Origin
    path: str
    credential: Secret | None = None
    spares: tuple[Secret, ...] = ()
    account: str = ""
    key_header: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    quirks: Quirks = Quirks()
    default_model: str | None = None
    probe: str = "/models"
    auth: Auth = Auth.KEY
    auth_scope: str = ""
    auth_values: tuple[tuple[str, Secret], ...] = ()
    models: tuple[Model, ...] = ()
    families: tuple[Model, ...] = ()
    price_list: str = ""
    allow_private: bool = False
    timeouts: Timeouts = Timeouts()

    def variants(self) -> tuple[Provider, ...]:
        """The provider as each of its credentials knows it: each has an `account` of its own, where it has several."""
        if not self.spares:
            return (self,)
        credentials = (self.credential, *self.spares)
        return tuple(
            msgspec.structs.replace(self, credential=credential, spares=(), account=str(number))
            for number, credential in enumerate(credentials, 1)
        )

    def full_name(self, model_id: str) -> str:
        """How people write it: `provider/model`; OpenRouter's own slugs begin with its name already."""
        return model_id if model_id.startswith(f"{self.name}/") else f"{self.name}/{model_id}"

    def model(self, model_id: str) -> Model:
        """What is known of this model: its own row, else that of its nearest family, else a bare one."""
        for model in self.models:
            if model.id == model_id:
                return model
        family = max((row for row in self.families if model_id.startswith(row.id)), key=_length, default=None)
        return Model(id=model_id) if family is None else msgspec.structs.replace(family, id=model_id)

    def lists(self, model_id: str) -> bool:
        """Whether its row names this model."""
        return model_id == self.default_model or any(model.id == model_id for model in self.models)


def _length(model: Model) -> int:
    return len(model.id)


class Target(msgspec.Struct, frozen=True):
    """One model at one provider: where an attempt goes."""

    provider: Provider
    model: Model

    @property
    def takes_temperature(self) -> bool:
        """Whether it takes another temperature than its own."""
        known = self.model.takes_temperature
        return self.provider.quirks.takes_temperature if known is None else known

    @property
    def name(self) -> str:
        """How people write it: `provider/model`."""
        return self.provider.full_name(self.model.id)


class Policy(StrEnum):
    """How targets are put in order. Several compose: each decides among those that the one before holds for equal."""

    PRIORITY = "priority"
    """As they are written."""
    WEIGHTED = "weighted"
    """By chance, each in proportion to its weight."""
    FASTEST = "fastest"
    """By how soon an answer of usual length is there: first token and pace, as seen lately."""
    CHEAPEST = "cheapest"
    """By what this request is likely to cost."""
    LEAST_BUSY = "least_busy"
    """By the requests that are under way there."""
    STICKY = "sticky"
    """The same target for the same conversation, so that a provider's prompt cache keeps hitting."""
    AUTO = "auto"
    """The cheapest that is good enough for how difficult the request is."""


class Resume(StrEnum):
    """How an answer that breaks off in the middle of its text goes on at another target."""

    PREFILL = "prefill"
    """By giving it the text so far as the beginning of its own: only targets that are known to go on from that."""
    INSTRUCT = "instruct"
    """By asking it in words to go on; any target can be asked so, and some repeat themselves."""


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a route, and when it may be used.

    `weight` is its part among the weighted. `needs`: only for requests that need one of these. `max_price_nano`: only
    while a million tokens of output cost no more. `region` and `caller` are tags that a request or its key must carry.
    `canary`, from 0 to 1, is the share of conversations that try it first; the others never see it first. `tier` says
    how much it can do, for `auto`: 0 for the least.
    """

    target: Target
    weight: float = 1.0
    needs: frozenset[Need] = frozenset()
    max_price_nano: int | None = None
    region: str | None = None
    caller: str | None = None
    canary: float | None = None
    tier: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A name of the configuration, its legs in the order in which they are written, and how to choose."""

    name: str
    legs: tuple[Leg, ...]
    policy: tuple[Policy, ...] = (Policy.PRIORITY,)
    hedge: bool = False
    resume: Resume | None = None
    only: Target | None = None
    """The target of a route that is nothing but a model's name: there is no condition, and no other credential."""


MAX_KNOWN = 1_000
"""An aggregator serves any name that a client makes up: no more of them are remembered than this."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """All providers that are on and the routes over them, in the order of the configuration.

    `default_model` is what a request without a name gets. `prices` are the operator's own, by `provider/model`; they
    come before those of the vendors' `price_lists`. `scale` is what `auto` measures requests by.
    """

    providers: tuple[Provider, ...]
    routes: tuple[Route, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    default_model: str | None = None
    prices: dict[str, Price] = {}
    price_lists: dict[str, PriceList] = {}
    scale: Scale = Scale()
    _known: dict[str, Route] = {}
    """What names were found to mean: the same every time, as long as the catalogue is this one."""

    def price_of(self, provider: Provider, model_id: str) -> Price | None:
        """What this model costs there; None where nobody knows."""
        own = self.prices.get(provider.full_name(model_id)) if self.prices else None
        if own is not None:
            return own
        price_list = self.price_lists.get(provider.price_list)
        return price_list.price_of(model_id) if price_list is not None else None

    def priced(self) -> Catalog:
        """The catalogue with a price on each model that is listed, so that it need not be looked for again."""
        if not self.prices and not self.price_lists:
            return self
        return msgspec.structs.replace(
            self,
            _known={},
            providers=tuple(
                msgspec.structs.replace(
                    provider,
                    models=tuple(
                        msgspec.structs.replace(model, price=self.price_of(provider, model.id) or model.price)
                        for model in provider.models
                    ),
                )
                for provider in self.providers
            ),
        )

    def _target(self, provider: Provider, model_id: str) -> Target:
        model = provider.model(model_id)
        if model.price is None and (price := self.price_of(provider, model_id)) is not None:
            model = msgspec.structs.replace(model, price=price)
        return Target(provider, model)

    def route(self, name: str | None) -> Route:
        """The targets that a model's name means, and how to choose among them; a single target is a route of one leg.

        A route of the configuration comes first, then what `resolve` finds. Raises Problem NOT_FOUND as that does.
        """
        name = self.default_name() if name is None else name
        found = self._known.get(name)
        if found is None:
            found = self._found(name)
            if len(self._known) < MAX_KNOWN:
                self._known[name] = found
        return found

    def _found(self, name: str) -> Route:
        known = dict(self.aliases).get(name, name)
        for route in self.routes:
            if route.name == known:
                return route
        target = self.resolve(name)
        return Route(name=target.name, legs=(Leg(target=target),), only=None if target.provider.spares else target)

    def resolve(self, name: str | None) -> Target:
        """The target that a model's name means; None means the default.

        First hit wins: an alias; `provider/model` when that provider is on; a slug that an aggregator serves; a
        bare name that a provider lists. Raises Problem NOT_FOUND with the nearest names.
        """
        if name is None:
            name = self.default_name()
        if self.aliases:
            name = dict(self.aliases).get(name, name)
        head, slash, rest = name.partition("/")
        if slash and rest:
            for provider in self.providers:
                if provider.name == head:
                    # OpenRouter's own slugs begin with its name: `openrouter/auto` is whole as it stands.
                    return self._target(provider, name if provider.lists(name) else rest)
            for provider in self.providers:
                if provider.quirks.serves_any_model:
                    return self._target(provider, name)
        for provider in self.providers:
            if provider.lists(name):
                return self._target(provider, name)
        nearest = difflib.get_close_matches(name, sorted(self.names()), n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(repr(near) for near in nearest)}?" if nearest else ""
        raise invalid(f"No provider here serves the model {name[:200]!r}.{hint}", param="model", kind=Kind.NOT_FOUND)

    def default_name(self) -> str:
        """The model of a request that names none."""
        if self.default_model:
            return self.default_model
        for provider in self.providers:
            if provider.default_model:
                return provider.full_name(provider.default_model)
        raise invalid("Name a `model`: none is configured as the default.", param="model")

    def names(self) -> Iterable[str]:
        """Every name that is known to resolve."""
        for route in self.routes:
            yield route.name
        for alias, _ in self.aliases:
            yield alias
        for provider in self.providers:
            if provider.default_model:
                yield provider.full_name(provider.default_model)
            for model in provider.models:
                yield provider.full_name(model.id)
                yield model.id
