"""One target: send, and wait for the first event that the client can see. That is the commit point."""

from __future__ import annotations

from asyncio import to_thread
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn, Self, cast

from trunkline.core.call import Operation
from trunkline.core.embedding import joined
from trunkline.core.problem import Kind, Problem, Retry, Source, invalid
from trunkline.core.reply import fold
from trunkline.dialects import sse
from trunkline.dialects.upstream_error import invalid_answer
from trunkline.gateway.inbound import Batch, Inbound
from trunkline.gateway.off_loop import DEEP_BYTES, SHALLOW_BYTES, off_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from trunkline.core.catalog import Target
    from trunkline.core.embedding import EmbedReply
    from trunkline.dialects.dialect import (
        CountEgress,
        CountIngress,
        Egress,
        EmbedEgress,
        EmbedIngress,
        SeveralReader,
        WholeIngress,
        WireRequest,
    )
    from trunkline.gateway.exchange import Exchange, Tally, Try
    from trunkline.upstream.client import Client, WireStream

MAX_SHORT_BODY: Final = 64 * 1024
"""Of an error, and of a count."""
JSON: Final = "application/json"
MAX_WHOLE_BYTES: Final = 32 << 20
MAX_VECTORS_BYTES: Final = 64 << 20
"""Of one request's answer: 2,048 vectors of 3,072 numbers take half of it in base64, as the SDKs ask for them."""


