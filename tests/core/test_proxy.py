"""A proxy's address is read whole or refused, and its password is nowhere to be seen."""

from __future__ import annotations

import pytest

from trunkline.core.caller import Secret
from trunkline.core.proxy import Proxy, split_proxy_url


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("HTTP://Proxy.Corp:3128/", Proxy("proxy.corp", 3128)),
        ("http://[fd00::1]:80", Proxy("fd00::1", 80)),
        ("http://me:pass@10.0.0.1:8080", Proxy("10.0.0.1", 8080, Secret("me:pass"))),
        ("http://me%40corp:p%40s%3As%2F%C3%A9@p:1", Proxy("p", 1, Secret("me@corp:p@s:s/\u00e9"))),
        ("http://me:pa@ss@p:1", Proxy("p", 1, Secret("me:pa@ss"))),
        ("http://me:@p:1", Proxy("p", 1, Secret("me:"))),
    ],
)
def test_an_address_is_read(url: str, proxy: Proxy) -> None:
    assert split_proxy_url(url) == proxy
    assert split_proxy_url(proxy.url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "canary.test:3128",
        "https://canary.test:3128",
        "socks5://canary.test:1080",
        "http://",
        "http://:3128",
        "http://canary.test",
        "http://canary.test:0",
        "http://canary.test:canary",
        "http://canary.test:70000",
        "http://canary.test:3128/path",
        "http://canary.test:3128?canary",
        "http://canary.test:3128#canary",
        "http://canary test:3128",
        "http://canary.test:3128\n",
        "http://c\u00e4nary.test:3128",
        "http://[canary:3128",
        "http://me:canary/word@proxy.test:3128",
        "http://me:1#canary@proxy.test:3128",
        "http://me@canary.test:3128",
        "http://:canary@canary.test:3128",
        "http://me%3Ano:canary@canary.test:3128",
    ],
)
def test_what_is_no_address_of_a_proxy_is_refused_without_being_said_back(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has) ") as caught:
        split_proxy_url(url)
    assert "canary" not in str(caught.value)


def test_a_password_that_was_not_encoded_is_told_as_such() -> None:
    with pytest.raises(ValueError, match=r"must have / \? and # percent-encoded"):
        split_proxy_url("http://me:canary/word@proxy.test:3128")


def test_only_its_host_and_port_are_shown() -> None:
    proxy = Proxy("fd00::1", 3128, Secret("me:canary"))
    assert proxy.name == "[fd00::1]:3128"
    assert "canary" not in f"{proxy} {proxy!r} {proxy.name}"
