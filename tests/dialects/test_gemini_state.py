"""What names state of Google's account is refused wherever it stands, before anything goes upstream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialects.admission import admitted, translated
from dialects.gemini_streams import target
from trunkline.core.call import Call, Document, Image, Message, Operation, Role, Stored, Url
from trunkline.core.problem import Kind, Problem
from trunkline.dialects.gemini.sides import Gemini, GeminiIngress
from trunkline.dialects.gemini.state import is_stored

HELLO = {"role": "user", "parts": [{"text": "Hello"}]}
FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
INGRESS = GeminiIngress("m")


def with_part(part: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [HELLO, {"role": "user", "parts": [{"text": "a"}, part]}]}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"contents": [HELLO], "cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"contents": [HELLO], "cached_content": "cachedContents/1"}, "cachedContent"),
        ({"contents": [HELLO], "continuationToken": "abc"}, "continuationToken"),
        ({"contents": [HELLO], "tools": [{}, {"fileSearch": {}}]}, "tools[1].fileSearch"),
        ({"contents": [HELLO], "tools": {"file_search": {}}}, "tools[0].fileSearch"),
        ({"contents": [HELLO], "tools": [{"retrieval": {}}]}, "tools[0].retrieval"),
        (with_part({"fileData": {"fileUri": FILE}}), "contents[1].parts[1].fileData.fileUri"),
        (with_part({"file_data": {"file_uri": FILE}}), "contents[1].parts[1].fileData.fileUri"),
        (
            with_part({"fileData": {"fileUri": "https://a.example/x", "file_uri": FILE}}),
            "contents[1].parts[1].fileData.fileUri",
        ),
        (with_part({"fileData": {"fileUri": 5}}), "contents[1].parts[1].fileData.fileUri"),
        ({"contents": {"parts": {"fileData": {"fileUri": FILE}}}}, "contents[0].parts[0].fileData.fileUri"),
        (
            with_part({"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": FILE}}]}}),
            "contents[1].parts[1].functionResponse.parts[0].fileData.fileUri",
        ),
        (
            {"contents": [HELLO], "systemInstruction": {"parts": [{"fileData": {"fileUri": FILE}}]}},
            "systemInstruction.parts[0].fileData.fileUri",
        ),
    ],
)
def test_state_is_refused_by_name_before_planning_and_when_it_is_read(body: dict[str, Any], path: str) -> None:
    for read in (admitted, translated):
        with pytest.raises(Problem) as caught:
            read(INGRESS, msgspec.json.encode(body))
        assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, path)
        assert f"`{path}`" in caught.value.message


def test_an_escaped_name_is_the_same_name() -> None:
    body = b'{"contents":[{"parts":[{"file\\u0044ata":{"file\\u0055ri":"files/a"}}]}]}'
    with pytest.raises(Problem) as caught:
        admitted(INGRESS, body)
    assert caught.value.param == "contents[0].parts[0].fileData.fileUri"


def test_it_is_found_inside_what_is_to_be_counted_too() -> None:
    inner = {"model": "models/m", "contents": [HELLO], "cachedContent": "cachedContents/1"}
    with pytest.raises(Problem) as caught:
        admitted(
            INGRESS.at("m", stream=False, operation=Operation.COUNT),
            msgspec.json.encode({"generateContentRequest": inner}),
        )
    assert caught.value.param == "cachedContent"


def test_arguments_of_a_tool_may_be_called_anything() -> None:
    part = {"functionCall": {"name": "open", "args": {"fileData": {"fileUri": FILE}, "cachedContent": "x"}}}
    assert INGRESS.peek(msgspec.json.encode(with_part(part))).model == "m"


@pytest.mark.parametrize(
    "uri",
    [
        "files/abc",
        FILE,
        FILE.upper(),
        "http://generativelanguage.googleapis.com/v1beta/files/abc",
        "https://generativelanguage.googleapis.com.:443/v1beta/files/abc",
        "https://user@generativelanguage.googleapis.com/v1beta/files/abc",
        "https://%67enerativelanguage.googleapis.com/v1beta/files/abc",
        "https://generativelanguage.googleapis.com\\@a.example/",
        "https://a.example\\@generativelanguage.googleapis.com/",
        "https://us-generativelanguage.googleapis.com/v1/files/abc",
        "https:generativelanguage.googleapis.com/files/abc",
        " https://a.example/x",
        "https://a.example/x\n",
        "https://[::1/x",
        "gs://bucket/x.pdf",
        "file:///etc/passwd",
        "data:image/png;base64,QUJD",
        "",
    ],
)
def test_an_address_that_may_mean_something_stored_is_refused(uri: str) -> None:
    assert is_stored(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "https://a.example/files/x.png?sig=%2Fa+b&c=d#e",
        "http://a.example:8080/x",
        "HTTPS://A.EXAMPLE",
        "https://storage.googleapis.com/public/x.pdf",
        "https://www.youtube.com/watch?v=9hE5-98ZeCg",
        "https://notgoogleapis.com/files/x",
    ],
)
def test_a_public_address_goes_through(uri: str) -> None:
    assert not is_stored(uri)
    body = with_part({"fileData": {"fileUri": uri}})
    assert INGRESS.peek(msgspec.json.encode(body)).model == "m"


@pytest.mark.parametrize("media", [Url(FILE), Url("files/abc"), Stored("file-1")])
def test_a_client_of_another_dialect_reaches_it_no_better(media: Url | Stored) -> None:
    for part in (Image(media), Document(media)):
        with pytest.raises(Problem) as caught:
            Gemini().write_call(Call(messages=(Message(Role.USER, (part,)),)), target())
        assert caught.value.kind is Kind.INVALID_REQUEST
