"""Other gateways, each installed from its registry into an environment of its own, configured as its own pages say.

All proxy chat completions to the benchmark's upstream, whatever the model's name is; those that know keys of clients
check the one that the clients send, and none logs requests more than it does by itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from native import BUILD
from servers import KEY, Missing, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from servers import Place

PATIENCE_S = 180.0
"""A slow one takes its time: what a chunk costs is to be seen, too, where the chunks come late."""

PROVIDER_KEY = "bench-provider-key"


class Package(NamedTuple):
    """What a registry has of a peer: its name there, its extra, and the versions of what it needs that work with it."""

    registry: str
    name: str
    configure: Callable[[Place, Path], Server]
    extra: str = ""
    pinned: Mapping[str, str] = MappingProxyType({})


def vllm_router(place: Place, home: Path) -> Server:
    """One worker, so the policy does not matter; as many requests at once as come."""
    command = [
        str(home / "bin" / "vllm-router"), "--host", "127.0.0.1", "--port", str(place.port),
        "--worker-urls", f"http://127.0.0.1:{place.upstream}", "--policy", "round_robin",
        "--max-concurrent-requests", "20000", "--queue-size", "20000",
        "--prometheus-port", str(place.spare),
    ]  # fmt: skip
    return Server("vllm-router", "", command)


def rolter(place: Place, home: Path) -> Server:
    """One provider, asked for by its name before the model's; a virtual key; no queue before the provider."""
    (place.folder / "rolter.toml").write_text(f"""
[server]
host = "127.0.0.1"
port = {place.port}
[[providers]]
name = "provider"
kind = "openai_compatible"
api_base = "http://127.0.0.1:{place.upstream}"
[queue]
enabled = false
[[virtual_keys]]
key = "{KEY}"
name = "bench"
models = []
""")
    command = [str(home / "bin" / "rolter"), "gateway", "--config", str(place.folder / "rolter.toml")]
    return Server("rolter", "", command, {"ROLTER_UPDATE_CHECK": "false"}, model="provider/")


def respan_gateway(place: Place, home: Path) -> Server:
    """One provider, asked for by its name before the model's; a client key; no log."""
    (place.folder / "gateway.toml").write_text(f"""
listen = "127.0.0.1:{place.port}"
log = "off"
ui = false
client_keys = ["{KEY}"]
[providers.provider]
vendor = "openai"
base_url = "http://127.0.0.1:{place.upstream}/v1"
key = "env:PROVIDER_KEY"
""")
    command = [str(home / "bin" / "respan-gateway"), "--config", str(place.folder / "gateway.toml")]
    return Server("respan-gateway", "", command, {"PROVIDER_KEY": PROVIDER_KEY}, model="provider/")


def litellm(place: Place, home: Path) -> Server:
    """One worker, any model, a master key, no database."""
    (place.folder / "config.yaml").write_text(f"""
model_list:
  - model_name: "*"
    litellm_params:
      model: "openai/*"
      api_base: http://127.0.0.1:{place.upstream}/v1
      api_key: {PROVIDER_KEY}
general_settings:
  master_key: {KEY}
""")
    command = [
        str(home / "bin" / "litellm"), "--config", str(place.folder / "config.yaml"),
        "--host", "127.0.0.1", "--port", str(place.port),
    ]  # fmt: skip
    return Server("litellm", "", command, {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"})


def portkey(place: Place, home: Path) -> Server:
    """No console; each request says in its headers where to go, and this machine is a host that is trusted."""
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{place.upstream}/v1",
    }
    command = [shutil.which("node") or "node", str(script), f"--port={place.port}", "--headless"]
    return Server("portkey", "", command, {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}, headers=headers)


OLDER_HONO = MappingProxyType({"@hono/node-server": "1.13.5"})
"""With a later one Portkey answers each stream with 500: https://github.com/Portkey-AI/gateway/issues/1389."""

PACKAGES = {
    "vllm-router": Package("PyPI", "vllm-router", vllm_router),
    "rolter": Package("PyPI", "rolter", rolter),
    "respan-gateway": Package("PyPI", "respan-gateway", respan_gateway),
    "litellm": Package("PyPI", "litellm", litellm, extra="[proxy]"),
    "portkey": Package("npm", "@portkey-ai/gateway", portkey, pinned=OLDER_HONO),
}
NOWHERE = {"ferrogw": "neither PyPI nor npm has it"}
"""Peers that no registry of packages has, and what is so."""


def installed(name: str) -> Callable[[Place], Server | Missing]:
    """This peer, installed when it is first started; or why it cannot be."""

    def configured(place: Place) -> Server | Missing:
        package = PACKAGES.get(name)
        if package is None:
            return Missing(name, NOWHERE.get(name, f"not one of {', '.join([*PACKAGES, *NOWHERE])}"))
        home = BUILD / "peers" / name
        failure = _install(package, home)
        if failure:
            return Missing(name, f"{package.registry}'s {package.name} could not be installed: {failure}")
        server = package.configure(place, home)
        return server._replace(version=_version(package, home), patience_s=PATIENCE_S)

    return configured


def _install(package: Package, home: Path) -> str:
    """Nothing, or what the registry's client said."""
    done = home / ".installed"
    if done.exists():
        return ""
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            return "npm is not here"
        home.mkdir(parents=True, exist_ok=True)
        wanted = {"private": True, "dependencies": {package.name: "latest"}, "overrides": dict(package.pinned)}
        (home / "package.json").write_text(json.dumps(wanted), encoding="utf-8")
        steps = [[npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(home)]]
    else:
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        steps = [[sys.executable, "-m", "venv", str(home)], [*pip, package.name + package.extra]]
    for step in steps:
        run = subprocess.run(step, capture_output=True, text=True, check=False)  # noqa: S603 - the registries' own clients
        if run.returncode:
            said = [line for line in run.stderr.splitlines() if line.strip()]
            return said[-1] if said else f"exit {run.returncode}"
    done.touch()
    return ""


def _version(package: Package, home: Path) -> str:
    if package.registry == "npm":
        described = home / "node_modules" / package.name / "package.json"
        return str(json.loads(described.read_text(encoding="utf-8"))["version"])
    asking = f"import importlib.metadata as m; print(m.version({package.name!r}))"
    run = subprocess.run([home / "bin" / "python", "-c", asking], capture_output=True, text=True, check=False)  # noqa: S603 - as above
    return run.stdout.strip()
