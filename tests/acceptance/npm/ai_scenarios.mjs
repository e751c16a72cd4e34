// Vercel's `ai`, the same for every provider package.

import { APICallError, Output, generateText, jsonSchema, streamText, tool } from "ai";

import { asked, drive, leave, prompt } from "./scenarios.mjs";

const TOOLS = Object.fromEntries(
  asked.tools.map(({ name, description, schema }) => [name, tool({ description, inputSchema: jsonSchema(schema) })]),
);
const FINISH = { "tool-calls": "tool_calls" };

/** Drive one provider package: `open` gives its model by name, `thinking` its options for a request that is to reason. */
export function driveAi(name, open, thinking) {
  const said = (model, scenario) => ({
    model: open(model),
    system: asked.system,
    messages: [{ role: "user", content: prompt(name, scenario) }],
    maxRetries: 0,
  });

  async function stream(model, seen, scenario, more = {}) {
    const controller = new AbortController();
    const given = { ...said(model, scenario), abortSignal: controller.signal, onError() {}, ...more };
    const pieces = {};
    for await (const part of streamText(given).fullStream) {
      if (part.type === "text-delta") seen.text = (seen.text ?? "") + part.text;
      if (part.type === "reasoning-delta") seen.reasoning = (seen.reasoning ?? "") + part.text;
      if (part.type === "tool-input-delta" && part.delta) pieces[part.id] = (pieces[part.id] ?? 0) + 1;
      if (part.type === "tool-call") call(seen, part, pieces[part.toolCallId] ?? 0);
      if (part.type === "finish-step") note(seen, part.usage, part.providerMetadata);
      if (part.type === "finish") seen.finish = FINISH[part.finishReason] ?? part.finishReason;
      if (part.type === "error") throw part.error;
      if (scenario === "leave" && seen.text && !seen.left_at) leave(seen, controller);
    }
  }

  async function whole(model, seen, scenario, more = {}) {
    const result = await generateText({ ...said(model, scenario), ...more });
    seen.text = result.text;
    seen.reasoning = result.reasoningText ?? "";
    for (const part of result.toolCalls) call(seen, part, 0);
    seen.finish = FINISH[result.finishReason] ?? result.finishReason;
    note(seen, result.usage, result.providerMetadata);
    return result;
  }

  const client = {
    stream: (model, seen) => stream(model, seen, "stream"),
    whole: (model, seen) => whole(model, seen, "whole"),
    tools: (model, seen) => stream(model, seen, "tools", { tools: TOOLS }),
    tools_whole: (model, seen) => whole(model, seen, "tools_whole", { tools: TOOLS }),
    answered: (model, seen) => {
      const calls = asked.calls.map(({ id, name, arguments: input }) => ({
        type: "tool-call",
        toolCallId: id,
        toolName: name,
        input,
      }));
      const results = asked.calls.map(({ id, name, result }) => ({
        type: "tool-result",
        toolCallId: id,
        toolName: name,
        output: { type: "text", value: result },
      }));
      return stream(model, seen, "answered", {
        tools: TOOLS,
        messages: [
          ...said(model, "answered").messages,
          { role: "assistant", content: calls },
          { role: "tool", content: results },
        ],
      });
    },
    structured: async (model, seen) => {
      const output = Output.object({ name: "answer", schema: jsonSchema(asked.schema) });
      seen.value = (await whole(model, seen, "structured", { output })).output;
    },
    image: (model, seen) => {
      const content = [
        { type: "text", text: prompt(name, "image") },
        { type: "image", image: asked.picture },
      ];
      return stream(model, seen, "image", { messages: [{ role: "user", content }] });
    },
    reasoning: (model, seen) => stream(model, seen, "reasoning", { providerOptions: thinking }),
    reasoning_whole: (model, seen) => whole(model, seen, "reasoning_whole", { providerOptions: thinking }),
    unknown: (model, seen) => stream(model, seen, "unknown"),
    limited: (model, seen) => stream(model, seen, "limited"),
    broken: (model, seen) => stream(model, seen, "broken"),
    cut: (model, seen) => stream(model, seen, "cut"),
    leave: (model, seen) => stream(model, seen, "leave"),
  };
  return drive(client, describe);
}

function call(seen, part, pieces) {
  (seen.calls ??= []).push({ name: part.toolName, input: JSON.stringify(part.input), pieces });
}

function note(seen, usage, metadata) {
  seen.usage = {
    input: usage.inputTokens ?? null,
    cached: usage.inputTokenDetails?.cacheReadTokens ?? null,
    output: usage.outputTokens ?? null,
    reasoning: usage.outputTokenDetails?.reasoningTokens ?? null,
  };
  seen.cost = metadata?.openrouter?.usage?.cost ?? null;
  seen.provider = metadata?.openrouter?.provider ?? null;
}

/** An error of the request has a status. One within a stream is what the provider package makes of it: a plain object. */
function describe(error) {
  const headers = APICallError.isInstance(error) ? error.responseHeaders : {};
  return {
    name: error.name ?? typeof error,
    status: error.statusCode ?? null,
    message: error.message ?? JSON.stringify(error),
    request_id: headers["x-request-id"] ?? null,
    retry_after: headers["retry-after"] ?? null,
  };
}
