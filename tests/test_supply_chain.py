"""What is installed and what is shipped (S20): locked by hash, built the same twice, with no trace of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")

PTH_FILES = {
    "_editable_impl_trunkline.pth": re.compile(r"/[^\n]*/src\n?"),
    "distutils-precedence.pth": re.compile(r"import os; var = 'SETUPTOOLS_USE_DISTUTILS';[^\n]*\n?"),
    "_virtualenv.pth": re.compile(r"import _virtualenv\n?"),
}
"""Files of code that runs at every start of Python: this package's path, and what setuptools and virtualenv bring."""

REGISTRY = re.compile(
    r"https?://(?!127\.|localhost)[^\s\"'<>)]*(?:/simple\b|pythonhosted\.org|registry\.|/registry\b|artifactory|nexus|npmjs\.(?:org|com)/)"
)

PINNED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)(?:\[[a-z,-]+\])?==(?P<version>\S+)(?: ; [^\\]+?)?(?: --hash=sha256:[0-9a-f]{64})+"
)


def pinned(lock: str) -> dict[str, str]:
    """The versions by name. Fails for a line that is anything but a version and its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    found = [PINNED.fullmatch(line) for line in lines if line]
    unlike = [line[:100] for line, match in zip(filter(None, lines), found, strict=True) if match is None]
    assert unlike == [], f"{lock} holds something without a version and a hash"
    return {match["name"]: match["version"] for match in found if match is not None}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_holds_a_hash_for_everything_and_no_address(lock: str) -> None:
    assert len(pinned(lock)) > 20
    assert "://" not in (ROOT / lock).read_text()
    assert f"--require-hashes -r {lock}" in (ROOT / "Makefile").read_text()


def test_the_tests_run_on_the_versions_that_users_get() -> None:
    for_users, for_tests = (pinned(lock) for lock in LOCKS)
    assert for_tests.items() >= for_users.items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        "requirements.lock": [
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["local"],
            *project["dependency-groups"]["build"],
        ],
        "requirements-dev.lock": project["dependency-groups"]["dev"],
    }
    for lock, requirements in wanted.items():
        names = {re.split(r"[\[<>=;~! ]", requirement)[0].lower() for requirement in requirements}
        assert names <= pinned(lock).keys()


@pytest.mark.parametrize("place", ["web", "tests/acceptance/npm"])
def test_a_lock_file_of_npms_holds_a_hash_for_everything_and_no_registry(place: str) -> None:
    lock = json.loads((ROOT / place / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 10
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_nothing_but_known_pth_files_runs_when_python_starts() -> None:
    unknown = [
        path.name
        for path in Path(sysconfig.get_path("purelib")).glob("*.pth")
        if path.name not in PTH_FILES or PTH_FILES[path.name].fullmatch(path.read_text()) is None
    ]
    assert unknown == []


def _copied(to: Path) -> Path:
    """The tree as a build needs it; every file is new."""
    to.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copyfile(ROOT / name, to / name)
    shutil.copytree(
        ROOT / "src", to / "src", ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile
    )
    return to


async def _wheel(tree: Path, **environment: str) -> Path:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist",
        cwd=tree,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    (wheel,) = (tree / "dist").iterdir()
    return wheel


async def test_the_wheel_is_the_same_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    first = _copied(tmp_path / "here")
    second = tmp_path / "elsewhere and later"
    shutil.copytree(first, second)
    for path in second.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1_900_000_000, 1_900_000_000))
    one = await _wheel(first, TZ="Asia/Tokyo", LANG="C")
    other = await _wheel(second, TZ="America/New_York", LANG="C.UTF-8", PYTHONHASHSEED="1")
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()


async def test_the_wheel_holds_what_the_program_needs_and_nothing_else(tmp_path: Path) -> None:
    tree = _copied(tmp_path / "tree")
    (tree / "src" / "trunkline" / "web" / "index.html").touch()
    with zipfile.ZipFile(await _wheel(tree)) as wheel:
        names = set(wheel.namelist())
    sources = {str(path.relative_to(tree / "src")) for path in (tree / "src").rglob("*") if path.is_file()}
    assert sources <= names
    assert {
        "trunkline/py.typed",
        "trunkline/presets/providers.toml",
        "trunkline/web/index.html",
        "trunkline/store/migrations/env.py",
        "trunkline/store/migrations/script.py.mako",
    } <= names
    assert any(name.startswith("trunkline/store/migrations/versions/chat_") for name in names)
    beside = {name for name in names - sources if ".dist-info/" not in name}
    assert beside == set()


def _committed() -> dict[str, str]:
    """The text of every file that git tracks. Skips where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    files = (ROOT / name for name in listed.split("\0") if name)
    return {str(path.relative_to(ROOT)): path.read_text(errors="replace") for path in files if path.is_file()}


def _of_this_machine() -> set[str]:
    """Its paths, and the hosts that its pip and npm are configured with."""
    paths = {f"{path}/" for path in (ROOT, Path(sys.base_prefix)) if len(path.parts) > 2}
    if Path.home() != Path("/"):
        paths.add(f"{Path.home()}/")
    settings = {
        name: value
        for name, value in os.environ.items()
        if re.search(r"index|registry|find_links", name, re.IGNORECASE)
    }
    hosts = {urlsplit(word).hostname for value in settings.values() for word in value.split() if "://" in word}
    return paths | {host for host in hosts if host and not re.search(r"(^|\.)(pypi|pythonhosted|npmjs)\.", host)}


def test_no_committed_file_holds_a_path_of_this_machine_or_the_address_of_a_registry() -> None:
    traces = _of_this_machine()
    found = {
        name: [trace for trace in traces if trace in text] + [match.group() for match in REGISTRY.finditer(text)]
        for name, text in _committed().items()
        if name != "tests/test_supply_chain.py"
    }
    assert {name: what for name, what in found.items() if what} == {}
