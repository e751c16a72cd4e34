"""`trunkline.asgi:app` for any ASGI server: one process, no supervisor, no local model."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from trunkline.app import Application
from trunkline.settings.reading import load
from trunkline.telemetry import configure_logging

_read = partial(load, os.environ, Path.cwd())
_settings = _read()
configure_logging(_settings.server.log_level, _settings.server.log_format)
app = Application(_settings, reread=_read)
