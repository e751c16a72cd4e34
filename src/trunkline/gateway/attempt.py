"""One target: send, and wait for the first event that the client can see. That is the commit point."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects import sse
from trunkline.gateway.exchange import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import Egress, EventReader
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client, WireStream

MAX_ERROR_BODY: Final = 64 * 1024
FINISHED_GRACE_S: Final = 2.0
"""How long a finished answer is waited on for its usage and its end."""


@dataclass(slots=True)
class Attempt:
    """A committed attempt: its stream is open, and `first` holds the events up to the first content.

    `is_over`: the upstream has already said everything. Leaving it as a context closes the stream.
    """

    target: Target
    stream: WireStream
    framer: sse.Framer
    reader: EventReader
    first: list[Event]
    is_over: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()


class Attempter:
    """Makes attempts: how to reach an upstream, and the bounds of what is read from it."""

    def __init__(self, client: Client, egresses: Mapping[str, Egress], *, max_event_bytes: int) -> None:
        self._client = client
        self._egresses = egresses
        self._max_event_bytes = max_event_bytes

    async def attempt(self, exchange: Exchange, target: Target, *, keeps_text: bool) -> Attempt:
        """Ask this target. Raises Problem, whose `retry` says whether another one could do better."""
        exchange.target = target
        exchange.attempts += 1
        exchange.tally = Tally(keeps_text=keeps_text, commits_on_reasoning=exchange.ingress.commits_on_reasoning)
        timeouts = target.provider.timeouts
        total = exchange.started + timeouts.total_s
        deadline = min(get_running_loop().time() + timeouts.first_token_s, total)
        call = exchange.call()
        if exchange.turn is not None and target.model.context_tokens is not None:
            # A session's earlier messages are ours to leave out; what the client itself sent is not.
            call = call.trimmed_to(target.model.context_tokens)
        try:
            return await self._until_content(call, target, exchange.tally, deadline)
        except TimeoutError:
            label, model = target.provider.label, target.model.id
            message = f"{label} gave no first token for {model} within {timeouts.first_token_s:g} s. Try another model."
            if deadline == total:
                message = f"The request took longer than the limit of {timeouts.total_s:g} s."
            raise Problem(Kind.TIMED_OUT, message, source=Source.UPSTREAM, retry=Retry.ELSEWHERE) from None

    async def _until_content(self, call: Call, target: Target, tally: Tally, deadline: float) -> Attempt:
        egress = self._egresses[target.provider.dialect]
        request = egress.write_call(call, target)
        clock = get_running_loop().time
        with ExitStack() as stack:
            stream = await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)
            stack.callback(stream.close)
            media_type = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
            if stream.status != 200 or media_type != sse.MEDIA_TYPE:
                body = await stream.read_all(deadline, MAX_ERROR_BODY)
                raise egress.read_problem(target, stream.status, stream.headers, body)
            framer = sse.Framer(self._max_event_bytes)
            reader = egress.reader(target)
            first: list[Event] = []
            has_content = is_over = False
            while not (has_content or is_over):
                events, is_over = await read_events(stream, framer, reader, deadline)
                first += events
                has_content = tally.add(events, clock())
            stack.pop_all()
            return Attempt(target, stream, framer, reader, first, is_over)


async def read_events(
    stream: WireStream, framer: sse.Framer, reader: EventReader, deadline: float
) -> tuple[list[Event], bool]:
    """What the upstream says next, and whether that was its last word.

    A finished answer is whole, whatever becomes of the connection after it. Raises Problem for an error in the
    stream and for one that is cut; TimeoutError when the deadline passes.
    """
    if reader.is_finished:
        deadline = min(deadline, get_running_loop().time() + FINISHED_GRACE_S)
    try:
        chunk = await stream.read(deadline)
    except (Problem, TimeoutError):
        if not reader.is_finished:
            raise
        chunk = b""
    events: list[Event] = []
    for frame in framer.feed(chunk) if chunk else ():
        events += reader.read(frame)
    if reader.is_done or not chunk:
        events += reader.close()
        return events, True
    return events, False
