import { describe, expect, test } from "vitest";
import { EventCutter, readEvents } from "./sse";

const STREAM = [
  ": keep-alive",
  'data: {"content":"Grüße, 世界 🚂"}',
  "",
  "event: ignored",
  "id: 7",
  "retry: 10",
  "data:no space",
  "data:  two spaces",
  "data",
  "",
  "",
  "datax: not a field of ours",
  "data: [DONE]",
  "",
  "data: never closed",
].join("\n");

const EVENTS = ['{"content":"Grüße, 世界 🚂"}', "no space\n two spaces\n", "[DONE]"];

function streamOf(...chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function eventsOf(...chunks: readonly Uint8Array[]): Promise<string[]> {
  const events: string[] = [];
  for await (const event of readEvents(streamOf(...chunks))) events.push(event);
  return events;
}

describe.each([
  ["LF", "\n"],
  ["CRLF", "\r\n"],
  ["CR", "\r"],
])("lines that end in %s", (_name, end) => {
  const bytes = new TextEncoder().encode(STREAM.replaceAll("\n", end));

  test("give the same events wherever the bytes are cut in two", async () => {
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(await eventsOf(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(EVENTS);
    }
  });

  test("give the same events byte by byte, with empty chunks between", async () => {
    const single = Array.from(bytes, (_byte, at) => [bytes.subarray(at, at + 1), new Uint8Array()]).flat();
    expect(await eventsOf(...single)).toEqual(EVENTS);
  });
});

test("an event is given as soon as its blank line is there, not later", () => {
  const cutter = new EventCutter();
  expect(cutter.push("data: a\r\n")).toEqual([]);
  expect(cutter.push("\r")).toEqual(["a"]);
  expect(cutter.push("\ndata: b\n\n")).toEqual(["b"]);
});

test("a byte order mark at the start is skipped", async () => {
  expect(await eventsOf(new Uint8Array([0xef, 0xbb, 0xbf]), new TextEncoder().encode("data: a\n\n"))).toEqual(["a"]);
});

test("bytes that are not UTF-8 become replacement characters and stop nothing", async () => {
  const bytes = new TextEncoder().encode("data: a?b\n\ndata: c\n\n");
  bytes[bytes.indexOf(0x3f)] = 0xff;
  expect(await eventsOf(bytes)).toEqual(["a\ufffdb", "c"]);
});

test("one event that never ends is refused", () => {
  const cutter = new EventCutter();
  const piece = "x".repeat(1024 * 1024);
  expect(() => {
    for (let count = 0; count < 10; count += 1) cutter.push(count % 2 === 0 ? `data: ${piece}\n` : `data: ${piece}`);
  }).toThrow(RangeError);
});

test("leaving early cancels the stream", async () => {
  let isCancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: a\n\n")),
    cancel: () => {
      isCancelled = true;
    },
  });
  for await (const event of readEvents(endless)) {
    expect(event).toBe("a");
    break;
  }
  expect(isCancelled).toBe(true);
});
