"""The two C programs of the benchmark, and cores: build them, start them, drive them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

HERE = Path(__file__).parent
BUILD = HERE / "build"


class Spread(msgspec.Struct, frozen=True):
    """Times in microseconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Load(msgspec.Struct, frozen=True):
    """What the load client saw. Times in microseconds.

    `first_us` is from asking to the first piece of text, `answer_us` to the end of the answer; `added_us` is from the
    upstream's sending a piece to the client's having it.
    """

    requests: int
    pieces: int
    bytes: int
    errors: int
    reconnects: int
    first_error: str
    seconds: float
    first_us: Spread | None
    answer_us: Spread | None
    added_us: Spread | None


class Broken(Exception):
    """Something of the benchmark does not work; the message says what, and what would help."""


def build(name: str) -> Path:
    """The program of this C file, compiled anew if its source has changed."""
    binary, sources = BUILD / name, [HERE / f"{name}.c", HERE / "socket.h"]
    if binary.exists() and all(binary.stat().st_mtime > source.stat().st_mtime for source in sources):
        return binary
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Broken("A C compiler is needed to build the upstream and the load client (Debian: apt-get install gcc).")
    BUILD.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", binary, sources[0]], check=True)  # noqa: S603 - our own file
    return binary


class Cores:
    """Which core the servers run on, and which one the upstream, the clients and this program run on.

    One and the same where the machine has only one.
    """

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        self.server, self.load = usable[0], usable[-1]
        os.sched_setaffinity(0, {self.load})

    @property
    def are_apart(self) -> bool:
        """Whether servers and load have a core each."""
        return self.server != self.load

    @contextlib.contextmanager
    def for_server(self, workers: int = 1) -> Generator[None]:
        """What is started in this block runs on the servers' core; several workers run on the load's core, too."""
        os.sched_setaffinity(0, {self.server} if workers == 1 else {self.server, self.load})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})


@contextlib.contextmanager
def upstream() -> Generator[int]:
    """The upstream, on the load's core. Gives its port."""
    with subprocess.Popen([build("upstream"), "0"], stdout=subprocess.PIPE) as process:  # noqa: S603 - our own program
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Clients:
    """A load client that has warmed its server up when the block begins, and runs when it is told to."""

    def __init__(self, options: Mapping[str, int | str | list[str]]) -> None:
        arguments = [
            f"--{name.replace('_', '-')}={value}"
            for name, values in options.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        self._command: Sequence[str | Path] = [build("load"), *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        said = ""
        try:
            said = self._process.stdout.readline()
        finally:
            if said != "ready\n":
                self.__exit__()
        if said != "ready\n":
            raise Broken("The load client could not begin: is the server up?")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def go(self) -> None:
        """Begin."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> Load:
        """Wait for the end. Raises Broken if any answer was not whole: then no figure is worth anything."""
        out, _ = self._process.communicate()
        if not out:
            raise Broken("The load client has ended without a word: has the server?")
        load = msgspec.json.decode(out, type=Load)
        if load.errors:
            raise Broken(f"{load.errors} answers were not whole; the first: {load.first_error}.")
        return load


if __name__ == "__main__":
    sys.exit("Run bench/run.py.")
