"""`trunkline demo --faults`, as a user starts it: every model with a real client, and what is printed, pasted."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import httpx
import openai
import pytest

from conftest import require
from program import launched, run
from trunkline.demo import ROUTES
from trunkline.upstream.faults import BEGUN, FAULTS, TEXT, WORDS, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from program import Started

ASK: Any = [{"role": "user", "content": "Hi"}]
OPENING = "".join(WORDS[:BEGUN])
SAYS = {"too-short": OPENING, "nothing-said": "", "long-event": "0123456789abcdef" * (1 << 16)}
"""What comes in place of the usual answer."""


class Heard(NamedTuple):
    """What a client has heard: the text, the finish, the error that ended it, and the answer's headers."""

    text: str
    finish: str | None
    error: openai.APIError | None
    headers: Mapping[str, str]


def client_of(router: Started) -> openai.AsyncOpenAI:
    """OpenAI's own client."""
    return openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="any", max_retries=0, timeout=60)


async def hear(client: openai.AsyncOpenAI, model: str, script: dict[str, Any] | None = None) -> Heard:
    """Ask this model for a stream, and listen to its end."""
    text, finish = "", None
    headers: Mapping[str, str] = {}
    more = {"script": script} if script else None
    try:
        raw = await client.chat.completions.with_raw_response.create(
            model=model, messages=ASK, stream=True, extra_body=more
        )
        headers = raw.headers
        async for chunk in raw.parse():
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    except openai.APIStatusError as error:
        return Heard(text, finish, error, error.response.headers)
    except openai.APIError as error:
        return Heard(text, finish, error, headers)
    return Heard(text, finish, None, headers)


async def printed_by(router: Started) -> str:
    """All that it prints at its start."""
    async with asyncio.timeout(10):
        while "Ctrl-C" not in router.out:  # noqa: ASYNC110 - what it prints has no event
            await asyncio.sleep(0.01)
    return router.out


def judge(fault: Fault, heard: Heard) -> None:
    """What is printed of this fault is what its client has heard."""
    if fault.status != 200:
        assert isinstance(heard.error, openai.APIStatusError), fault.name
        assert heard.error.status_code == fault.status, fault.name
    elif fault.is_answer:
        assert heard.error is None, fault.name
        assert heard.text == SAYS.get(fault.name, TEXT), fault.name
        assert heard.finish == ("length" if fault.name == "too-short" else "stop")
    else:
        assert heard.error is not None, fault.name
        assert not isinstance(heard.error, openai.APIStatusError), fault.name
        assert heard.text == OPENING, fault.name


async def test_every_model_does_what_is_printed_of_it(tmp_path: Path) -> None:
    async with launched("demo", "--faults", directory=tmp_path) as router, client_of(router) as client:
        listed = {model.id async for model in client.models.list()}
        tried = [fault for fault in FAULTS if fault.name != "never-ending"]
        heard = await asyncio.gather(*(hear(client, f"faults/{fault.name}") for fault in tried))
        wholes = await asyncio.gather(
            *(client.chat.completions.create(model=f"faults/{name}", messages=ASK) for name in ("fine", "half-utf8")),
            client.chat.completions.create(model="faults/cut-mid-stream", messages=ASK),
            return_exceptions=True,
        )
        router.signal(signal.SIGTERM)
        assert await router.ended() == 0
    for fault, one in zip(tried, heard, strict=True):
        judge(fault, one)
        printed = (f"faults/{fault.name}", fault.does, str(fault.status), fault.gets)
        assert re.search(" .*".join(map(re.escape, printed)), router.out)
    assert {f"faults/{fault.name}" for fault in FAULTS} <= listed
    assert set(ROUTES) <= listed
    *answers, cut = wholes
    assert [one.choices[0].message.content for one in answers if not isinstance(one, BaseException)] == [TEXT, TEXT]
    assert isinstance(cut, openai.APIStatusError)
    assert cut.status_code == 502


