"""Everything that an answer can say."""

from __future__ import annotations

from typing import Final

from dialects.answer_content import CONTENT
from dialects.answer_ending import ENDING

ANSWERS: Final = (*CONTENT, *ENDING)
