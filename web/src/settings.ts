/** How the next message is asked. null and "" leave the choice to the router. */

export interface Settings {
  readonly model: string;
  readonly temperature: number | null;
  readonly maxTokens: number | null;
}

export const DEFAULTS: Settings = { model: "", temperature: null, maxTokens: null };

/** The router's own defaults and bounds on /api/chat. */
export const TEMPERATURE = { least: 0, most: 2, step: 0.1, usual: 0.7 } as const;
export const MAX_TOKENS = { least: 1, most: 1_000_000, usual: 10_000 } as const;
const MODEL_CHARACTERS = 256;

const PLACE = "trunkline.settings";

/** Settings out of what was stored or typed: whatever is not usable counts as not set. */
export function settingsOf(value: unknown): Settings {
  const given = typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  const { model, temperature, maxTokens } = given as { model?: unknown; temperature?: unknown; maxTokens?: unknown };
  return {
    model: typeof model === "string" ? model.trim().slice(0, MODEL_CHARACTERS) : "",
    temperature: within(temperature, TEMPERATURE),
    maxTokens: Number.isInteger(maxTokens) ? within(maxTokens, MAX_TOKENS) : null,
  };
}

/** The fields of a request that these settings stand for. */
export function fieldsOf(settings: Settings): { model?: string; temperature?: number; maxTokens?: number } {
  return {
    ...(settings.model !== "" && { model: settings.model }),
    ...(settings.temperature !== null && { temperature: settings.temperature }),
    ...(settings.maxTokens !== null && { maxTokens: settings.maxTokens }),
  };
}

/** What this browser remembers. A browser that keeps nothing gives the defaults. */
export function remembered(): Settings {
  try {
    return settingsOf(JSON.parse(localStorage.getItem(PLACE) ?? "null"));
  } catch {
    return DEFAULTS;
  }
}

export function remember(settings: Settings): void {
  try {
    localStorage.setItem(PLACE, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing: the settings hold until the page is left.
  }
}

function within(value: unknown, range: { readonly least: number; readonly most: number }): number | null {
  return typeof value === "number" && value >= range.least && value <= range.most ? value : null;
}
