"""Work on a large body leaves the event loop free."""

from __future__ import annotations

import threading

import pytest

from trunkline.gateway.off_loop import off_loop


def where() -> int:
    return threading.get_ident()


@pytest.mark.parametrize("is_large", [True, False])
async def test_large_work_is_done_in_another_thread_and_small_work_at_once(*, is_large: bool) -> None:
    assert (await off_loop(is_large, where) != where()) is is_large


async def test_what_fails_there_fails_here() -> None:
    def fail() -> None:
        raise ValueError("there")

    with pytest.raises(ValueError, match="there"):
        await off_loop(True, fail)
