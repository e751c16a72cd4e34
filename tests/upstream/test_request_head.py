"""The head of a request: nothing in it can become a line of its own."""

from __future__ import annotations

import pytest

from trunkline.core.catalog import Origin
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.dialect import WireRequest
from trunkline.upstream.request_head import Heads

ORIGIN = Origin("https", "api.test", 443)


def head(
    *headers: tuple[str, str], method: str = "POST", path: str = "/v1", body: bytes = b"", origin: Origin = ORIGIN
) -> bytes:
    return Heads().write(WireRequest(method=method, origin=origin, path=path, headers=headers, body=body))


def refusal(*headers: tuple[str, str], method: str = "POST", path: str = "/v1", origin: Origin = ORIGIN) -> str:
    with pytest.raises(Problem) as caught:
        head(*headers, method=method, path=path, origin=origin)
    assert caught.value.kind is Kind.INVALID_REQUEST
    return caught.value.message


def test_host_length_and_encoding_are_added() -> None:
    assert head(("a", "1"), body=b"{}") == (
        b"POST /v1 HTTP/1.1\r\nhost: api.test\r\na: 1\r\naccept-encoding: identity\r\ncontent-length: 2\r\n\r\n"
    )


def test_a_given_encoding_stays() -> None:
    assert head(("Accept-Encoding", "gzip")).count(b"ncoding") == 1


def test_a_request_without_a_body_has_a_length_only_if_its_method_means_one() -> None:
    assert b"content-length: 0\r\n" in head()
    assert b"content-length" not in head(method="GET")


def test_the_host_is_the_origins_authority() -> None:
    assert b"\r\nhost: [::1]:8080\r\n" in head(origin=Origin("http", "::1", 8080))


@pytest.mark.parametrize("value", ["", "Bearer sk-1", "a\tb", " a ", "café", "~!@#$%^&*()[]{}\"'\\"])
def test_a_value_that_HTTP_allows_is_written_as_it_is(value: str) -> None:  # noqa: N802 - the name of the protocol
    assert f"x: {value}\r\n".encode("latin-1") in head(("x", value))


@pytest.mark.parametrize(
    "value", ["a\r\nx-evil: 1", "a\n", "a\r", "a\r\n", "\r\n\r\nGET / HTTP/1.1", "a\0b", "a\x0bb", "a\x7fb", "日本"]
)
def test_a_value_that_could_break_a_line_is_refused_and_not_shown(value: str) -> None:
    message = refusal(("a", "1"), ("x-title", f"sk-secret{value}"), ("b", "2"))
    assert message == "The header 'x-title' holds a character that HTTP does not allow."


@pytest.mark.parametrize("name", ["", "a b", "a:", "host: evil\r\nx", "host: evil", "a\r\n", "é", "a\0", "(a)", ":a"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    assert refusal((name, "1")).startswith("The header ")


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "Upgrade", "expect", "TE", "keep-alive"],
)
def test_a_field_that_frames_the_message_is_the_clients_own(name: str) -> None:
    assert refusal((name, "1")) == f"The header {name.lower()} is set by the router itself."


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a\r\nx: 1", "/a\n", "/é", "/a\0", "http://evil/"])
def test_a_path_that_could_break_the_line_is_refused(path: str) -> None:
    refusal(path=path)


@pytest.mark.parametrize("method", ["", "post", "GET /x", "GET\r\n"])
def test_a_method_that_could_break_the_line_is_refused(method: str) -> None:
    refusal(method=method)


@pytest.mark.parametrize("host", ["a b", "a\r\nx: 1", "é.test", ""])
def test_a_host_that_could_break_the_line_is_refused(host: str) -> None:
    refusal(origin=Origin("https", host, 443))


def test_headers_of_any_number_are_checked_in_little_time() -> None:
    many = tuple((f"x-{at}", "v" * 1000) for at in range(2000))
    assert head(*many).count(b"\r\n") == 2000 + 5
    assert refusal(*many, ("y", "v" * 100_000 + "\n")).startswith("The header 'y'")
