"""Where settings come from, kept so that they can be asked again: at the start, and at each reload."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trunkline.settings.price_cache import price_lists
from trunkline.settings.reading import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.settings.values import Settings


class Sources(NamedTuple):
    """The environment, the directory with `.env` and `trunkline.toml`, flags (by variables' names), and `--config`."""

    environment: Mapping[str, str]
    directory: Path
    flags: Mapping[str, str] = {}
    config: Path | None = None

    def settings(self) -> Settings:
        """The settings that these sources give now, with today's prices. Raises SettingsError with every mistake."""
        settings = load(self.environment, self.directory, flags=self.flags, config=self.config)
        names = {provider.price_list for provider in settings.providers if provider.price_list}
        priced = price_lists(names, Path(settings.server.cache_dir), datetime.now(UTC).date())
        return msgspec.structs.replace(
            settings, price_lists=priced.lists, warnings=(*settings.warnings, *priced.warnings)
        )
