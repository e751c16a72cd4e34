"""Several answers to one request: a provider of the client's own dialect may give them, nobody else can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trunkline.core.problem import invalid

if TYPE_CHECKING:
    from trunkline.core.call import Call

MAX_OTHERS: Final = 128


class Others:
    """The answers beside the first in one verbatim stream: each comes to an end of its own, which is waited for."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._due: set[int] = set()

    def expect(self, answers: int) -> None:
        """So many are to come, with the first."""
        self._due = set(range(1, min(answers, MAX_OTHERS)))

    def see(self, index: int, *, is_finished: bool) -> None:
        """A piece of one of them, its last one perhaps."""
        self._due.discard(index)
        if is_finished:
            self._open.discard(index)
        elif len(self._open) < MAX_OTHERS:
            self._open.add(index)

    @property
    def are_open(self) -> bool:
        """Whether one of them has begun and has not ended."""
        return bool(self._open)

    @property
    def are_due(self) -> bool:
        """The same, or one of them has not begun: a provider may leave it out, so a clean end is one all the same."""
        return bool(self._open or self._due)


def refuse_several(call: Call) -> None:
    """Raise the Problem of a call for more than one answer: what is translated holds one."""
    if call.n is not None and call.n > 1:
        raise invalid(
            f"{call.n} answers were asked for (`n`, or `candidateCount`); only a provider of the client's own dialect"
            " can give more than one. Leave it out, or ask one by one.",
            param="n",
        )
