"""Write docs/configuration.md from the tables in the code; with --check, fail if it is stale.

It also checks that .env.example names every variable.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import msgspec

from trunkline.core.catalog import Model, Quirks, Timeouts
from trunkline.core.difficulty import Scale
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
from trunkline.settings.prices import PriceRow
from trunkline.settings.reading import presets
from trunkline.settings.routes import LegRow, RouteRow
from trunkline.settings.values import ProviderRow, Server
from trunkline.settings.variables import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / ".env.example"

TOP = """# Configuration

*Made from the code by `make docs`; `make check` fails when it is stale.*

A value is looked for in this order: command-line flag, environment, `.env` in the working directory, `trunkline.toml`,
default. An empty value, and the placeholder of `.env.example`, count as unset. Mistakes are reported all together, and
the router does not start with one.

## Environment variables

| variable | meaning | default |
|---|---|---|
"""

PROVIDERS = """
## Providers

A key in the environment switches its provider on; where it may have several names, the first that is set counts. A
server of your own, which needs none, is switched on by its address. The first that is on, in this order, answers
requests that name no model.

| provider | dialect | switched on by | also reads | model by default | the vendor's page |
|---|---|---|---|---|---|
"""

SIGNED = """
### Credentials that a machine has for other reasons

AWS and Google credentials, and `GITHUB_TOKEN`, are on many machines for reasons of their own, and whoever reaches the
router would spend on them. So they switch nothing on by themselves:

- **Amazon Bedrock** takes a key of its own, `AWS_BEARER_TOKEN_BEDROCK`. With `TRUNKLINE_BEDROCK=1` its requests are
  signed instead, by `AWS_ACCESS_KEY_ID` and its companions, else by what botocore finds in the process's environment
  and on the machine: profiles, single sign-on, web identity, roles. That needs `pip install 'trunkline[bedrock]'`.
  Either way `AWS_REGION` says where. `bedrock` speaks OpenAI's chat completions, `bedrock-claude` Anthropic's messages.
- **Vertex AI** is switched on as Google's own SDK is, by `GOOGLE_GENAI_USE_VERTEXAI=true` and `GOOGLE_CLOUD_PROJECT`.
  It needs `pip install 'trunkline[vertex]'`. The credentials are those of `GOOGLE_APPLICATION_CREDENTIALS`, else the
  machine's own. Google's models are served; Anthropic's on Vertex speak a form of their own, which is not.
- **GitHub**: `GITHUB_API_KEY=$GITHUB_TOKEN`, or `api_key = "env:GITHUB_TOKEN"` under `[providers.github]`. GitHub ended
  that service on 2026-07-30.

A second region or project is a row of its own:

```toml
[providers.frankfurt]
preset = "bedrock"
fill = { region = ["eu-central-1"] }
```
"""

TOML = """
## trunkline.toml

Optional; `--config` or `TRUNKLINE_CONFIG` names another file. Unknown keys are refused. Secrets do not belong into it:
`api_key = "env:NAME"` reads one from the environment.

```toml
default_model = "openrouter/anthropic/claude-sonnet-4"   # for requests to /api/chat that name none

[aliases]
fast = "groq/openai/gpt-oss-120b"

[models.quick]                  # a route: several targets under one name
targets = ["groq/openai/gpt-oss-120b", { target = "openrouter/openai/gpt-oss-120b", weight = 2 }]
policy = ["sticky", "cheapest"]

[retries]
attempts = 2                    # after the first, for one request

[providers.groq.timeouts]       # change a row that ships with Trunkline
first_token_s = 20

[providers.workshop]            # or add one
dialect = "openai_chat"
base_url = "http://10.0.0.5:8000/v1"
credentials = ["env:WORKSHOP_KEY", "env:WORKSHOP_KEY_2"]   # or api_key = "env:WORKSHOP_KEY"
models = [{ id = "qwen3-8b", context_tokens = 32768, max_output_tokens = 8192 }]
```

Which provider a model's name means; the first hit wins: a route; an alias; `provider/model` when that provider is on;
a slug that an aggregator serves (`openai/gpt-4o` through OpenRouter); a bare name that a provider's row lists.
"""


MODELS = """
`offers` are what a model takes and gives besides text: images, files, audio, tools, schema, embeddings; nothing else is
asked of it. `thinking` is how it is asked to think: `effort` (by a word), `budget` (by a limit in tokens) or `never`. A
family is what is known of all models whose names begin with its `id`.
"""

ROUTES = """
```toml
[models.fast]
targets = [
    "groq/llama-3.3-70b-versatile",
    { target = "openrouter/meta-llama/llama-3.3-70b-instruct", weight = 2, max_price = 0.8 },
    { target = "local/smollm2-135m", caller = "batch" },
]
policy = ["sticky", "cheapest"]
timeouts = { first_token_s = 10 }
```

