"""`GET .../requests/{id}`: what became of a request, for its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trunkline.core.problem import Kind, invalid
from trunkline.core.receipt import receipt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline.core.caller import Caller
    from trunkline.core.record import Record
    from trunkline.edge.request import Answer, Receive, Request

    Find = Callable[[str, str | None], Awaitable[Record | None]]

JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")


class Requests:
    """The recent requests. `find` gives the Record of an id and a user; None as the user means anybody's."""

    def __init__(self, find: Find) -> None:
        self._find = find

    async def one(self, request: Request, caller: Caller | None, _receive: Receive, answer: Answer) -> None:
        """The receipt of one request. Raises Problem NOT_FOUND, also for one that is another user's."""
        assert caller is not None  # noqa: S101 - the route wants one
        request_id = request.path.rpartition("/")[2]
        record = await self._find(request_id, None if caller.is_admin else caller.user)
        if record is None:
            raise invalid("There is no such request of yours, or it was too long ago.", param="id", kind=Kind.NOT_FOUND)
        told = receipt(record, for_admin=caller.is_admin)
        await answer.whole(200, msgspec.json.encode(told), JSON, NO_STORE)
