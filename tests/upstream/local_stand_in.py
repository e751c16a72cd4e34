"""A stand-in for the local model's program: same arguments, same guard, same ready line, no model.

The first argument says how it behaves; see `BEHAVIOURS`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from trunkline.upstream.local_child import announce, end_when_asked, end_with_parent, end_with_stdin, keep_stdout

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT_TOKENS = 1234


def serve(port: int) -> NoReturn:
    """Listen, say so, and close each connection that comes."""
    stdout = keep_stdout()
    listener = socket.create_server(("127.0.0.1", port))
    announce(stdout, port=listener.getsockname()[1], context_tokens=CONTEXT_TOKENS)
    while True:
        listener.accept()[0].close()


def serve_stubbornly(port: int) -> NoReturn:
    """Serve, and take no notice of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(port)


def serve_loudly(port: int) -> NoReturn:
    """Write far more than the pipes hold, on both of them and from C's side too, then serve."""
    stdout = keep_stdout()
    for number in range(20_000):
        os.write(1 + number % 2, b"llama.cpp says line %d\n" % number)
    listener = socket.create_server(("127.0.0.1", port))
    announce(stdout, port=listener.getsockname()[1], context_tokens=CONTEXT_TOKENS)
    os.write(2, b"x" * 1_000_000)
    while True:
        listener.accept()[0].close()


def serve_then_die(port: int) -> NoReturn:
    """Get ready and die at once."""
    listener = socket.create_server(("127.0.0.1", port))
    announce(sys.stdout, port=listener.getsockname()[1], context_tokens=CONTEXT_TOKENS)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fail(port: int) -> NoReturn:
    """Never get ready, and say why."""
    sys.exit("failed to load model: invalid magic characters")


def mumble(port: int) -> NoReturn:
    """Say something else than ready."""
    os.write(1, b"Hello\n")
    hang(port)


def hang(port: int) -> NoReturn:
    """Never get ready."""
    os.write(2, b"loading model\n")
    while True:
        time.sleep(60)


BEHAVIOURS: dict[str, Callable[[int], NoReturn]] = {
    behaviour.__name__: behaviour
    for behaviour in (serve, serve_stubbornly, serve_loudly, serve_then_die, fail, mumble, hang)
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("behaviour", choices=BEHAVIOURS)
    parser.add_argument("--guard", choices=("parent", "stdin", "both"), default="both")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options, _ = parser.parse_known_args()
    if options.guard != "stdin":
        end_with_parent(options.parent)
    if options.guard != "parent":
        end_with_stdin()
    end_when_asked()
    BEHAVIOURS[options.behaviour](options.port)


if __name__ == "__main__":
    main()
