// openai for npm, responses.

import OpenAI from "openai";

import { asked, describeApiError, drive, leave, prompt } from "./scenarios.mjs";

const NAME = "openai_responses";
const TOOLS = asked.tools.map(({ name, description, schema }) => ({
  type: "function",
  name,
  description,
  parameters: schema,
  strict: false,
}));
const REASONING = { reasoning: { effort: "low", summary: "auto" } };
const responses = new OpenAI({ baseURL: `${asked.url}/v1`, apiKey: "k", maxRetries: 0 }).responses;

const said = (scenario) => ({ instructions: asked.system, input: prompt(NAME, scenario) });

async function stream(model, seen, scenario, more = {}) {
  const controller = new AbortController();
  const body = { model, stream: true, ...said(scenario), ...more };
  const pieces = [];
  for await (const event of await responses.create(body, { signal: controller.signal })) {
    if (event.type === "response.output_text.delta") seen.text = (seen.text ?? "") + event.delta;
    if (event.type === "response.reasoning_summary_text.delta" || event.type === "response.reasoning_text.delta")
      seen.reasoning = (seen.reasoning ?? "") + event.delta;
    if (event.type === "response.function_call_arguments.delta") pieces.push(event.output_index);
    if (event.type === "response.completed") read(seen, event.response, pieces);
    if (scenario === "leave" && seen.text) leave(seen, controller);
  }
}

async function whole(model, seen, scenario, more = {}) {
  const response = await responses.create({ model, ...said(scenario), ...more });
  seen.text = response.output_text;
  read(seen, response, []);
}

/** Add what the finished response holds; `pieces` are the places of the items whose arguments came in pieces. */
function read(seen, response, pieces) {
  seen.calls = response.output.flatMap((item, place) =>
    item.type === "function_call"
      ? [{ name: item.name, input: item.arguments, pieces: pieces.filter((one) => one === place).length }]
      : [],
  );
  seen.reasoning ??= response.output
    .filter((item) => item.type === "reasoning")
    .flatMap((item) => [...(item.summary ?? []), ...(item.content ?? [])])
    .map((part) => part.text)
    .join("");
  seen.finish = response.status !== "completed" ? response.status : seen.calls.length ? "tool_calls" : "stop";
  seen.usage = {
    input: response.usage.input_tokens,
    cached: response.usage.input_tokens_details?.cached_tokens ?? null,
    output: response.usage.output_tokens,
    reasoning: response.usage.output_tokens_details?.reasoning_tokens ?? null,
  };
}

const client = {
  stream: (model, seen) => stream(model, seen, "stream"),
  whole: (model, seen) => whole(model, seen, "whole"),
  tools: (model, seen) => stream(model, seen, "tools", { tools: TOOLS }),
  tools_whole: (model, seen) => whole(model, seen, "tools_whole", { tools: TOOLS }),
  answered: (model, seen) => {
    const items = asked.calls.map(({ id, name, arguments: input }) => ({
      type: "function_call",
      call_id: id,
      name,
      arguments: JSON.stringify(input),
    }));
    const results = asked.calls.map(({ id, result }) => ({ type: "function_call_output", call_id: id, output: result }));
    const input = [{ role: "user", content: prompt(NAME, "answered") }, ...items, ...results];
    return stream(model, seen, "answered", { tools: TOOLS, input });
  },
  structured: async (model, seen) => {
    const format = { type: "json_schema", name: "answer", schema: asked.schema, strict: true };
    await whole(model, seen, "structured", { text: { format } });
    seen.value = JSON.parse(seen.text);
  },
  image: (model, seen) => {
    const content = [
      { type: "input_text", text: prompt(NAME, "image") },
      { type: "input_image", image_url: asked.picture, detail: "auto" },
    ];
    return stream(model, seen, "image", { input: [{ role: "user", content }] });
  },
  reasoning: (model, seen) => stream(model, seen, "reasoning", REASONING),
  reasoning_whole: (model, seen) => whole(model, seen, "reasoning_whole", REASONING),
  unknown: (model, seen) => stream(model, seen, "unknown"),
  limited: (model, seen) => stream(model, seen, "limited"),
  broken: (model, seen) => stream(model, seen, "broken"),
  cut: (model, seen) => stream(model, seen, "cut"),
  leave: (model, seen) => stream(model, seen, "leave"),
};

await drive(client, describeApiError);