Each target is `provider/model`, an alias, or a slug that an aggregator serves; it must be there when the router starts,
except one on this machine. `weight` is its part among the weighted, the sticky and the least busy. The others are
conditions: `needs` (images, files, audio, tools, schema: only for requests that need one of these), `max_price` (only
while a million tokens of output cost no more dollars), `region` and `caller` (tags that the request or its key must
carry), `canary` (the share of conversations, 0 to 1, that try it first) and `tier` (0, 1 or 2: how much it can do, for
`auto`).

`policy` is one or several of priority, weighted, fastest, cheapest, least_busy, sticky, auto: each decides among those
that the one before holds for equal. `hedge` asks a second target, too, while the first is slow, for at most one request
in twenty of the last minute. `resume` lets a text that breaks off go on at another target: `true` at those that are
known to go on from a text that has begun, `"instruct"` at any, in words. `timeouts` are as above, for this route.
"""

CREDENTIALS = """
Several keys for one provider share its requests, and each is spared on its own when it is refused or limited:

```toml
[providers.groq]
credentials = ["env:GROQ_KEY_1", "env:GROQ_KEY_2"]
```
"""

PROXY = """
### Proxies

No proxy is used unless this file names one; `HTTPS_PROXY` and its like change nothing by themselves.

```toml
[server]
proxy = "http://proxy.corp:3128"    # for all providers

[providers.openai]
proxy = "env:OPENAI_PROXY"          # one of its own; http://user:password@host:port in that variable

[providers.workshop]
proxy = "direct"                    # none, though the server has one
```

It must be an HTTP proxy that opens tunnels (CONNECT), for `http` addresses as well. A user name and a password are
secrets: they come from the environment, never from this file, percent-encoded where they hold `/`, `?`, `#`, `%` or
`:`, and are sent by the Basic scheme, so in the clear, to the proxy alone. The server's proxy does not lead to a
`base_url` that is `localhost` or a private address; a row's own does. `connect_s` covers the tunnel, too. TLS is to the
provider, inside the tunnel: a proxy that opens it is refused, unless the system trusts its certificates. Tokens of
Google's, and what botocore asks of AWS over https, go the way of their provider's row.

