import { describe, expect, test } from "vitest";
import { streamChat, type ChatEvent, type ChatRequest } from "./chat";
import { Failure } from "./failure";

const REQUEST: ChatRequest = { message: "Hello" };

/** A router that answers every request so, and remembers what it was asked. */
function routerSaying(body: BodyInit | null, init: ResponseInit = {}) {
  const asked: { url: string; init: RequestInit | undefined }[] = [];
  const send: typeof fetch = async (url, sent) => {
    asked.push({ url: String(url), init: sent });
    return new Response(body, init);
  };
  return { asked, send };
}

async function told(body: BodyInit | null, init: ResponseInit = {}, request = REQUEST) {
  const events: ChatEvent[] = [];
  let failure: unknown = null;
  try {
    const { send } = routerSaying(body, init);
    for await (const event of streamChat(request, new AbortController().signal, send)) events.push(event);
  } catch (error) {
    failure = error;
  }
  return { events, failure: failure as Failure | null };
}

test("the request is the seed's: JSON with the message and what was set", async () => {
  const { asked, send } = routerSaying("data: [DONE]\n\n");
  const request = { message: "Hi", temperature: 0, maxTokens: 5, model: "a/b", sessionId: "s1" };
  for await (const _event of streamChat(request, new AbortController().signal, send));
  expect(asked[0]?.url).toBe("/api/chat");
  expect(JSON.parse(String(asked[0]?.init?.body))).toEqual(request);
  expect(new Headers(asked[0]?.init?.headers).get("content-type")).toBe("application/json");
});

test("an answer is its session, its text, and its end", async () => {
  const body = ': keep-alive\ndata: {"content":"Hel"}\n\ndata: {"content":"lo"}\n\ndata: [DONE]\n\n';
  const { events, failure } = await told(body, { headers: { "x-session-id": "s1" } });
  expect(failure).toBeNull();
  expect(events).toEqual([
    { kind: "opened", sessionId: "s1" },
    { kind: "text", text: "Hel" },
    { kind: "text", text: "lo" },
    { kind: "done" },
  ]);
});

test("the body is read to its end after the last event, so that the router sees no reader leaving", async () => {
  let isCancelled = false;
  let isRead = false;
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (isRead) return controller.close();
        isRead = true;
        controller.enqueue(new TextEncoder().encode("data: [DONE]\n\n"));
      },
      cancel: () => {
        isCancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  const { events } = await told(body);
  expect(events.at(-1)).toEqual({ kind: "done" });
  expect(isCancelled).toBe(false);
});

test("an error in the stream keeps the text before it and tells its sentence", async () => {
  const body = 'data: {"content":"Hel"}\n\ndata: {"error":"The provider hung up.","type":"network_error"}\n\n';
  const { events, failure } = await told(body, { headers: { "x-request-id": "r1" } });
  expect(events).toContainEqual({ kind: "text", text: "Hel" });
  expect(failure).toMatchObject({ kind: "network_error", message: "The provider hung up.", requestId: "r1" });
});

test.each([
  ["nothing", ""],
  ["text and no end", 'data: {"content":"Hel"}\n\n'],
  ["an end that no blank line closes", "data: [DONE]"],
])("a stream with %s broke off", async (_name, body) => {
  expect((await told(body)).failure).toMatchObject({ kind: "cut" });
});

test("events of an unknown shape are passed over", async () => {
  const { events, failure } = await told('data: {}\n\ndata: 7\n\ndata: {"content":7}\n\ndata: {\n\ndata: [DONE]\n\n');
  expect(failure).toBeNull();
  expect(events.map(({ kind }) => kind)).toEqual(["opened", "done"]);
});

describe("a refusal", () => {
  test.each([
    ["as JSON", '{"error":"Too many.","type":"rate_limit"}'],
    ["as an event", 'data: {"error":"Too many.","type":"rate_limit"}\n\n'],
  ])("%s is told in the router's words", async (_name, body) => {
    const { failure } = await told(body, { status: 429, headers: { "retry-after": "12", "x-session-id": "s9" } });
    expect(failure).toMatchObject({ kind: "rate_limit", message: "Too many.", retryAfterS: 12, sessionId: "s9" });
  });

  test.each([
    [502, "network_error"],
    [503, "server_error"],
    [500, "server_error"],
    [413, "invalid_request"],
  ])("%i without words of its own gets a sentence", async (status, kind) => {
    const { failure } = await told("<html>Bad gateway</html>", { status });
    expect(failure).toMatchObject({ kind, status });
    expect(failure?.message).toMatch(/^[A-Z].+\.$/);
    expect(failure?.message).not.toContain("<");
  });

  test("401 asks for a key", async () => {
    expect((await told('{"error":"No key.","type":"invalid_request"}', { status: 401 })).failure?.kind).toBe("login");
  });

  test("404 with a session means that the session is gone; without one it does not", async () => {
    const body = '{"error":"No such session.","type":"invalid_request"}';
    expect((await told(body, { status: 404 }, { ...REQUEST, sessionId: "s1" })).failure?.kind).toBe("gone");
    expect((await told(body, { status: 404 })).failure?.kind).toBe("invalid_request");
  });

  test("OpenAI's error shape is understood too", async () => {
    const { failure } = await told('{"error":{"message":"Host not allowed.","type":"x"}}', { status: 421 });
    expect(failure?.message).toBe("Host not allowed.");
  });
});

test("a router that cannot be reached is told apart from a reader who stops", async () => {
  const unreachable: typeof fetch = () => Promise.reject(new TypeError("fetch failed"));
  const controller = new AbortController();
  const { next } = iterator(unreachable, controller.signal);
  await expect(next()).rejects.toMatchObject({ kind: "unreachable" });

  controller.abort();
  const stopped: typeof fetch = (_url, init) => Promise.reject(init?.signal?.reason as Error);
  await expect(iterator(stopped, controller.signal).next()).rejects.not.toBeInstanceOf(Failure);
});

function iterator(send: typeof fetch, signal: AbortSignal) {
  const events = streamChat(REQUEST, signal, send);
  return { next: () => events.next() };
}
