"""What a dialect must say of itself so that the laws can be asked of it: what it can hold, and what it takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis import strategies as st

    from trunkline.core.call import Call
    from trunkline.core.reply import Reply


class Laws(NamedTuple):
    """One dialect's part of the laws.

    `calls` are those that it can be told of without a refusal; `call_back` is what such a call is after it was written
    and read again, `lost` what must be named as dropped on the way. `answers` are those that its clients can be told
    of; `answer_back` is what such an answer is after it was written and read again, as a stream or whole.
    `changed` are the keys of a client's own body that a splice may change. `echo` makes a request's body of a whole
    answer of this dialect, as its clients do.
    """

    calls: st.SearchStrategy[Call]
    call_back: Callable[[Call], Call]
    lost: Callable[[Call], Mapping[str, bool]]
    answers: st.SearchStrategy[Reply]
    answer_back: Callable[[Reply, bool], Reply]
    """Of the answer, and whether it is whole."""
    changed: frozenset[str]
    echo: Callable[[Any], dict[str, Any]]
