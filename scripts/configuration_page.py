"""Write docs/configuration.md from the tables in the code; with --check, fail if it is stale.

It also checks that .env.example names every variable.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import msgspec

from trunkline.core.catalog import Model, Quirks, Timeouts
from trunkline.core.resilience import BreakerLimits, HealthLimits, RetryLimits
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
`policy` is one or several of priority, weighted, fastest, cheapest, least_busy, sticky, auto: each decides among those
that the one before holds for equal. `hedge` asks a second target, too, while the first is slow, for one request in
twenty. `resume` lets a text that breaks off go on at another target: `true` at those that are known to go on from a
text that has begun, `"instruct"` at any, in words. `timeouts` are as above, for this route.
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
        + table("[timeouts], and `timeouts` of a provider: seconds", Timeouts)
        + table("[providers.NAME]", ProviderRow, INTERNAL)
        + table("`quirks` of a provider", Quirks)
        + table("`models` and `families` of a provider", Model)
        + MODELS
        + table("[models.NAME], a route", RouteRow)
        + table("a target of a route", LegRow)
        + ROUTES
        + table("[retries]", RetryLimits)
        + table("[breaker], for each target: seconds", BreakerLimits)
        + table("[health], for each target: seconds", HealthLimits)
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
