"""Providers whose requests are signed, through a whole router: what its clients get, and what its log does not say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from raw_http import ask, request
from served import serving
from sse_client import chat
from trunkline.settings.reading import load
from trunkline.upstream.script import chat_stream, json_answer, json_error
from trunkline.upstream.scripted import ScriptedUpstream
from upstream.aws_side import claim_of, signature_of
from upstream.google_side import TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from trunkline.settings.values import Settings
    from trunkline.upstream.journal import ReceivedRequest
    from trunkline.upstream.script import Script

SECRET = "canary/secret+key"
AWS = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": SECRET}
GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}


def amazon(request: ReceivedRequest) -> Script:
    """Answers those whose signature holds, as Amazon does."""
    claim = claim_of(request.headers["authorization"])
    made = signature_of(
        SECRET, claim, method=request.method, path=request.path, headers=request.headers, body=request.body
    )
    if made != claim.signature:
        return json_error(403, {"message": "The request signature we calculated does not match."})
    return chat_stream(["Hello"], usage=(3, 1))


def at_bedrock(port: int, directory: Path, **environment: str) -> Settings:
    (directory / "trunkline.toml").write_text(f'[providers.bedrock]\nbase_url = "http://127.0.0.1:{port}/openai/v1"\n')
    return load({"TRUNKLINE_DATA_DIR": str(directory), **environment}, directory)


async def test_bedrock_answers_a_client_of_the_router(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(amazon) as upstream,
        serving(at_bedrock(upstream.port, tmp_path, **AWS)) as router,
    ):
        answer = await chat(router)
    assert (answer.status, answer.text, answer.is_done) == (200, "Hello", True)
    (received,) = upstream.requests
    assert received.path == "/openai/v1/chat/completions"
    assert claim_of(received.headers["authorization"]).scope.endswith("/eu-west-1/bedrock/aws4_request")


async def test_wrong_credentials_are_the_routers_fault_and_stay_out_of_answer_and_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {**AWS, "AWS_SECRET_ACCESS_KEY": "another-canary", "AWS_SESSION_TOKEN": "canary-token"}
    async with (
        ScriptedUpstream(amazon) as upstream,
        serving(at_bedrock(upstream.port, tmp_path, LOG_LEVEL="debug", **wrong)) as router,
    ):
        answer = await chat(router)
    assert answer.status == 502
    logged = capfd.readouterr()
    assert "canary" not in f"{answer.raw!r} {logged.out} {logged.err}"


async def test_vertex_answers_with_a_token_and_a_client_of_another_dialect_reaches_it(tmp_path: Path) -> None:
    endpoint = TokenEndpoint()

    def google(received: ReceivedRequest) -> Script:
        return endpoint.answer(received) if received.path == "/token" else json_answer(GENERATED)

    async with ScriptedUpstream(google) as upstream:
        base = f"http://127.0.0.1:{upstream.port}/v1/projects/{{project}}/locations/{{location}}/publishers/google"
        (tmp_path / "trunkline.toml").write_text(f'[providers.vertex]\nbase_url = "{base}"\nbase_url_at = {{}}\n')
        environment = {
            "TRUNKLINE_DATA_DIR": str(tmp_path),
            "GOOGLE_CLOUD_PROJECT": "a-project",
            "GOOGLE_CLOUD_LOCATION": "europe-west4",
            "GOOGLE_APPLICATION_CREDENTIALS": str(endpoint.write_key_file(tmp_path / "key.json", upstream.port)),
        }
        body = json.dumps(
            {"model": "vertex/gemini-3.8-flash", "messages": [{"role": "user", "content": "Hi"}], "stream": False}
        ).encode()
        async with serving(load(environment, tmp_path)) as router:
            status, _, answered = await ask(router, request("POST", "/v1/chat/completions", body))
    assert status == 200
    assert json.loads(answered)["choices"][0]["message"]["content"] == "Hello"
    generated = upstream.requests[-1]
    assert generated.path == (
        "/v1/projects/a-project/locations/europe-west4/publishers/google/models/gemini-3.8-flash:generateContent"
    )
    assert generated.headers["authorization"] == "Bearer token-1"


async def test_google_credentials_that_are_refused_are_told_before_a_stream_begins(tmp_path: Path) -> None:
    endpoint = TokenEndpoint()
    endpoint.script = json_error(400, {"error": "invalid_grant", "error_description": "canary"})
    async with ScriptedUpstream(endpoint.answer) as upstream:
        (tmp_path / "trunkline.toml").write_text(
            f'[providers.vertex]\nbase_url = "http://127.0.0.1:{upstream.port}/v1"\n'
        )
        key_file = endpoint.write_key_file(tmp_path / "key.json", upstream.port)
        environment = {"TRUNKLINE_DATA_DIR": str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}
        async with serving(load(environment, tmp_path)) as router:
            answer = await chat(router)
    assert answer.status == 502
    assert answer.error is not None
    assert "were refused by Google (invalid_grant)" in answer.error["error"]
    assert "canary" not in answer.raw.decode()
