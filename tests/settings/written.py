"""A directory with what an operator wrote into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trunkline.settings.reading import SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trunkline.settings.values import Settings


class Desk:
    """Where the operator writes. `tmp_path` holds the files; nothing of the real environment gets in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, *, env: str | None = None, toml: str | None = None) -> Desk:
        """Write `.env` and `trunkline.toml`."""
        for name, text in ((".env", env), ("trunkline.toml", toml)):
            if text is not None:
                (self.directory / name).write_text(text, encoding="utf-8")
        return self

    def load(self, flags: Mapping[str, str] | None = None, /, **environment: str) -> Settings:
        """The settings, with this environment."""
        return load(environment, self.directory, flags=flags)

    def mistakes(self, flags: Mapping[str, str] | None = None, /, **environment: str) -> list[str]:
        """What is wrong; each mistake is one line."""
        with pytest.raises(SettingsError) as caught:
            self.load(flags, **environment)
        assert str(caught.value).split("\n") == caught.value.mistakes
        return caught.value.mistakes