@dataclass(slots=True)
class Attempt:
    """A committed attempt: its stream is open, and `first` holds what came up to the first content.

    `is_verbatim`: client and upstream speak the same dialect, and nobody asked to edit the content. Leaving it as a
    context closes the stream.
    """

    one: Try
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

    one: Try
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
        embedders: Mapping[str, EmbedEgress] = MappingProxyType({}),
        max_event_bytes: int,
    ) -> None:
        self._client = client
        self._egresses = egresses
        self._counters = counters
        self._embedders = embedders
        self._max_event_bytes = max_event_bytes

    async def attempt(self, exchange: Exchange, one: Try, accepts_empty: Callable[[], bool]) -> Attempt | Whole:
        """Ask its target. Raises Problem, whose `retry` says whether another one could do better.

        An answer that ends without content is one of those problems, unless it is accepted as it is then.
        """
        timeouts = one.target.provider.timeouts
        operation, streams = exchange.envelope.operation, exchange.envelope.stream
        first = total = exchange.deadline(timeouts.total_s if streams else timeouts.whole_s)
        ask: Callable[[Exchange, Try, float], Awaitable[Attempt | Whole]]
        if operation is not Operation.GENERATE:
            ask = self._counted if operation is Operation.COUNT else self._embedded
        elif streams:
            ask = self._until_content
            first = one.begun + timeouts.first_token_s
        else:
            ask = self._until_whole
        try:
            committed = await ask(exchange, one, min(first, total))
        except TimeoutError:
            raise _too_slow(exchange, one.target, is_first=first < total) from None
        is_full = one.tally.has_content or operation is not Operation.GENERATE or _has_output(one.tally)
        if not (is_full or accepts_empty()):
            with committed:
                raise invalid_answer(one.target, "a finish with nothing before it")
        return committed

    async def _until_content(self, exchange: Exchange, one: Try, deadline: float) -> Attempt:
        clock = exchange.clock
        target, tally = one.target, one.tally
        egress = self._egresses[target.provider.dialect]
        is_verbatim = _is_verbatim(exchange, egress)
        request = await _request(exchange, one, egress, is_verbatim=is_verbatim)
        stream = await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)
        try:
            if not _is(sse.MEDIA_TYPE, stream):
                await _refuse(stream, target, egress, deadline)
            reader = egress.reader(target)
            if exchange.envelope.answers > 1 and is_verbatim:
                cast("SeveralReader", reader).expect(exchange.envelope.answers)
            inbound = Inbound(stream, sse.Framer(self._max_event_bytes), reader)
            first: list[Batch] = []
            is_committed = False
            while not is_committed:
                batch = await inbound.pull(deadline)
                first.append(batch)
                is_committed = tally.add(batch.events, clock()) or batch.is_over
        except BaseException:
            stream.close()
            raise
        return Attempt(one, inbound, first, is_verbatim)

    async def _until_whole(self, exchange: Exchange, one: Try, deadline: float) -> Whole:
        target = one.target
        egress = self._egresses[target.provider.dialect]
        is_verbatim = _is_verbatim(exchange, egress)
        request = await _request(exchange, one, egress, is_verbatim=is_verbatim)
        stream = await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)
        try:
            if not _is(JSON, stream):
                await _refuse(stream, target, egress, deadline)
            body = await stream.read_all(deadline, MAX_WHOLE_BYTES + 1)
        finally:
            stream.close()
        if len(body) > MAX_WHOLE_BYTES:
            raise invalid_answer(target, f"a whole answer over {MAX_WHOLE_BYTES} bytes")
        if len(body) < SHALLOW_BYTES:
            events = egress.read_events(body, target)
        else:
            events = await to_thread(egress.read_events, body, target)
        one.tally.add(events, exchange.clock())
        if not is_verbatim:
            ingress = cast("WholeIngress", exchange.ingress)  # others always stream
            body = ingress.write_reply(fold(events), exchange.opening(target))
        return Whole(one, body)

    async def _embedded(self, exchange: Exchange, one: Try, deadline: float) -> Whole:
        """The vectors: the provider's own answer where it speaks the client's dialect, else written anew."""
        ingress = cast("EmbedIngress", exchange.ingress)  # only such an ingress gives the operation
        target, egress = one.target, self._embedders[one.target.provider.dialect]
        if egress.name != ingress.name:
            return await self._embedded_anew(exchange, one, ingress, egress, deadline)
        request = egress.splice_embed(exchange.envelope, target)
        one.dropped = request.dropped + _unheard(exchange, target, is_verbatim=True)
        body = await self._vectors(request, target, egress, deadline, MAX_VECTORS_BYTES)
        one.tally.usage = await off_loop(len(body) >= SHALLOW_BYTES, egress.read_embed_usage, body, target)
        return Whole(one, body)

    async def _embedded_anew(
        self, exchange: Exchange, one: Try, ingress: EmbedIngress, egress: EmbedEgress, deadline: float
    ) -> Whole:
        """The same through the hub: as many texts at once as the provider takes, one request after the other."""
        target, left = one.target, MAX_VECTORS_BYTES
        call = await off_loop(len(exchange.body) >= DEEP_BYTES, ingress.read_embed, exchange.body)
        replies: list[EmbedReply] = []
        for part in call.parts(egress.most_texts):
            request = await off_loop(len(exchange.body) >= DEEP_BYTES, egress.write_embed, part, target)
            one.dropped = request.dropped + _unheard(exchange, target, is_verbatim=False)
            body = await self._vectors(request, target, egress, deadline, left)
            left -= len(body)
            reply = await off_loop(len(body) >= DEEP_BYTES, egress.read_embed_reply, body, target)
            if len(reply.vectors) != len(part.texts):
                raise invalid_answer(target, f"{len(reply.vectors)} embeddings of {len(part.texts)} texts")
            replies.append(reply)
            one.tally.usage = joined(replies).usage
        opening = exchange.opening(target)
        is_large = MAX_VECTORS_BYTES - left >= DEEP_BYTES
        return Whole(one, await off_loop(is_large, ingress.write_embed_reply, joined(replies), call, opening))

    async def _vectors(
        self, request: WireRequest, target: Target, egress: EmbedEgress, deadline: float, limit: int
    ) -> bytes:
        with closing(await self._send(request, target, deadline)) as stream:
            if not _is(JSON, stream):
                await _refuse(stream, target, egress, deadline)
            body = await stream.read_all(deadline, limit + 1)
        if len(body) <= limit:
            return body
        most = MAX_VECTORS_BYTES >> 20
        raise invalid(f"The vectors take more than {most} MiB: send fewer texts at once, or ask for fewer dimensions.")

    async def _counted(self, exchange: Exchange, one: Try, deadline: float) -> Whole:
        """How many tokens the request has: as the target's provider counts it, or else estimated here."""
        ingress = cast("CountIngress", exchange.ingress)  # only such an ingress gives the operation
        target = one.target
        counter = self._counters.get(target.provider.dialect)
        if counter is not None:
            try:
                body = await self._count(exchange, target, counter, deadline)
                tokens = counter.read_count(body, target)
            except Problem as problem:
                if problem.source is Source.CALLER:
                    raise
            else:
                return Whole(one, body if _is_verbatim(exchange, counter) else ingress.write_count(tokens))
        one.is_estimated = True
        call = await off_loop(len(exchange.body) >= DEEP_BYTES, exchange.call)
        return Whole(one, ingress.write_count(call.estimated_tokens()))

    async def _count(self, exchange: Exchange, target: Target, counter: CountEgress, deadline: float) -> bytes:
        is_verbatim = _is_verbatim(exchange, counter)
        write = _spliced if is_verbatim else _translated_count
        is_large = len(exchange.body) >= (SHALLOW_BYTES if is_verbatim else DEEP_BYTES)
        request = await off_loop(is_large, write, exchange, target, counter)
        with closing(await self._send(request, target, deadline)) as stream:
            if not _is(JSON, stream):
                await _refuse(stream, target, counter, deadline)
            return await stream.read_all(deadline, MAX_SHORT_BODY)

    async def _send(self, request: WireRequest, target: Target, deadline: float) -> WireStream:
        return await self._client.send(request, timeouts=target.provider.timeouts, deadline=deadline)


