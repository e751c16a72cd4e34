"""The servers under test: how each is configured as a proxy to the upstream, and started on the servers' core."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from native import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from native import Cores

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
"""What the clients send: Trunkline has to check it, the others pass it on."""

PATIENCE_S = 30.0
KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
"""What a server sees of the environment of whoever runs the benchmark."""


class Server(NamedTuple):
    """How one server is started, and what stands before the model's name there. No command: the upstream itself.

    `headers` come with every request. `workers`: it runs on every core if there is more than one. `patience_s` is how
    long its start and its last answers are waited for, `first` the model that is asked for to see that it answers.
    """

    name: str
    version: str
    command: list[str]
    environment: Mapping[str, str] = MappingProxyType({})
    model: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    workers: int = 1
    patience_s: float = PATIENCE_S
    first: str = "bench-1-0-0"


class Missing(NamedTuple):
    """A server that is not on this machine, and how it gets there."""

    name: str
    remedy: str


class Place(NamedTuple):
    """Where a server is to run: a folder of its own, its port, the upstream's, and a port that it may have besides."""

    folder: Path
    port: int
    upstream: int
    spare: int


class Running(NamedTuple):
    """A server that answers."""

    server: Server
    port: int
    pid: int
    started_s: float
    """From starting it to its first whole answer."""


def nginx(place: Place) -> Server | Missing:
    """One worker, no buffering of answers, keep-alive on both sides, no access log."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return Missing("nginx", "apt-get install nginx-light")
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {place.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place.folder / "nginx.conf").write_text(f"""{user}
worker_processes 1;
worker_rlimit_nofile 19000;
pid {place.folder}/nginx.pid;
error_log {place.folder}/log;
daemon off;
events {{ worker_connections 18000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_buffer_size 4m;
  client_max_body_size 64m;
{temporary}
  upstream provider {{ server 127.0.0.1:{place.upstream}; keepalive 8192; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
""")
    version = _version([program, "-v"], r"nginx/(\S+)")
    return Server("nginx", version, [program, "-c", str(place.folder / "nginx.conf"), "-e", str(place.folder / "log")])


def haproxy(place: Place) -> Server | Missing:
    """One thread, keep-alive on both sides with connections shared, no log, each piece sent on at once."""
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return Missing("haproxy", "apt-get install haproxy")
    (place.folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  option http-no-delay
  http-reuse always
frontend clients
  bind 127.0.0.1:{place.port} backlog 4096
  default_backend provider
backend provider
  server one 127.0.0.1:{place.upstream}
""")
    version = _version([program, "-v"], r"version (\d[\d.]*)")
    return Server("haproxy", version, [program, "-db", "-f", str(place.folder / "haproxy.cfg")])


def trunkline(place: Place, workers: int = 1) -> Server:
    """`trunkline serve` with one provider and a secret: each request is authorised, planned, metered and logged."""
    (place.folder / "trunkline.toml").write_text(f"""
default_model = "provider/bench"

[providers.provider]
dialect = "openai_chat"
base_url = "http://127.0.0.1:{place.upstream}/v1"
api_key = "env:PROVIDER_KEY"
""")
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(place.port),
        "TRUNKLINE_WORKERS": str(workers),
        "TRUNKLINE_ADMIN_SECRET": KEY,
        "TRUNKLINE_DATA_DIR": str(place.folder / "data"),
        "PROVIDER_KEY": "bench-provider-key",
    }
    command = [sys.executable, "-m", "trunkline", "serve"]
    version = _version([*command[:3], "--version"], r"(\d+\.\S+)")
    return Server("trunkline", version, command, environment, model="provider/", workers=workers)


def direct(_: Place) -> Server:
    """No proxy at all: the clients ask the upstream."""
    return Server("direct", "", [])


def peer(given: str) -> Callable[[Place], Server]:
    """A server that the command line describes: `NAME=COMMAND`, with {port}, {upstream} and {folder} in the command."""
    name, _, command = given.partition("=")

    def configured(place: Place) -> Server:
        words = command.format(port=place.port, upstream=f"http://127.0.0.1:{place.upstream}", folder=place.folder)
        return Server(name, "", ["/bin/sh", "-c", f"exec {words}"], {"PORT": str(place.port)})

    return configured


SERVERS: dict[str, Callable[[Place], Server | Missing]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "trunkline": trunkline,
    "direct": direct,
}


@contextlib.contextmanager
def started(
    configure: Callable[[Place], Server | Missing], folder: Path, upstream: int, cores: Cores
) -> Generator[Running | Missing]:
    """The server, once it answers; or what is missing. Raises Broken, with its log, if it does not come up."""
    port = free_port()
    folder.mkdir()
    server = configure(Place(folder, port, upstream, free_port()))
    if isinstance(server, Missing):
        yield server
        return
    if not server.command:
        yield Running(server, upstream, 0, 0.0)
        return
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    begun = time.perf_counter()
    with (folder / "out").open("wb") as out, cores.for_server(server.workers):
        process = subprocess.Popen(  # noqa: S603 - the commands above, or the user's own
            server.command, cwd=folder, env={**kept, **server.environment}, stdout=out, stderr=out
        )
    try:
        _await_answer(server, port, process, folder / "out")
        yield Running(server, port, process.pid, time.perf_counter() - begun)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _await_answer(server: Server, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    body = f'{{"model":"{server.model}{server.first}","messages":[{{"role":"user","content":"x"}}]}}'
    headers = "".join(f"{name}: {value}\r\n" for name, value in server.headers.items())
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n{headers}"
        f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    deadline = time.perf_counter() + server.patience_s
    said = b""
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as one:
            one.sendall(request)
            said = b"".join(iter(lambda: one.recv(65536), b""))
            if said.startswith(b"HTTP/1.1 200") and b"finish_reason" in said:
                return
        time.sleep(0.002)
    printed = log.read_text(errors="replace")[-2000:]
    raise Broken(f"{server.name} does not answer: {said[:300].decode(errors='replace')}\n{printed}")


def _version(command: list[str], pattern: str) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the programs above
    found = re.search(pattern, run.stdout + run.stderr)
    return found.group(1) if found else ""
