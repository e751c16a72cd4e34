/**
 * Server-sent events: bytes -> the data of each event.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

const LIMIT = 8 * 1024 * 1024;

/** Cuts the text of an event stream into events, wherever the network cut it. LF, CRLF and CR end a line. */
export class EventCutter {
  #partial = "";
  #data: string[] = [];
  #size = 0;
  #skipLf = false;

  /** The data of each event that this text completes. Throws RangeError when one event outgrows its bound. */
  push(text: string): string[] {
    if (text === "") return [];
    const events: string[] = [];
    let from = this.#skipLf && text.startsWith("\n") ? 1 : 0;
    const breaks = /\r\n?|\n/g;
    breaks.lastIndex = from;
    for (let hit = breaks.exec(text); hit !== null; hit = breaks.exec(text)) {
      const event = this.#take(this.#partial + text.slice(from, hit.index));
      if (event !== null) events.push(event);
      this.#partial = "";
      from = breaks.lastIndex;
    }
    // A CR at the end may be the first half of a CRLF: its line is complete, and an LF that follows is not a new one.
    this.#skipLf = text.endsWith("\r");
    this.#partial += text.slice(from);
    if (this.#partial.length + this.#size > LIMIT) throw new RangeError("One event of the stream is too large.");
    return events;
  }

  #take(line: string): string | null {
    if (line === "") {
      if (this.#data.length === 0) return null;
      const event = this.#data.join("\n");
      this.#data = [];
      this.#size = 0;
      return event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    // A line that starts with a colon is a comment; `event`, `id` and `retry` mean nothing on /api/chat.
    if (field !== "data") return null;
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    this.#data.push(value);
    this.#size += value.length;
    return null;
  }
}

/** The data of each event, as it comes. An event that no blank line closed is dropped, as the specification says. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const cutter = new EventCutter();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* cutter.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Whoever stops reading early closes the connection; after its end or an error this does nothing.
    await reader.cancel().catch(() => undefined);
  }
}
