"""One target: send, and wait for the first event that the client can see. That is the commit point."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.dialects import sse
from trunkline.gateway.exchange import Tally
from trunkline.gateway.inbound import Batch, Inbound

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from trunkline.core.catalog import Target
    from trunkline.dialects.dialect import Egress, WireRequest
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client, WireStream

MAX_ERROR_BODY: Final = 64 * 1024


@dataclass(slots=True)
class Attempt:
    """A committed attempt: its stream is open, and `first` holds what came up to the first content.

    `is_verbatim`: client and upstream speak the same dialect, and nobody asked to edit the content. Leaving it as a
    context closes the stream.
    """

    target: Target
    inbound: Inbound
    first: list[Batch]
    is_verbatim: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inbound.stream.close()


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
        egress = self._egresses[target.provider.dialect]
        try:
            return await self._until_content(exchange, target, egress, exchange.tally, deadline)
        except TimeoutError:
            label, model = target.provider.label, target.model.id
            message = f"{label} gave no first token for {model} within {timeouts.first_token_s:g} s. Try another model."
            if deadline == total:
                message = f"The request took longer than the limit of {timeouts.total_s:g} s."
            raise Problem(Kind.TIMED_OUT, message, source=Source.UPSTREAM, retry=Retry.ELSEWHERE) from None

    async def _until_content(
        self, exchange: Exchange, target: Target, egress: Egress, tally: Tally, deadline: float
    ) -> Attempt:
        clock = get_running_loop().time
        is_verbatim = egress.name == exchange.ingress.name and exchange.turn is None
        with ExitStack() as stack:
            stream = await self._send(_request(exchange, target, egress, is_verbatim=is_verbatim), target, deadline)
            stack.callback(stream.close)
            await _refuse_what_is_no_stream(stream, target, egress, deadline)
            inbound = Inbound(stream, sse.Framer(self._max_event_bytes), egress.reader(target))
            first: list[Batch] = []
            is_committed = False
            while not is_committed:
                batch = await inbound.pull(deadline)
                first.append(batch)
                is_committed = tally.add(batch.events, clock()) or batch.is_over
            stack.pop_all()
            return Attempt(target, inbound, first, is_verbatim)

    async def _send(self, request: WireRequest, target: Target, deadline: float) -> WireStream:
        return await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)


def _request(exchange: Exchange, target: Target, egress: Egress, *, is_verbatim: bool) -> WireRequest:
    """The client's own body with another model in it, or the call in the target's dialect."""
    if is_verbatim:
        return egress.splice(exchange.body, exchange.envelope, target)
    call = exchange.call()
    if exchange.turn is not None and target.model.context_tokens is not None:
        # A session's earlier messages are ours to leave out; what the client itself sent is not.
        call = call.trimmed_to(target.model.context_tokens)
    return egress.write_call(call, target)


async def _refuse_what_is_no_stream(stream: WireStream, target: Target, egress: Egress, deadline: float) -> None:
    media_type = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stream.status != 200 or media_type != sse.MEDIA_TYPE:
        body = await stream.read_all(deadline, MAX_ERROR_BODY)
        raise egress.read_problem(target, stream.status, stream.headers, body)
