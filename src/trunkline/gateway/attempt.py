"""One target: send, and wait for the first event that the client can see. That is the commit point."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self, cast

from trunkline.core.call import Operation
from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.reply import unfold
from trunkline.dialects import sse
from trunkline.dialects.upstream_error import invalid_answer
from trunkline.gateway.exchange import Tally
from trunkline.gateway.inbound import Batch, Inbound
from trunkline.gateway.off_loop import DEEP_BYTES, SHALLOW_BYTES, off_loop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from trunkline.core.catalog import Target
    from trunkline.dialects.dialect import CountEgress, CountIngress, Egress, WholeIngress, WireRequest
    from trunkline.gateway.exchange import Exchange
    from trunkline.upstream.client import Client, WireStream

MAX_ERROR_BODY: Final = 64 * 1024
JSON: Final = "application/json"


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


@dataclass(slots=True)
class Whole:
    """A whole answer, read: the client's bytes. There is nothing to leave open."""

    target: Target
    body: bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Attempter:
    """Makes attempts: how to reach an upstream, and the bounds of what is read from it."""

    def __init__(
        self,
        client: Client,
        egresses: Mapping[str, Egress],
        *,
        counters: Mapping[str, CountEgress] = MappingProxyType({}),
        max_event_bytes: int,
        max_whole_bytes: int = 32 << 20,
    ) -> None:
        self._client = client
        self._egresses = egresses
        self._counters = counters
        self._max_event_bytes = max_event_bytes
        self._max_whole_bytes = max_whole_bytes

    async def attempt(self, exchange: Exchange, target: Target, *, keeps_text: bool) -> Attempt | Whole:
        """Ask this target. Raises Problem, whose `retry` says whether another one could do better."""
        exchange.target = target
        exchange.attempts += 1
        exchange.tally = Tally(keeps_text=keeps_text, commits_on_reasoning=exchange.ingress.commits_on_reasoning)
        timeouts = target.provider.timeouts
        streams = exchange.envelope.stream
        total_s = timeouts.total_s if streams else timeouts.whole_s
        total = exchange.started + total_s
        first = get_running_loop().time() + timeouts.first_token_s if streams else total
        deadline = min(first, total)
        try:
            if exchange.envelope.operation is Operation.COUNT:
                return await self._counted(exchange, target, deadline)
            ask = self._until_content if streams else self._until_whole
            return await ask(exchange, target, exchange.tally, deadline)
        except TimeoutError:
            label, model = target.provider.label, target.model.id
            message = f"{label} gave no first token for {model} within {timeouts.first_token_s:g} s. Try another model."
            if deadline == total:
                message = f"The request took longer than the limit of {total_s:g} s."
            raise Problem(Kind.TIMED_OUT, message, source=Source.UPSTREAM, retry=Retry.ELSEWHERE) from None

    async def _until_content(self, exchange: Exchange, target: Target, tally: Tally, deadline: float) -> Attempt:
        clock = get_running_loop().time
        egress = self._egresses[target.provider.dialect]
        is_verbatim = _is_verbatim(exchange, egress)
        with ExitStack() as stack:
            stream = await self._send(await _request(exchange, target, egress), target, deadline)
            stack.callback(stream.close)
            await _refuse_what_is_not(sse.MEDIA_TYPE, stream, target, egress, deadline)
            inbound = Inbound(stream, sse.Framer(self._max_event_bytes), egress.reader(target))
            first: list[Batch] = []
            is_committed = False
            while not is_committed:
                batch = await inbound.pull(deadline)
                first.append(batch)
                is_committed = tally.add(batch.events, clock()) or batch.is_over
            stack.pop_all()
            return Attempt(target, inbound, first, is_verbatim)

    async def _until_whole(self, exchange: Exchange, target: Target, tally: Tally, deadline: float) -> Whole:
        egress = self._egresses[target.provider.dialect]
        with ExitStack() as stack:
            stream = await self._send(await _request(exchange, target, egress), target, deadline)
            stack.callback(stream.close)
            await _refuse_what_is_not(JSON, stream, target, egress, deadline)
            body = await stream.read_all(deadline, self._max_whole_bytes + 1)
            if len(body) > self._max_whole_bytes:
                raise invalid_answer(target, f"a whole answer over {self._max_whole_bytes} bytes")
            reply = await off_loop(len(body) >= SHALLOW_BYTES, egress.read_reply, body, target)
        tally.add(unfold(reply), get_running_loop().time())
        if not _is_verbatim(exchange, egress):
            ingress = cast("WholeIngress", exchange.ingress)  # others always stream
            body = ingress.write_reply(reply, exchange.opening())
        return Whole(target, body)

    async def _counted(self, exchange: Exchange, target: Target, deadline: float) -> Whole:
        """How many tokens the request has: as the target's provider counts it, or else estimated here."""
        ingress = cast("CountIngress", exchange.ingress)  # only such an ingress gives the operation
        counter = self._counters.get(target.provider.dialect)
        if counter is not None:
            try:
                body = await self._count(exchange, target, counter, deadline)
                tokens = counter.read_count(body, target)
            except Problem as problem:
                if problem.source is Source.CALLER:
                    raise
            else:
                return Whole(target, body if _is_verbatim(exchange, counter) else ingress.write_count(tokens))
        exchange.is_estimated = True
        call = await off_loop(len(exchange.body) >= DEEP_BYTES, exchange.call)
        return Whole(target, ingress.write_count(call.estimated_tokens()))

    async def _count(self, exchange: Exchange, target: Target, counter: CountEgress, deadline: float) -> bytes:
        is_verbatim = _is_verbatim(exchange, counter)
        write = _spliced if is_verbatim else _translated_count
        is_large = len(exchange.body) >= (SHALLOW_BYTES if is_verbatim else DEEP_BYTES)
        request = await off_loop(is_large, write, exchange, target, counter)
        with closing(await self._send(request, target, deadline)) as stream:
            await _refuse_what_is_not(JSON, stream, target, counter, deadline)
            return await stream.read_all(deadline, MAX_ERROR_BODY)

    async def _send(self, request: WireRequest, target: Target, deadline: float) -> WireStream:
        return await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)


