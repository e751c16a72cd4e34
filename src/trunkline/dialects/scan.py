"""What one scan of a conversation adds up to, whatever the dialect: its size, how it began, what the user said last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import LAST_TEXT_CHARACTERS, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.core.call import Need

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_NOTHING: Final = frozenset({b"null", b"[]"})


def holds(keys: Mapping[str, msgspec.Raw], name: str) -> bool:
    """Whether this key says anything: null and an empty list do not."""
    return bytes(keys.get(name, b"null")) not in _NOTHING


class _Thinking(msgspec.Struct):
    """How the dialects ask a model to think, all in one."""

    effort: str | None = None
    enabled: bool | None = None
    type: str | None = None
    max_tokens: int | None = None
    level: str | None = msgspec.field(default=None, name="thinkingLevel")
    budget: int | None = msgspec.field(default=None, name="thinkingBudget")


_THINKING: Final = msgspec.json.Decoder(str | _Thinking | None)
_LITTLE: Final = frozenset({"none", "minimal", "low"})
"""Words by which a model is asked to think little, or not at all."""


def thinks(keys: Mapping[str, msgspec.Raw], *names: str) -> bool:
    """Whether one of these keys asks the model to think, and more than a little."""
    for name in names:
        try:
            asked: str | _Thinking | None = _THINKING.decode(keys.get(name, b"null"))
        except UNREADABLE:
            continue
        match asked:
            case None:
                continue
            case str(word):
                pass
            case _Thinking(enabled=True) | _Thinking(type="enabled" | "adaptive"):
                return True
            case _Thinking(max_tokens=int(tokens)) | _Thinking(budget=int(tokens)) if tokens:
                return True
            case _:
                word = asked.effort or asked.level or "none"
        if word.lower() not in _LITTLE:
            return True
    return False


class Scan:
    """Owns the sums. `instructions` are what stands before the messages."""

    def __init__(self, instructions: str = "") -> None:
        self._opening = instructions
        self._bytes = len(instructions.encode(errors="replace"))
        self._last = ""
        self._messages = 0

    def add(self, text: str, *, is_user: bool) -> None:
        """One message's text."""
        self._messages += 1
        if not text:
            return
        self._bytes += len(text.encode(errors="replace"))
        if not self._last and len(self._opening) < LAST_TEXT_CHARACTERS:
            self._opening += text
        if is_user:
            self._last = text

    def facts(self, needs: Iterable[Need], *, thinks: bool = False) -> Facts:
        """What it all adds up to."""
        return Facts(
            messages=self._messages,
            needs=frozenset(needs),
            text_bytes=self._bytes,
            last_text=self._last[:LAST_TEXT_CHARACTERS],
            opening=self._opening[:LAST_TEXT_CHARACTERS],
            thinks=thinks,
        )