async def test_routes_over_them_give_whole_answers(tmp_path: Path) -> None:
    async with launched("demo", "--faults", directory=tmp_path) as router, client_of(router) as client:
        failed_over, resumed = await asyncio.gather(hear(client, "failover"), hear(client, "resumed"))
        assert (failed_over.text, failed_over.headers["x-trunkline-attempts"]) == (TEXT, "3")
        assert (resumed.text, resumed.error) == (TEXT, None)
        hedged = [await hear(client, "hedged") for _ in range(25)]
    assert {one.text for one in hedged} == {TEXT}
    # The 25th, which would be slow; on a busy machine another one just before it may have been taken for slow.
    attempts = [one.headers["x-trunkline-attempts"] for one in hedged]
    assert attempts.count("2") == 1
    assert "2" in attempts[19:]


async def test_the_provider_plays_what_a_request_says_and_tells_what_has_reached_it(tmp_path: Path) -> None:
    async with (
        launched("demo", "--faults", directory=tmp_path) as router,
        client_of(router) as client,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        broken = await hear(client, "faults/scripted", {"text": "One two three.", "cut_after": 2, "end": "rst"})
        assert (broken.text, broken.error is not None) == ("One two ", True)
        spoken = await hear(client, "faults/scripted", {"text": "One two three.", "delay_between_s": 0.01})
        assert (spoken.text, spoken.error) == ("One two three.", None)
        mistaken = await hear(client, "faults/scripted", {"dealy_first_s": 1})
        assert isinstance(mistaken.error, openai.BadRequestError)
        assert "dealy_first_s" in mistaken.error.message

        chunks = await client.chat.completions.create(model="faults/never-ending", messages=ASK, stream=True)
        async for _ in chunks:
            break
        await chunks.close()
        await asyncio.sleep(0.5)
        (journal,) = re.findall(r"http://\S+/journal", await printed_by(router))
        told = (await http.get(journal)).json()
        assert (told["requests"][-1]["model"], told["requests"][-1]["ending"]) == ("never-ending", "cancelled")

        other = anthropic.AsyncAnthropic(base_url=router.url, api_key="any", max_retries=0)
        async with other, other.messages.stream(model="faults/fine", max_tokens=100, messages=ASK) as stream:
            assert await stream.get_final_text() == TEXT


async def test_what_is_printed_can_be_pasted(tmp_path: Path) -> None:
    require("curl", present=shutil.which("curl") is not None)
    async with launched("demo", "--faults", directory=tmp_path, COLUMNS="80") as router:
        pasted, sixty, scripted = re.findall(r"^  ((?:curl|for) .*)$", await printed_by(router), re.MULTILINE)
        said = await _shell(scripted)
        assert '"content":"two "' in said
        assert '"code":"upstream_truncated"' in said
        assert "[DONE]" in await _shell(pasted.replace("faults/stall", "faults/fine"))
        assert len((await _shell(sixty.replace("seq 60", "seq 3"))).split()) == 3


async def _shell(line: str) -> str:
    process = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def test_it_stays_on_this_machine_and_needs_and_keeps_nothing(tmp_path: Path) -> None:
    refused = await run("demo", "--faults", "--host", "0.0.0.0", directory=tmp_path)
    assert (refused.code, "this machine" in refused.err) == (2, True)
    own = {
        "HOST": "0.0.0.0",
        "TRUNKLINE_ADMIN_SECRET": "canary-administrator-0123456789-abcdefgh",
        "CHAT_DATABASE_URL": f"sqlite:///{tmp_path}/chat.sqlite3",
        "OPENAI_API_KEY": "sk-canary",
    }
    async with (
        launched("demo", "--faults", directory=tmp_path, **own) as router,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        answered = await http.post(f"{router.url}/api/chat", json={"message": "Hi"})
        models = (await http.get(f"{router.url}/v1/models")).json()["data"]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", router.port)
    assert answered.status_code == 200
    assert "x-session-id" not in answered.headers
    assert all(model["id"].startswith("faults/") or model["id"] in ROUTES for model in models)
    assert not (tmp_path / "chat.sqlite3").exists()
