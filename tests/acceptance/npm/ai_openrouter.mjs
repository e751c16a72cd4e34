// Vercel's `ai` with @openrouter/ai-sdk-provider, at OpenRouter's own base path.

import { createOpenRouter } from "@openrouter/ai-sdk-provider";

import { driveAi } from "./ai_scenarios.mjs";
import { asked } from "./scenarios.mjs";

const provider = createOpenRouter({ baseURL: `${asked.url}/api/v1`, apiKey: "k" });
const open = (model) => provider.chat(model, { usage: { include: true } });

await driveAi("ai_openrouter", open, { openrouter: { reasoning: { effort: "low" } } });
