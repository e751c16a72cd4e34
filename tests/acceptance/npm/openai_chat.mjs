// openai for npm, chat completions.

import OpenAI from "openai";

import { asked, describeApiError, drive, leave, prompt } from "./scenarios.mjs";

const NAME = "openai_chat";
const TOOLS = asked.tools.map(({ name, description, schema }) => ({
  type: "function",
  function: { name, description, parameters: schema },
}));
const chat = new OpenAI({ baseURL: `${asked.url}/v1`, apiKey: "k", maxRetries: 0 }).chat.completions;

const messages = (scenario) => [
  { role: "system", content: asked.system },
  { role: "user", content: prompt(NAME, scenario) },
];

async function stream(model, seen, scenario, more = {}) {
  const controller = new AbortController();
  const body = { model, messages: messages(scenario), stream: true, stream_options: { include_usage: true }, ...more };
  for await (const chunk of await chat.create(body, { signal: controller.signal })) {
    if (chunk.usage) note(seen, chunk.usage);
    const choice = chunk.choices[0];
    if (!choice) continue;
    take(seen, choice.delta);
    if (choice.finish_reason) seen.finish = choice.finish_reason;
    if (scenario === "leave" && seen.text) leave(seen, controller);
  }
}

async function whole(model, seen, scenario, more = {}) {
  const completion = await chat.create({ model, messages: messages(scenario), ...more });
  note(seen, completion.usage);
  take(seen, completion.choices[0].message);
  seen.finish = completion.choices[0].finish_reason;
}

/** Add what a delta or a message holds. Reasoning is no field of OpenAI's: providers have two names for it. */
function take(seen, piece) {
  if (piece.content) seen.text = (seen.text ?? "") + piece.content;
  const thought = piece.reasoning ?? piece.reasoning_content;
  if (thought) seen.reasoning = (seen.reasoning ?? "") + thought;
  for (const [place, call] of (piece.tool_calls ?? []).entries()) {
    seen.calls ??= [];
    const known = (seen.calls[call.index ?? place] ??= { name: "", input: "", pieces: 0 });
    known.name += call.function?.name ?? "";
    known.input += call.function?.arguments ?? "";
    known.pieces += call.function?.arguments ? 1 : 0;
  }
}

function note(seen, usage) {
  seen.usage = {
    input: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? null,
    output: usage.completion_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? null,
  };
}

const client = {
  stream: (model, seen) => stream(model, seen, "stream"),
  whole: (model, seen) => whole(model, seen, "whole"),
  tools: (model, seen) => stream(model, seen, "tools", { tools: TOOLS }),
  tools_whole: (model, seen) => whole(model, seen, "tools_whole", { tools: TOOLS }),
  answered: (model, seen) => {
    const calls = asked.calls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: JSON.stringify(call.arguments) },
    }));
    return stream(model, seen, "answered", {
      tools: TOOLS,
      messages: [
        ...messages("answered"),
        { role: "assistant", content: null, tool_calls: calls },
        ...asked.calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result })),
      ],
    });
  },
  structured: async (model, seen) => {
    const format = { type: "json_schema", json_schema: { name: "answer", schema: asked.schema, strict: true } };
    await whole(model, seen, "structured", { response_format: format });
    seen.value = JSON.parse(seen.text);
  },
  image: (model, seen) => {
    const content = [
      { type: "text", text: prompt(NAME, "image") },
      { type: "image_url", image_url: { url: asked.picture } },
    ];
    return stream(model, seen, "image", { messages: [{ role: "user", content }] });
  },
  reasoning: (model, seen) => stream(model, seen, "reasoning", { reasoning_effort: "low" }),
  reasoning_whole: (model, seen) => whole(model, seen, "reasoning_whole", { reasoning_effort: "low" }),
  unknown: (model, seen) => stream(model, seen, "unknown"),
  limited: (model, seen) => stream(model, seen, "limited"),
  broken: (model, seen) => stream(model, seen, "broken"),
  cut: (model, seen) => stream(model, seen, "cut"),
  leave: (model, seen) => stream(model, seen, "leave"),
};

await drive(client, describeApiError);
