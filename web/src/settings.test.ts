import { expect, test } from "vitest";
import { DEFAULTS, fieldsOf, settingsOf } from "./settings";

test("what is not set is not sent", () => {
  expect(fieldsOf(DEFAULTS)).toEqual({});
  const settings = { model: "openrouter/auto", temperature: 0, maxTokens: 1 };
  expect(fieldsOf(settings)).toEqual(settings);
});

test.each([
  [null],
  [7],
  [{ model: 7, temperature: "hot", maxTokens: "many" }],
  [{ model: "  ", temperature: Number.NaN, maxTokens: 0 }],
  [{ temperature: 2.1, maxTokens: 1.5 }],
  [{ temperature: -0.1, maxTokens: 1_000_001 }],
])("what the router would refuse counts as not set: %j", (stored) => {
  expect(settingsOf(stored)).toEqual(DEFAULTS);
});

test("a model's name is trimmed and bounded", () => {
  expect(settingsOf({ model: " a/b " }).model).toBe("a/b");
  expect(settingsOf({ model: "m".repeat(300) }).model).toHaveLength(256);
});