def _is_verbatim(exchange: Exchange, egress: Egress) -> bool:
    return egress.name == exchange.ingress.name and exchange.turn is None


async def _request(exchange: Exchange, target: Target, egress: Egress) -> WireRequest:
    """The client's own body with another model in it, or the call in the target's dialect."""
    is_verbatim = _is_verbatim(exchange, egress)
    write = _spliced if is_verbatim else _translated
    is_large = len(exchange.body) >= (SHALLOW_BYTES if is_verbatim else DEEP_BYTES)
    request = await off_loop(is_large, write, exchange, target, egress)
    exchange.dropped = request.dropped + _unheard(exchange, target, is_verbatim=is_verbatim)
    return request


def _spliced(exchange: Exchange, target: Target, egress: Egress) -> WireRequest:
    return egress.splice(exchange.body, exchange.envelope, target)


def _translated(exchange: Exchange, target: Target, egress: Egress) -> WireRequest:
    call = exchange.call()
    if exchange.turn is not None and target.model.context_tokens is not None:
        # A session's earlier messages are ours to leave out; what the client itself sent is not.
        call = call.trimmed_to(target.model.context_tokens)
    return egress.write_call(call, target)


def _translated_count(exchange: Exchange, target: Target, egress: CountEgress) -> WireRequest:
    return egress.write_count_call(exchange.call(), target)


def _unheard(exchange: Exchange, target: Target, *, is_verbatim: bool) -> tuple[str, ...]:
    """What the client said outside of what is translated, and this target does not get to hear."""
    envelope, carries = exchange.envelope, exchange.ingress.carries
    headers = () if is_verbatim else tuple(name for name, _ in envelope.headers if carries[name])
    if envelope.preferences is None or (is_verbatim and target.provider.quirks.accepts_provider_object):
        return headers
    return headers + envelope.preferences.beyond


async def _refuse_what_is_not(
    media_type: str, stream: WireStream, target: Target, egress: Egress, deadline: float
) -> None:
    """Raise the Problem that an answer of another status or media type means."""
    came = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stream.status != 200 or came != media_type:
        body = await stream.read_all(deadline, MAX_ERROR_BODY)
        raise egress.read_problem(target, stream.status, stream.headers, body)
