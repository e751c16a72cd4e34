"""What runs in the local model's own process: llama.cpp's server, and a guard that it never outlives the router.

    python -m trunkline.upstream.local_child --model FILE --parent PID ...

Only the standard library and `xllamacpp` are loaded here. One line of JSON on stdout says that the server is ready;
llama.cpp's own output goes to stderr. stdin carries nothing: its end is the end of the router.
"""

from __future__ import annotations

import argparse
import http.client
import importlib
import json
import os
import signal
import sys
import threading
from typing import IO, Any, Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies; on Linux, elsewhere `end_with_stdin` is all there is.

    The kernel means the *thread* that started this process: start it from one that lives as long as the router.
    A parent that died before this call gives no signal, hence the look afterwards.
    Source: https://man7.org/linux/man-pages/man2/pr_set_pdeathsig.2const.html
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - Linux only

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("The router is gone.")


def end_with_stdin() -> None:
    """End this process when stdin ends: the router holds the other end of the pipe and never writes to it.

    A thread of its own waits. While llama.cpp loads a model it keeps Python's lock, so the end comes after the loading.
    """

    def wait() -> None:
        try:
            while os.read(0, 4096):
                pass
        finally:
            os._exit(0)  # nothing here needs an orderly end, and llama.cpp's takes its time

    threading.Thread(target=wait, name="end-with-stdin", daemon=True).start()


def end_when_asked() -> None:
    """Let SIGTERM end this process at once, whatever the router had blocked or ignored when it started us."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def keep_stdout() -> IO[str]:
    """A file for the ready line. From now on whatever else writes to stdout, C code included, writes to stderr."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def announce(stdout: IO[str], *, port: int, context_tokens: int) -> None:
    """Say that the server answers: where, and how many tokens one conversation may hold."""
    print(json.dumps({"port": port, "context_tokens": context_tokens}), file=stdout, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trunkline.upstream.local_child", description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--alias", required=True, help="the model's name in requests and answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--slots", type=int, default=2, help="answers at the same time")
    parser.add_argument(
        "--context", type=int, default=4096, help="tokens a slot, at most what the model was trained for"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parent", type=int, required=True, help="the router's process")
    return parser.parse_args()


def _serve(options: argparse.Namespace) -> Any:
    """Load the model and start its server; returns when it listens. Exits with llama.cpp's reason on stderr."""
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as failure:
        sys.exit(f"xllamacpp cannot be loaded: {failure}")
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context  # the slots share it; llama.cpp caps each at the training length
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.verbosity = 2  # warnings and errors
    params.endpoint_metrics = True
    # What only a person's own llama.cpp server needs, and what would let a web page or another user look in.
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = f"http://{options.host}"
    # Its cache of prompts outside the slots may take 8 GiB by default.
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as failure:
        sys.exit(f"llama.cpp's server did not start: {failure}")


def _context_tokens(host: str, port: int, asked: int) -> int:
    """Ask the server what one slot may hold: it caps what was asked for at what the model was trained for."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/v1/models")
        meta = json.load(connection.getresponse())["data"][0]["meta"]
        return min(asked, int(meta["n_ctx"]), int(meta["n_ctx_train"]))
    except (KeyError, IndexError, TypeError, ValueError) as failure:
        sys.exit(f"llama.cpp's server describes its model in an unknown way: {failure!r}")
    finally:
        connection.close()


def main() -> NoReturn:
    """Serve until the router ends, or ends us."""
    options = _options()
    end_with_parent(options.parent)
    end_with_stdin()
    end_when_asked()
    stdout = keep_stdout()
    server = _serve(options)
    port = int(server.listening_address.rpartition(":")[2])
    announce(stdout, port=port, context_tokens=_context_tokens(options.host, port, options.context))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
