"""Everything that a request can say."""

from __future__ import annotations

from typing import Final

from dialects.request_content import CONTENT
from dialects.request_settings import SETTINGS
from dialects.request_tools import TOOL_USE

REQUESTS: Final = (*CONTENT, *TOOL_USE, *SETTINGS)
