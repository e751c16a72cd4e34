// What every npm client is asked, and how what it saw is told: one JSON object on stdout, by upstream and scenario.
//
// The tests tell on standard input: the router's `url`, the `upstreams` (names of its providers), the `scenarios`, and what
// is said in them: `system`, `tools`, `calls` (what was called in the turn before, with each result), `picture`, `schema`.

import { readFileSync } from "node:fs";
import { basename } from "node:path";

export const asked = JSON.parse(readFileSync(0, "utf8"));

const ME = basename(process.argv[1], ".mjs");

/** The user's words: the upstreams read in them what to play, and the journals for whom. */
export function prompt(client, scenario) {
  return `scenario=${scenario}; client=${client};`;
}

/** The client leaves. Tells when, in seconds of the clock that the tests' event loop has, too. */
export function leave(seen, controller) {
  seen.left_at = Number(process.hrtime.bigint()) / 1e9;
  controller.abort();
}

/**
 * Run the scenarios for every upstream, one after the other.
 *
 * `client` has a function for each scenario. It writes what it sees into `seen`, so that what came before an error is told,
 * too; `describe` tells the error. Each client has a model of its own for each scenario: none sees what another did to a
 * model's health.
 */
export async function drive(client, describe) {
  const told = {};
  for (const upstream of asked.upstreams) {
    told[upstream] = {};
    for (const scenario of asked.scenarios) {
      const model = scenario === "unknown" ? "nobody-serves-this" : `${upstream}/m-${ME}-${scenario}`;
      const seen = {};
      try {
        await client[scenario](model, seen);
      } catch (error) {
        seen.error = describe(error);
      }
      told[upstream][scenario] = seen;
    }
  }
  console.log(JSON.stringify(told));
}

/** What the errors of OpenAI's and of Anthropic's client have in common. */
export function describeApiError(error) {
  return {
    name: error.constructor.name,
    status: error.status ?? null,
    message: error.message,
    request_id: error.requestID ?? null,
    retry_after: error.headers?.get("retry-after") ?? null,
  };
}
