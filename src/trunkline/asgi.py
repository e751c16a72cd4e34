"""`trunkline.asgi:app` for any ASGI server: one process, no supervisor, no local model."""

from __future__ import annotations

import os
from pathlib import Path

from trunkline.app import Application
from trunkline.settings.sources import Sources
from trunkline.telemetry import configure_logging

_sources = Sources(os.environ, Path.cwd())
_settings = _sources.settings()
configure_logging(_settings.server.log_level, _settings.server.log_format)
app = Application(_settings, reread=_sources.settings)
