// @anthropic-ai/sdk, messages.

import Anthropic from "@anthropic-ai/sdk";

import { asked, describeApiError, drive, leave, prompt } from "./scenarios.mjs";

const NAME = "anthropic_messages";
const TOOLS = asked.tools.map(({ name, description, schema }) => ({ name, description, input_schema: schema }));
const THINKING = { thinking: { type: "enabled", budget_tokens: 1024 } };
const FINISH = { end_turn: "stop", tool_use: "tool_calls" };
const messages = new Anthropic({ baseURL: asked.url, apiKey: "k", maxRetries: 0 }).messages;

const said = (scenario) => ({
  max_tokens: 4096,
  system: asked.system,
  messages: [{ role: "user", content: prompt(NAME, scenario) }],
});

async function stream(model, seen, scenario, more = {}) {
  const controller = new AbortController();
  const running = messages.stream({ model, ...said(scenario), ...more }, { signal: controller.signal });
  const pieces = [];
  for await (const event of running) {
    if (event.type !== "content_block_delta") continue;
    if (event.delta.type === "text_delta") seen.text = (seen.text ?? "") + event.delta.text;
    if (event.delta.type === "thinking_delta") seen.reasoning = (seen.reasoning ?? "") + event.delta.thinking;
    if (event.delta.type === "input_json_delta" && event.delta.partial_json) pieces.push(event.index);
    if (scenario === "leave" && seen.text) leave(seen, controller);
  }
  read(seen, await running.finalMessage(), pieces);
}

async function whole(model, seen, scenario, more = {}) {
  read(seen, await messages.create({ model, ...said(scenario), ...more }), []);
}

/** Add what the whole message holds. Anthropic counts what came from the cache beside the input, not within it. */
function read(seen, message, pieces) {
  const texts = (type, key) => message.content.filter((block) => block.type === type).map((block) => block[key]).join("");
  seen.text ??= texts("text", "text");
  seen.reasoning ??= texts("thinking", "thinking");
  seen.calls = message.content.flatMap(({ type, name, input }, place) =>
    type === "tool_use"
      ? [{ name, input: JSON.stringify(input), pieces: pieces.filter((one) => one === place).length }]
      : [],
  );
  seen.finish = FINISH[message.stop_reason] ?? message.stop_reason;
  const { input_tokens, cache_read_input_tokens, output_tokens, output_tokens_details } = message.usage;
  seen.usage = {
    input: input_tokens + (cache_read_input_tokens ?? 0),
    cached: cache_read_input_tokens ?? null,
    output: output_tokens,
    reasoning: output_tokens_details?.thinking_tokens ?? null,
  };
}

const client = {
  stream: (model, seen) => stream(model, seen, "stream"),
  whole: (model, seen) => whole(model, seen, "whole"),
  tools: (model, seen) => stream(model, seen, "tools", { tools: TOOLS }),
  tools_whole: (model, seen) => whole(model, seen, "tools_whole", { tools: TOOLS }),
  answered: (model, seen) => {
    const calls = asked.calls.map(({ id, name, arguments: input }) => ({ type: "tool_use", id, name, input }));
    const results = asked.calls.map(({ id, result }) => ({ type: "tool_result", tool_use_id: id, content: result }));
    return stream(model, seen, "answered", {
      tools: TOOLS,
      messages: [
        { role: "user", content: prompt(NAME, "answered") },
        { role: "assistant", content: calls },
        { role: "user", content: results },
      ],
    });
  },
  structured: async (model, seen) => {
    const format = { type: "json_schema", schema: asked.schema };
    await whole(model, seen, "structured", { output_config: { format } });
    seen.value = JSON.parse(seen.text);
  },
  image: (model, seen) => {
    const [head, data] = asked.picture.split(",");
    const source = { type: "base64", media_type: head.slice("data:".length).split(";")[0], data };
    const content = [
      { type: "text", text: prompt(NAME, "image") },
      { type: "image", source },
    ];
    return stream(model, seen, "image", { messages: [{ role: "user", content }] });
  },
  reasoning: (model, seen) => stream(model, seen, "reasoning", THINKING),
  reasoning_whole: (model, seen) => whole(model, seen, "reasoning_whole", THINKING),
  unknown: (model, seen) => stream(model, seen, "unknown"),
  limited: (model, seen) => stream(model, seen, "limited"),
  broken: (model, seen) => stream(model, seen, "broken"),
  cut: (model, seen) => stream(model, seen, "cut"),
  leave: (model, seen) => stream(model, seen, "leave"),
};

await drive(client, describeApiError);
