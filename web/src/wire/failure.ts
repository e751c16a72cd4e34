/** What went wrong, in words for the person who asked. */

export type FailureKind =
  | "invalid_request"
  | "rate_limit"
  | "network_error"
  | "server_error"
  | "unreachable" // the router itself gave no answer
  | "cut" // the stream ended without its terminal
  | "gone" // the conversation is no longer on the router
  | "login"; // the router wants a key

const TITLES: Readonly<Record<FailureKind, string>> = {
  invalid_request: "The router did not take this message",
  rate_limit: "Too many requests at the moment",
  network_error: "The connection to the model’s provider failed",
  server_error: "No answer could be had",
  unreachable: "The router did not answer",
  cut: "The answer broke off",
  gone: "This conversation is no longer here",
  login: "This router asks for a key",
};

interface Details {
  readonly status?: number | undefined;
  readonly retryAfterS?: number | null | undefined;
  readonly requestId?: string | null | undefined;
  readonly sessionId?: string | null | undefined;
}

/**
 * An error that the page shows in place. `message` is a sentence; `requestId` finds it in the router's log; `sessionId`
 * is the session that kept the message, so that another try goes on in it.
 */
export class Failure extends Error {
  readonly kind: FailureKind;
  readonly status: number | null;
  readonly retryAfterS: number | null;
  readonly requestId: string | null;
  readonly sessionId: string | null;

  constructor(kind: FailureKind, message: string, details: Details = {}) {
    super(message);
    this.name = "Failure";
    this.kind = kind;
    this.status = details.status ?? null;
    this.retryAfterS = details.retryAfterS ?? null;
    this.requestId = details.requestId ?? null;
    this.sessionId = details.sessionId ?? null;
  }

  get title(): string {
    return TITLES[this.kind];
  }
}

/** The failure that an answer other than 2xx tells, whatever its body is. */
export async function failureOf(response: Response): Promise<Failure> {
  const body = (await response.text().catch(() => "")).slice(0, 65_536);
  const told = toldBy(body);
  const details = {
    status: response.status,
    retryAfterS: seconds(response.headers.get("retry-after")),
    requestId: response.headers.get("x-request-id"),
    sessionId: response.headers.get("x-session-id"),
  };
  if (response.status === 401) return new Failure("login", told?.message ?? "Sign in to go on.", details);
  return new Failure(told?.kind ?? kindOf(response.status), told?.message ?? sentenceOf(response.status), details);
}

/** `{"error","type"}` -> its kind and sentence; null when the data is something else. */
export function readError(data: unknown): { kind: FailureKind; message: string } | null {
  if (typeof data !== "object" || data === null || !("error" in data)) return null;
  const type = "type" in data ? data.type : undefined;
  const kind: FailureKind =
    type === "invalid_request" || type === "rate_limit" || type === "network_error" ? type : "server_error";
  const error = data.error;
  if (typeof error === "string" && error !== "") return { kind, message: error };
  // OpenAI's shape, which the routes beside /api/chat may use.
  if (typeof error === "object" && error !== null && "message" in error && typeof error.message === "string") {
    return { kind, message: error.message };
  }
  return { kind, message: sentenceOf(500) };
}

/** JSON, or undefined where the text is none. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toldBy(body: string): { kind: FailureKind; message: string } | null {
  // A refusal comes as plain JSON or as the one event of a stream.
  return readError(parse(body)) ?? readError(parse(body.replace(/^data: ?/, "").split(/\r?\n/, 1)[0] ?? ""));
}

function kindOf(status: number): FailureKind {
  if (status === 429) return "rate_limit";
  if (status === 502 || status === 504) return "network_error";
  return status >= 500 ? "server_error" : "invalid_request";
}

function sentenceOf(status: number): string {
  switch (status) {
    case 403:
      return "The router refused this page. Open it under the address that the router was started with.";
    case 413:
      return "The message is too long for this router.";
    case 429:
      return "Wait a moment, then try again.";
    case 502:
    case 504:
      return "Its connection failed or took too long. Try again.";
    case 503:
      return "The router is busy or stopping. Try again in a moment.";
    default:
      return status >= 500 ? "The router hit an error of its own. Try again." : `The router answered ${status}.`;
  }
}

function seconds(retryAfter: string | null): number | null {
  if (retryAfter === null || !/^\d{1,6}$/.test(retryAfter.trim())) return null;
  return Number(retryAfter);
}
