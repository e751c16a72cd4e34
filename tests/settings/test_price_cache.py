"""Price lists are made once, in a process of their own, and then read from the cache directory."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING

from trunkline.settings.price_cache import SNAPSHOT, price_lists
from trunkline.settings.sources import Sources
from trunkline.settings.values import compile_catalog

if TYPE_CHECKING:
    from pathlib import Path

    from settings.written import Desk

DAY = date(2026, 11, 25)


def test_a_list_is_made_and_then_read(tmp_path: Path) -> None:
    made = price_lists(["openai"], tmp_path / "cache", DAY)
    path = tmp_path / "cache" / SNAPSHOT
    first = path.stat()
    again = price_lists(["openai", "anthropic"], tmp_path / "cache", DAY)
    assert made.warnings == again.warnings == ()
    assert made.lists["openai"] == again.lists["openai"]
    assert made.lists["openai"].price_of("gpt-4.1") is not None
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert os.listdir(path.parent) == [SNAPSHOT]  # noqa: PTH208 - names alone


def test_what_is_broken_is_made_anew(tmp_path: Path) -> None:
    for broken in (b"\xff", b"[[],{}]"):
        (tmp_path / SNAPSHOT).write_bytes(broken)
        assert price_lists(["openai"], tmp_path, DAY).lists["openai"].names
    good = (tmp_path / SNAPSHOT).read_bytes()
    (tmp_path / SNAPSHOT).write_bytes(good.replace(b'"anthropic"', b'"anthropi\xff"'))
    assert price_lists(["openai"], tmp_path, DAY).lists["openai"].names
    assert (tmp_path / SNAPSHOT).read_bytes() == good


def test_where_nothing_can_be_kept_the_prices_are_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = price_lists(["openai"], tmp_path / "file", DAY)
    assert known.lists["openai"].names
    assert known.warnings == (
        f"Prices cannot be kept in {tmp_path / 'file'}, so each start makes them anew: File exists.",
    )


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    known = price_lists(["nobody", "openai"], tmp_path, DAY)
    assert known.warnings == ("There is no price list 'nobody': what its models cost is not known.",)
    assert set(known.lists) == {"openai"}


def test_nothing_is_made_where_no_list_is_wanted(tmp_path: Path) -> None:
    assert price_lists([], tmp_path, DAY).lists == {}
    assert not (tmp_path / SNAPSHOT).exists()


def test_sources_give_the_settings_with_prices_and_may_be_asked_again(desk: Desk) -> None:
    environment = {"OPENAI_API_KEY": "o", "TRUNKLINE_CACHE_DIR": str(desk.directory)}
    sources = Sources(environment, desk.directory, {"PORT": "4000"})
    first = sources.settings()
    assert first.server.port == 4000
    assert compile_catalog(first).resolve("openai/gpt-4.1").model.price is not None
    assert sources.settings() == first
    desk.write(toml='[prices."openai/gpt-4.1"]\ninput = 1\noutput = 1')
    second = sources.settings()
    assert compile_catalog(second).resolve("openai/gpt-4.1").model.price != first
    assert second.prices.keys() == {"openai/gpt-4.1"}


def test_a_process_with_prices_has_loaded_nothing_that_speaks_http_for_them(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import date; from pathlib import Path\n"
        "from trunkline.settings.price_cache import price_lists\n"
        "assert price_lists(['openai'], Path(sys.argv[1]), date(2026, 11, 25)).lists\n"
        "print(sorted({'genai_prices', 'httpx2', 'httpx', 'pydantic', 'urllib.request'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