Behind a proxy, names are looked up by the proxy: that a public name does not lead to a private address is then for the
proxy to see to. A private address that is written, and `localhost`, still need `allow_private`. The proxy itself may
have any address ([why all this](decisions/0009-a-proxy-is-a-tunnel.md)).
"""

SERVER = """
`idempotency_hours` is for how long the answer to an `Idempotency-Key` is kept, in the data directory; 0: the header
is refused ([what is stored](reliability.md#when-a-client-asks-again)).
"""

RETRIES = """
```toml
[retries]
attempts = 3        # after the first, for one request
share = 0.1         # of a retry that each request earns for all of them together, within window_s
```

`reserve_per_s` retries a second are there whatever was earned, `concurrent` of them at once. Before the same target is
tried again, a random part of `backoff_s` passes, doubled each time up to `longest_backoff_s`. Shares are from 0 to 1.
"""

BREAKER = """
```toml
[breaker]
consecutive = 3     # failures in a row after which a target is left alone
open_s = 10         # for so long; then one request tries
```

It also opens when at least `least` answers within `window_s` failed by `share` or more. By chance up to `jitter` of the
wait is left out. Where the request that tries takes longer than `quick_s` to fail, the next waits twice as long, up to
`longest_s`; with `quick_s = 0` each failure doubles the wait. After it closes, a target's traffic grows from
`slow_start_share` to all within `slow_start_s`. Where fewer than `panic_share` of a route's targets are left, breakers
are not believed and all are asked; 0 believes them always. Breakers are per process.
"""

HEALTH = """
```toml
[health]
cool_s = 2          # how long a limit on the rate is respected where the provider does not say
```

Where it does say, it is respected for up to `longest_cool_s`. A refused key is tried again after `refused_s`, twice as
long each time, up to `longest_refused_s`. Averages forget half of what they knew in `half_life_s`.
"""

PRICES = """
```toml
[prices."openai/gpt-4.1"]       # what is agreed with the vendor; dollars for a million tokens
input = "1.80"
output = "7.20"
cached = 0.45

[prices."ollama/qwen3"]         # a server of your own: not known unless you say so
input = 0
output = 0
```

Other prices come from [genai-prices](https://github.com/pydantic/genai-prices), as of the installed version: each
vendor's list, by `price_list` of the provider's row. They are written to the cache directory at the first start;
nothing is asked over the network. Upgrade it, reload, and they are new; so is a price that has changed on its day. What
is not in a list has no known price, and is never taken to be free.

A price that depends on the length of the input is exact, as is one that begins on a day. Where it depends on the hour,
the dearest of the day counts. Tokens of audio and pictures count as text; what is written to a cache counts as kept for
five minutes; fees for searches, priority and batches are left out. What an upstream says that a request has cost comes
before all of this. `request` is for each request; `cached`, `cache_write` and `reasoning` cost what plain tokens do
unless they are given.
"""

AUTO = """
```toml
[auto]
long_bytes = 8_000  # of text; more gives the points of `long`
tools = 0           # points: they count for nothing here
tier_2 = 3          # from so many points on, a request asks for tier 2
```

What gives points: text over `long_bytes`, and over `very_long_bytes`; in the last message `code`, words that ask for an
`argument`, letters of another `script` than Latin (more than `script_share` of them); a request for more than a little
`thinking`; `tools`; a `schema`; `media` (pictures, files, sound). From `tier_1` points on, a request asks for a target
of tier 1, from `tier_2` on for one of tier 2. [Routing](routing.md) has an example.
"""

INTERNAL = frozenset(
    {"keys", "needs_key", "switch", "base_url_variable", "model_variable", "auth_variables", "retired"}
)
"""Fields of a row that only those which ship with Trunkline have a use for."""


def default_of(struct: type[msgspec.Struct], name: str) -> str:
    """A field's default as TOML would write it."""
    value = next(field.default for field in msgspec.structs.fields(struct) if field.name == name)
    if value is None or value is msgspec.NODEFAULT or value in ("", (), frozenset()):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return str(list(value)).replace("'", '"')
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def table(title: str, struct: type[msgspec.Struct], hidden: frozenset[str] = frozenset()) -> str:
    """One table of trunkline.toml."""
    names = [field.name for field in msgspec.structs.fields(struct) if field.name not in hidden]
    rows = "".join(f"| `{name}` | {f'`{shown}`' if (shown := default_of(struct, name)) else ''} |\n" for name in names)
    return f"\n### {title}\n\n| key | default |\n|---|---|\n{rows}"


def provider_line(name: str, row: ProviderRow) -> str:
    """One provider's line of the table."""
    cells = (
        f"{row.label} (`{name}`)",
        f"`{row.dialect}`",
        " or ".join(f"`{variable}`" for variable in row.switches),
        ", ".join(f"`{variable}`" for variable in row.variables if variable not in row.switches),
        f"`{row.default_model}`" if row.default_model else "",
        f"<{row.source}>" + (f" (ended on {row.retired})" if row.retired else ""),
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """The whole page."""
    rows = "".join(
        f"| `{v.name}` | {v.meaning} | {f'`{v.shown_default}`' if v.shown_default else ''} |\n" for v in VARIABLES
    )
    rows += "| `TRUNKLINE_CONFIG` | The configuration file. | `trunkline.toml` |\n"
    providers = "".join(provider_line(name, row) for name, row in presets().items())
    directories = frozenset({"admin_secret", "data_dir", "cache_dir"})
    return (
        TOP
        + rows
        + PROVIDERS
        + providers
        + SIGNED
        + TOML
        + table("[server]", Server, directories)
        + SERVER
        + table("[timeouts], and `timeouts` of a provider: seconds", Timeouts)
        + table("[providers.NAME]", ProviderRow, INTERNAL)
        + CREDENTIALS
        + PROXY
        + table("`quirks` of a provider", Quirks)
        + table("`models` and `families` of a provider", Model, frozenset({"price"}))
        + MODELS
        + table("[models.NAME], a route", RouteRow)
        + table("a target of a route", LegRow)
        + ROUTES
        + table('[prices."provider/model"]: dollars for a million tokens', PriceRow)
        + PRICES
        + table("[retries]", RetryLimits)
        + RETRIES
        + table("[breaker], for each target: seconds", BreakerLimits)
        + BREAKER
        + table("[health], for each target: seconds", HealthLimits)
        + HEALTH
        + table("[auto], what the policy `auto` takes for difficult", Scale)
        + AUTO
    )


def unnamed_in_example() -> list[str]:
    """The variables that .env.example forgot."""
    example = EXAMPLE.read_text(encoding="utf-8")
    names = [v.name for v in VARIABLES] + [row.switches[0] for row in presets().values()]
    return [name for name in names if f"{name}=" not in example]


def main() -> int:
    """Write or check; the exit code."""
    made = page()
    if forgotten := unnamed_in_example():
        print(f".env.example does not name {', '.join(forgotten)}")
        return 1
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if written == made:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(written.splitlines(keepends=True), made.splitlines(keepends=True), "written", "made")
    )
    print("docs/configuration.md is stale: run `make docs`.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
