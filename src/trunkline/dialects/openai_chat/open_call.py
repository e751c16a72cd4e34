"""The tool call that is being told: which pieces are its own, and which have to wait for its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.dialects.tool_arguments import ToolArguments

if TYPE_CHECKING:
    from trunkline.dialects.openai_chat.wire import ToolPiece


class OpenCall:
    """One call, from its first piece on. It starts once its name is known. `is_given_id`: its provider named it."""

    __slots__ = ("arguments", "id", "index", "is_given_id", "is_started", "name")

    def __init__(self, index: int | None, id_: str) -> None:
        self.index = index
        self.id = id_
        self.is_given_id = bool(id_)
        self.is_started = False
        self.name = ""
        self.arguments = ToolArguments()

    def keeps_waiting(self, piece: ToolPiece) -> bool:
        """Whether this piece of another call must wait. Where none has said a word, their heads may come first."""
        if piece.index is None or self.index is None or not self.arguments.may_go_on:
            return False
        return self.arguments.have_begun or not (piece.function and piece.function.arguments)

    @property
    def is_cut(self) -> bool:
        """Whether its arguments have begun, and more of them is to come."""
        return self.arguments.have_begun and self.arguments.may_go_on

    def is_followed_by(self, piece: ToolPiece) -> bool:
        """Whether a piece with its number, or with none, begins the next call: a new id tells, or else a name."""
        if piece.id and self.id:
            return piece.id != self.id
        function = piece.function
        if piece.id or self.is_given_id or function is None or not function.name:
            return False
        return bool(function.name != self.name or function.arguments) and self.arguments.are_whole
