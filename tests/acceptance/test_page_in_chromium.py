"""A real browser: the router's own page, and a page of another origin that FRONTEND_URL names."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import async_playwright, expect

from conftest import require
from served import openrouter, serving
from trunkline.core.caller import Secret
from trunkline.store.migrate import migrate
from trunkline.upstream import script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser, Page, Route

    from served import Router
    from trunkline.upstream.scripted import ScriptedUpstream

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
FRONTEND_PORT = 5173

READ_A_STREAM = """
async ([url, body]) => {
  const response = await fetch(url, {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body),
  });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "", pieces = 0;
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    pieces += 1;
    text += decoder.decode(value, {stream: true});
  }
  return {status: response.status, text, pieces, session: response.headers.get("x-session-id")};
}
"""


SDKS = Path(__file__).parent / "npm" / "node_modules"
PACKAGES = {
    "@opentelemetry/api": "/@opentelemetry/api/dist/index.mjs",
    "standardwebhooks": "data:text/javascript,export const Webhook = null",  # it has no module, and is not used here
}
"""What Anthropic's client imports by name, as a bundler would find it."""

OPENAI = """
async (url) => {
  const {default: OpenAI} = await import("/openai/index.mjs");
  const client = new OpenAI({baseURL: `${url}/v1`, apiKey: "none", dangerouslyAllowBrowser: true, maxRetries: 0});
  const messages = [{role: "user", content: "Hi"}];
  let text = "";
  for await (const chunk of await client.chat.completions.create({model: "openrouter/auto", messages, stream: true})) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return text;
}
"""
ANTHROPIC = """
async (url) => {
  const {default: Anthropic} = await import("/@anthropic-ai/sdk/index.mjs");
  const client = new Anthropic({baseURL: url, apiKey: "none", dangerouslyAllowBrowser: true, maxRetries: 0});
  const messages = [{role: "user", content: "Hi"}];
  return await client.messages.stream({model: "openrouter/auto", messages, max_tokens: 9}).finalText();
}
"""


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    require("chromium", present=CHROMIUM is not None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


@pytest.fixture
async def with_history(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncGenerator[Router]:
    url = f"sqlite:///{tmp_path}/chat.sqlite3"
    await migrate(Secret(url))
    async with serving(openrouter(upstream, tmp_path, {"CHAT_DATABASE_URL": url})) as router:
        yield router


@asynccontextmanager
async def site(port: int) -> AsyncGenerator[str]:
    """Somebody's pages on this port of localhost, with the vendors' clients; its origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        is_module = path.endswith(".mjs")
        body = SDKS.joinpath(path.removeprefix("/")).read_bytes() if is_module else b"<title>x</title>"
        kind = b"text/javascript" if is_module else b"text/html"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}"


async def test_the_frontends_page_reads_a_stream_and_the_session(
    page: Page, with_history: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["Grüße", ", 世界"]).but(delay_between_s=0.2))
    async with site(FRONTEND_PORT) as origin:
        await page.goto(origin)
        got = await page.evaluate(READ_A_STREAM, [f"{with_history.url}/api/chat", {"message": "Hi"}])
    assert got["status"] == 200
    assert got["text"] == 'data: {"content":"Grüße"}\n\ndata: {"content":", 世界"}\n\ndata: [DONE]\n\n'
    assert got["pieces"] > 1
    assert len(got["session"]) == 36


async def test_the_frontends_page_reads_an_error_on_a_status_that_is_not_200(
    page: Page, router: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.openrouter_error(429, "slow down"))
    async with site(FRONTEND_PORT) as origin:
        await page.goto(origin)
        got = await page.evaluate(READ_A_STREAM, [f"{router.url}/api/chat", {"message": "Hi"}])
    assert got["status"] == 429
    assert json.loads(got["text"].removeprefix("data: "))["type"] == "rate_limit"


async def test_a_page_of_another_origin_reads_nothing_and_reaches_no_provider(
    page: Page, router: Router, upstream: ScriptedUpstream
) -> None:
    async with site(0) as origin:
        await page.goto(origin)
        got = await page.evaluate(
            "([run, args]) => (0, eval)(run)(args).then(() => 'read', () => 'refused')",
            [READ_A_STREAM.strip(), [f"{router.url}/api/chat", {"message": "Hi"}]],
        )
    assert got == "refused"
    assert upstream.received == 0


@pytest.mark.parametrize("program", [pytest.param(OPENAI, id="openai"), pytest.param(ANTHROPIC, id="anthropic")])
async def test_the_frontends_page_may_use_a_vendors_own_client(
    page: Page, router: Router, upstream: ScriptedUpstream, program: str
) -> None:
    require("node", present=SDKS.is_dir())
    upstream.play(script.chat_stream(["Grüße", ", 世界"], usage=(3, 2)))
    async with site(FRONTEND_PORT) as origin:
        await page.goto(origin)
        await page.add_script_tag(type="importmap", content=json.dumps({"imports": PACKAGES}))
        assert await page.evaluate(program, router.url) == "Grüße, 世界"


@pytest.mark.usefixtures("built_page")
async def test_a_person_types_and_sees_tokens_stream(page: Page, router: Router, upstream: ScriptedUpstream) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    upstream.play(script.chat_stream(["**Hello**", " there,", " friend"], role_chunk=False).but(delay_between_s=0.5))
    await page.goto(router.url)
    await page.get_by_label("Message", exact=True).fill("Hi")
    await page.keyboard.press("Enter")
    answer = page.locator(".answer")
    await expect(answer).to_contain_text("Hello")
    assert "friend" not in await answer.inner_text(), "the answer came all at once"
    await expect(answer).to_contain_text("Hello there, friend")
    await expect(answer.locator("strong")).to_have_text("Hello")
    assert complaints == []
    assert all(url.startswith((router.url, "data:")) for url in asked), asked


@pytest.mark.usefixtures("built_page")
async def test_stop_closes_the_upstream(page: Page, router: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["on and "], finish=None, done=False).but(repeat=True, delay_between_s=0.05))
    await page.goto(router.url)
    await page.get_by_label("Message", exact=True).fill("Hi")
    await page.keyboard.press("Enter")
    await expect(page.locator(".answer")).to_contain_text("on and on")
    await page.get_by_role("button", name="Stop").click()
    await upstream.wait_until(lambda: upstream.active == 0)
    assert upstream.cancelled == 1


@pytest.mark.usefixtures("built_page")
async def test_an_error_stands_in_place_and_can_be_tried_again(
    page: Page, router: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.openrouter_error(503, "busy"), script.chat_stream(["Here I am"]))
    await page.goto(router.url)
    await page.get_by_label("Message", exact=True).fill("Hi")
    await page.keyboard.press("Enter")
    await expect(page.locator(".trouble")).to_contain_text("OpenRouter")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".answer")).to_contain_text("Here I am")


@pytest.mark.usefixtures("built_page")
async def test_a_conversation_is_there_again_after_a_reload(
    page: Page, with_history: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["The first answer"]))
    await page.goto(with_history.url)
    await page.get_by_label("Message", exact=True).fill("Remember me")
    await page.keyboard.press("Enter")
    await expect(page.locator(".answer")).to_contain_text("The first answer")
    await page.reload()
    await expect(page.locator(".question")).to_contain_text("Remember me")
    await expect(page.locator(".answer")).to_contain_text("The first answer")
    await expect(page.locator(".sidebar .pick")).to_contain_text("Remember me")


@pytest.mark.usefixtures("built_page")
async def test_what_is_typed_while_a_conversation_opens_goes_to_that_one(
    page: Page, with_history: Router, upstream: ScriptedUpstream
) -> None:
    upstream.play(script.chat_stream(["The first answer"]), script.chat_stream(["The second answer"]))
    await page.goto(with_history.url)
    field = page.get_by_label("Message", exact=True)
    await field.fill("One")
    await page.keyboard.press("Enter")
    await expect(page.locator(".answer")).to_contain_text("The first answer")
    may_open = asyncio.Event()

    async def wait(route: Route) -> None:
        await may_open.wait()
        await route.continue_()

    await page.route("**/messages*", wait)
    await page.reload()
    await field.fill("Two")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Send")).to_be_disabled()
    may_open.set()
    await expect(page.locator(".answer")).to_contain_text("The first answer")
    await expect(field).to_have_value("Two")
    await field.press("Enter")
    await expect(page.locator(".answer").last).to_contain_text("The second answer")
    said = [one["content"] for one in upstream.plays[-1].request.json()["messages"]]
    assert said == ["One", "The first answer", "Two"]


@pytest.mark.usefixtures("built_page")
async def test_a_title_that_is_refused_says_why(page: Page, with_history: Router, upstream: ScriptedUpstream) -> None:
    upstream.play(script.chat_stream(["Hello"]))
    await page.goto(with_history.url)
    await page.get_by_label("Message", exact=True).fill("Greet me")
    await page.keyboard.press("Enter")
    await expect(page.locator(".sidebar .pick")).to_have_text("Greet me")
    await page.locator(".sidebar .pick").hover()
    await page.get_by_role("button", name="Rename").click()
    await page.get_by_label("New title").fill("Greet\x7fme")
    async with page.expect_response(lambda one: one.request.method == "GET" and one.url.endswith("/sessions")):
        await page.keyboard.press("Enter")
    await expect(page.locator(".sidebar .pick")).to_have_text("Greet me")
    await expect(page.locator(".sidebar .error")).to_contain_text("control characters")
