/** `POST /api/chat`: one message in, a stream of text out. */

import { Failure, failureOf, parse, readError } from "./failure";
import { readEvents } from "./sse";

export interface ChatRequest {
  readonly message: string;
  readonly temperature?: number;
  readonly maxTokens?: number;
  readonly model?: string;
  readonly sessionId?: string;
}

export type ChatEvent =
  | { readonly kind: "opened"; readonly sessionId: string | null }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "done" };

/**
 * The answer as it comes: `opened`, then `text` any number of times, then `done`. Throws Failure for everything that
 * the router or the network says instead, and the signal's reason when the reader stops it: that closes the connection.
 *
 * After `done` it reads on to the end of the body: leaving early would look to the router like a reader who left.
 */
export async function* streamChat(
  request: ChatRequest,
  signal: AbortSignal,
  send: typeof fetch = fetch,
): AsyncGenerator<ChatEvent, void, undefined> {
  const response = await post(request, signal, send);
  const requestId = response.headers.get("x-request-id");
  if (!response.ok) {
    const failure = await failureOf(response);
    if (response.status === 404 && request.sessionId !== undefined) {
      throw new Failure("gone", "It may have been deleted. Trying again starts a new one.", { status: 404, requestId });
    }
    throw failure;
  }
  yield { kind: "opened", sessionId: response.headers.get("x-session-id") };
  if (response.body === null) throw cut(requestId);
  let finished = false;
  try {
    for await (const data of readEvents(response.body)) {
      if (finished) continue;
      if (data === "[DONE]") {
        finished = true;
        yield { kind: "done" };
        continue;
      }
      const event = parse(data);
      const error = readError(event);
      if (error !== null) throw new Failure(error.kind, error.message, { requestId });
      const text = contentOf(event);
      if (text !== "") yield { kind: "text", text };
    }
  } catch (error) {
    if (finished) return;
    if (error instanceof Failure || signal.aborted) throw error;
    throw cut(requestId);
  }
  if (!finished) throw cut(requestId);
}

async function post(request: ChatRequest, signal: AbortSignal, send: typeof fetch): Promise<Response> {
  try {
    return await send("/api/chat", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify(request),
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Failure("unreachable", "Check that it is running and that you are connected, then try again.");
  }
}

function contentOf(event: unknown): string {
  if (typeof event !== "object" || event === null || !("content" in event)) return "";
  return typeof event.content === "string" ? event.content : "";
}

function cut(requestId: string | null): Failure {
  return new Failure("cut", "The connection closed before the answer was complete.", { requestId });
}
