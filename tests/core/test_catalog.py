"""A model's name means one target, and an address is exactly one address."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core.catalog import (
    Catalog,
    Model,
    Origin,
    Provider,
    Quirks,
    Target,
    ThinkingForm,
    split_base_url,
)
from trunkline.core.problem import Kind, Problem, Source


def provider(name: str, *models: str, **more: Any) -> Provider:
    return Provider(
        name=name,
        label=name.title(),
        dialect="openai_chat",
        origin=Origin("https", f"{name}.test", 443),
        path="/v1",
        models=tuple(Model(id=model) for model in models),
        **more,
    )


OPENROUTER = provider("openrouter", default_model="openrouter/auto", quirks=Quirks(serves_any_model=True))
OPENAI = provider("openai", "gpt-4o", "gpt-4o-mini", default_model="gpt-4o-mini")
MIRROR = provider("mirror", "gpt-4o", "org/tuned", default_model="llama")


def catalog(*providers: Provider, **more: Any) -> Catalog:
    return Catalog(providers=providers, **more)


def resolved(where: Catalog, name: str | None) -> tuple[str, str]:
    target = where.resolve(name)
    assert target.name.startswith(f"{target.provider.name}/")
    assert target.name.endswith(target.model.id)
    return target.provider.name, target.model.id


def refusal(where: Catalog, name: str | None) -> Problem:
    with pytest.raises(Problem) as caught:
        where.resolve(name)
    assert (caught.value.param, caught.value.source) == ("model", Source.CALLER)
    return caught.value


@pytest.mark.parametrize(
    ("name", "target"),
    [
        # An alias of the configuration, before anything else.
        ("fast", ("openai", "gpt-4o-mini")),
        ("gpt-4o", ("mirror", "gpt-4o")),
        # `provider/model`, when that provider is on.
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai/not-listed-anywhere", ("openai", "not-listed-anywhere")),
        ("mirror/org/tuned", ("mirror", "org/tuned")),
        ("openrouter/anthropic/claude", ("openrouter", "anthropic/claude")),
        ("openrouter/openrouter/auto", ("openrouter", "openrouter/auto")),
        # An aggregator's own slugs begin with its name.
        ("openrouter/auto", ("openrouter", "openrouter/auto")),
        # A slug that an aggregator serves, also with a colon.
        ("anthropic/claude:thinking", ("openrouter", "anthropic/claude:thinking")),
        ("org/tuned", ("openrouter", "org/tuned")),
        # A bare name that a provider lists.
        ("gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("llama", ("mirror", "llama")),
    ],
)
def test_the_first_rule_that_fits_decides(name: str, target: tuple[str, str]) -> None:
    aliases = (("fast", "openai/gpt-4o-mini"), ("gpt-4o", "mirror/gpt-4o"))
    assert resolved(catalog(OPENROUTER, OPENAI, MIRROR, aliases=aliases), name) == target


def test_a_bare_name_that_several_providers_serve_goes_by_their_order() -> None:
    assert resolved(catalog(OPENAI, MIRROR), "gpt-4o") == ("openai", "gpt-4o")
    assert resolved(catalog(MIRROR, OPENAI), "gpt-4o") == ("mirror", "gpt-4o")


def test_a_slug_goes_to_its_own_provider_once_that_is_on() -> None:
    assert resolved(catalog(OPENROUTER), "openai/gpt-4o") == ("openrouter", "openai/gpt-4o")
    assert resolved(catalog(OPENROUTER, OPENAI), "openai/gpt-4o") == ("openai", "gpt-4o")


def test_a_listed_name_with_a_slash_is_found_without_an_aggregator() -> None:
    assert resolved(catalog(OPENAI, MIRROR), "org/tuned") == ("mirror", "org/tuned")


@pytest.mark.parametrize(
    ("default", "target"),
    [(None, ("openrouter", "openrouter/auto")), ("fast", ("mirror", "llama")), ("gpt-4o", ("openai", "gpt-4o"))],
)
def test_a_request_without_a_name_gets_the_default(default: str | None, target: tuple[str, str]) -> None:
    where = catalog(OPENROUTER, OPENAI, MIRROR, default_model=default, aliases=(("fast", "mirror/llama"),))
    assert resolved(where, None) == target


def test_the_default_is_the_first_providers_that_has_one() -> None:
    assert resolved(catalog(provider("plain", "m"), OPENAI), None) == ("openai", "gpt-4o-mini")


def test_without_any_default_a_name_is_asked_for() -> None:
    problem = refusal(catalog(provider("plain", "m")), None)
    assert problem.kind is Kind.INVALID_REQUEST
    assert "`model`" in problem.message


def test_a_name_that_nobody_serves_gets_the_nearest_names() -> None:
    problem = refusal(catalog(OPENAI, MIRROR), "gpt-4o-mni")
    assert problem.kind is Kind.NOT_FOUND
    assert problem.status == 404
    assert problem.message.startswith("No provider here serves the model 'gpt-4o-mni'. Did you mean 'gpt-4o-mini' or")


@pytest.mark.parametrize("name", ["", "/", "unknown", "openai/", "nobody/gpt-4o", "zzzzzzzzzzzz"])
def test_other_names_are_not_found(name: str) -> None:
    assert refusal(catalog(OPENAI), name).kind is Kind.NOT_FOUND


def test_a_long_name_is_cut_where_it_is_told() -> None:
    assert len(refusal(catalog(OPENAI), "m" * 100_000).message) < 300


@given(name=st.text(max_size=30), default=st.none() | st.text(max_size=10))
@settings(deadline=None)
def test_any_name_means_a_target_or_is_a_problem(name: str, default: str | None) -> None:
    where = catalog(OPENROUTER, OPENAI, default_model=default)
    for asked in (name, f"openai/{name}", None):
        try:
            target = where.resolve(asked)
        except Problem as problem:
            assert problem.kind is Kind.NOT_FOUND  # noqa: PT017 - either outcome is right; neither is another one
        else:
            assert target.provider in where.providers


def test_every_name_that_is_told_resolves() -> None:
    where = catalog(OPENROUTER, OPENAI, MIRROR, aliases=(("fast", "mirror/llama"),))
    names = list(where.names())
    assert "fast" in names
    for name in names:
        where.resolve(name)


def test_what_is_known_of_a_model_comes_along() -> None:
    known = Model(id="gpt-4o", context_tokens=128_000, max_output_tokens=16_384)
    where = catalog(msgspec.structs.replace(OPENAI, models=(known,)))
    assert where.resolve("openai/gpt-4o").model == known
    assert where.resolve("openai/other").model == Model(id="other")


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://openrouter.ai/api/v1", Origin("https", "openrouter.ai", 443), "/api/v1"),
        ("https://openrouter.ai/api/v1/", Origin("https", "openrouter.ai", 443), "/api/v1"),
        ("http://127.0.0.1:8080", Origin("http", "127.0.0.1", 8080), ""),
        ("HTTP://LocalHost:80/V1", Origin("http", "localhost", 80), "/V1"),
        ("http://[::1]:11434/v1", Origin("http", "::1", 11434), "/v1"),
        ("https://my_host:8443", Origin("https", "my_host", 8443), ""),
    ],
)
def test_a_base_url_is_an_origin_and_a_path(url: str, origin: Origin, path: str) -> None:
    assert split_base_url(url) == (origin, path)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("", "ASCII"),
        ("openrouter.ai/api/v1", "must start with http:// or https://"),
        ("ftp://openrouter.ai", "must start with http:// or https://"),
        ("file:///etc/passwd", "must start with http:// or https://"),
        ("https://", "has no host"),
        ("https:///v1", "has no host"),
        ("https://key@openrouter.ai", "must not hold a user name or password"),
        ("https://user:pass@openrouter.ai", "must not hold a user name or password"),
        ("https://@openrouter.ai", "must not hold a user name or password"),
        ("https://openrouter.ai/v1?key=1", "must not have a query or a fragment"),
        ("https://openrouter.ai/v1#x", "must not have a query or a fragment"),
        ("https://openrouter.ai:0", "has a host or a port that is not one"),
        ("https://openrouter.ai:65536", "has a host or a port that is not one"),
        ("https://openrouter.ai:80a", "has a host or a port that is not one"),
        ("https://[::1", "has a host or a port that is not one"),
        ("https://a\\b", "has a host or a port that is not one"),
        ("https://open router.ai", "must hold only ASCII characters and no spaces"),
        ("https://openrouter.ai/v1\r\nx-evil: 1", "must hold only ASCII characters and no spaces"),
        ("https://öpenrouter.ai", "must hold only ASCII characters and no spaces"),
    ],
)
def test_what_is_no_base_url_is_refused_with_what_is_wrong(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        split_base_url(url)


@given(url=st.text(max_size=30) | st.text("http:/[]@?#.:0a%\\", max_size=30).map("http://".__add__))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_base_url_or_a_value_error(url: str) -> None:
    try:
        origin, path = split_base_url(url)
    except ValueError:
        return
    assert 1 <= origin.port <= 65535
    assert origin.host
    assert origin.authority.isascii()
    assert not path.endswith("/")


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("https", "openrouter.ai", 443), "openrouter.ai"),
        (Origin("https", "openrouter.ai", 8443), "openrouter.ai:8443"),
        (Origin("http", "localhost", 80), "localhost"),
        (Origin("http", "localhost", 443), "localhost:443"),
        (Origin("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_a_host_header_leaves_out_the_port_of_its_scheme(origin: Origin, authority: str) -> None:
    assert origin.authority == authority


def test_a_model_is_what_its_own_row_says_else_its_nearest_family() -> None:
    mine = msgspec.structs.replace(
        provider("mine"),
        models=(Model(id="gpt-5-mini", context_tokens=400_000),),
        families=(
            Model(id="gpt-5", takes_temperature=False),
            Model(id="gpt-5.1", thinking=ThinkingForm.EFFORT),
        ),
    )
    assert mine.model("gpt-5-mini") == Model(id="gpt-5-mini", context_tokens=400_000)
    assert mine.model("gpt-5-2025-08-07") == Model(id="gpt-5-2025-08-07", takes_temperature=False)
    assert mine.model("gpt-5.1-codex") == Model(id="gpt-5.1-codex", thinking=ThinkingForm.EFFORT)
    assert mine.model("gpt-4") == Model(id="gpt-4")


def test_a_family_is_no_model_that_can_be_named() -> None:
    mine = provider("mine", families=(Model(id="gpt-5"),))
    assert not mine.lists("gpt-5")
    assert "gpt-5" not in set(catalog(mine).names())


@pytest.mark.parametrize(
    ("of_provider", "of_model", "takes"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_target_takes_a_temperature_as_its_model_says_else_its_provider(
    of_provider: bool, of_model: bool | None, takes: bool
) -> None:
    mine = provider("mine", quirks=Quirks(takes_temperature=of_provider))
    assert Target(mine, Model(id="m", takes_temperature=of_model)).takes_temperature is takes


def test_connections_of_two_accounts_are_told_apart_and_called_alike() -> None:
    origin = Origin("https", "api.test", 443)
    own = msgspec.structs.replace(origin, account="mine")
    assert own != origin
    assert own.authority == origin.authority == "api.test"