def _too_slow(exchange: Exchange, target: Target, *, is_first: bool) -> Problem:
    """The Problem of a timer that has run out: the first token's, the whole's, or the one that the client has set."""
    timeouts = target.provider.timeouts
    if is_first:
        label, model, limit = target.provider.label, target.model.id, timeouts.first_token_s
        message = f"{label} gave no first token for {model} within {limit:g} s. Try another model."
        return Problem(Kind.TIMED_OUT, message, source=Source.UPSTREAM, retry=Retry.ELSEWHERE)
    return out_of_time(exchange, timeouts.total_s if exchange.envelope.stream else timeouts.whole_s)


def out_of_time(exchange: Exchange, limit_s: float) -> Problem:
    """The Problem of a request that took longer than the target's limit, or than its client would wait."""
    if exchange.limit_s is not None and exchange.limit_s <= limit_s:
        message = f"The answer was not there within the {exchange.limit_s:g} s that the request allows."
        return Problem(Kind.TIMED_OUT, message, source=Source.CALLER)
    return Problem(Kind.TIMED_OUT, f"The request took longer than the limit of {limit_s:g} s.", source=Source.UPSTREAM)


def _has_output(tally: Tally) -> bool:
    """Whether the answer says that it has tokens, although nothing of them can be seen."""
    return tally.usage is not None and bool(tally.usage.output_tokens)


def _is_verbatim(exchange: Exchange, egress: Egress) -> bool:
    is_own = egress.name == exchange.ingress.name
    return is_own and exchange.turn is None and not exchange.may_resume


async def _request(exchange: Exchange, one: Try, egress: Egress, *, is_verbatim: bool) -> WireRequest:
    """The client's own body with another model in it, or the call in the target's dialect."""
    target = one.target
    write = _spliced if is_verbatim else _translated
    if len(exchange.body) < (SHALLOW_BYTES if is_verbatim else DEEP_BYTES):
        request = write(exchange, target, egress)
    else:
        request = await to_thread(write, exchange, target, egress)
    one.dropped = request.dropped + _unheard(exchange, target, is_verbatim=is_verbatim)
    one.unsaid = frozenset() if is_verbatim else exchange.ingress.unsaid
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
    headers: tuple[str, ...] = () if is_verbatim else tuple(name for name, _ in envelope.headers if carries[name])
    if envelope.preferences is None or (is_verbatim and target.provider.quirks.accepts_provider_object):
        return headers
    return headers + envelope.preferences.beyond


def _is(media_type: str, stream: WireStream) -> bool:
    """Whether what has come is a good answer of this type."""
    came = stream.headers.get("content-type", "")
    return stream.status == 200 and (came == media_type or came.partition(";")[0].strip().lower() == media_type)


async def _refuse(stream: WireStream, target: Target, egress: Egress | EmbedEgress, deadline: float) -> NoReturn:
    """Raise the Problem that an answer of another status or media type means."""
    body = await stream.read_all(deadline, MAX_SHORT_BODY)
    raise egress.read_problem(target, stream.status, stream.headers, body)
