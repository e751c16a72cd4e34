// Vercel's `ai` with @ai-sdk/openai-compatible.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

import { driveAi } from "./ai_scenarios.mjs";
import { asked } from "./scenarios.mjs";

const open = createOpenAICompatible({
  name: "trunkline",
  baseURL: `${asked.url}/v1`,
  apiKey: "k",
  includeUsage: true,
  supportsStructuredOutputs: true,
});

await driveAi("ai_openai_compatible", open, { trunkline: { reasoningEffort: "low" } });
