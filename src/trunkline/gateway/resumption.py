"""An answer that breaks in the middle of its text and goes on at another target, where its route asks for that.

What the client has seen never changes. The next target is given the text so far and says how it goes on; what it
repeats of it is left out at the seam. Only plain text is resumed: with tools, a schema or several answers there would
be no telling whether both halves belong together.
"""

from __future__ import annotations

from asyncio import get_running_loop
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.core.call import BYTES_PER_TOKEN, Message, Role, Text
from trunkline.core.catalog import Resume
from trunkline.core.problem import Kind, Problem, Source
from trunkline.core.reply import BlockKind, Delta, End, Finish, Start, Usage
from trunkline.gateway.exchange import SEEN
from trunkline.gateway.relay import Relay, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trunkline.core.call import Call
    from trunkline.core.catalog import Target
    from trunkline.core.reply import Event
    from trunkline.dialects.dialect import EventWriter
    from trunkline.gateway.attempt import Attempt
    from trunkline.gateway.exchange import Exchange, Try
    from trunkline.gateway.failover import Failover
    from trunkline.gateway.inbound import Batch
    from trunkline.gateway.relay import Outflow

MAX_OVERLAP: Final = 200
"""Characters of the end of a text that the next target may repeat."""

MAX_RESUMPTIONS: Final = 3

GO_ON: Final = (
    "Your last message was cut off. Go on exactly where it stopped, in the middle of a word if need be."
    " Repeat nothing, and say nothing about this."
)


class Resumption:
    """Relays answers that may go on elsewhere."""

    def __init__(self, failover: Failover) -> None:
        self._failover = failover

    async def relay(self, exchange: Exchange, attempt: Attempt, out: Outflow) -> None:
        """Pass the answer on, through all targets that it takes. Raises the Problem of a break that stays one."""
        exchange.outlet = writer = exchange.ingress.writer(exchange.opening(attempt.one.target))
        thread = exchange.thread = Thread()
        read: Callable[[Iterable[Event]], Iterator[Event]] = thread.begin
        current = attempt
        while True:
            try:
                with current:
                    await Relay(exchange, current, partial(_written, writer, read), out).run()
            except Problem as problem:
                following = await self._following(exchange, current.one, problem, thread)
                if following is None:
                    raise
                current, read = following, thread.go_on
            else:
                return

    async def _following(self, exchange: Exchange, one: Try, problem: Problem, thread: Thread) -> Attempt | None:
        """The next target's answer to the text so far; None where the break has to be told."""
        plan = exchange.plan
        if plan is None or plan.resume is None or not _is_mendable(problem) or not thread.is_open:
            return None
        if len(exchange.seams) == MAX_RESUMPTIONS:
            return None
        exchange.continuation = None
        call = exchange.call()
        if call.tools or call.format is not None or (call.n or 1) > 1 or call.logprobs:
            return None
        one.problem, one.ended = problem, get_running_loop().time()
        one.watch.fail(problem, one.ended)
        exchange.continuation = continued(call, thread.text, plan.resume)
        others = [target for target in plan.targets if target is not one.target]
        targets = [target for target in (*others, one.target) if _goes_on(target, plan.resume)]
        following = await self._failover.resumed(exchange, targets)
        if following is None:
            exchange.served = one
            return None
        exchange.seams.append(len(thread.text))
        thread.break_off()
        return following


def _written(writer: EventWriter, read: Callable[[Iterable[Event]], Iterator[Event]], batch: Batch) -> Iterator[bytes]:
    return written(writer, list(read(batch.events)))


def _is_mendable(problem: Problem) -> bool:
    """Whether the provider or the network is at fault, and not what was asked or said."""
    return problem.source in {Source.UPSTREAM, Source.NETWORK} and problem.kind is not Kind.CONTENT_FILTERED


def _goes_on(target: Target, resume: Resume) -> bool:
    return resume is Resume.INSTRUCT or target.provider.quirks.prefill


def continued(call: Call, text: str, resume: Resume) -> Call:
    """The request for the rest of an answer that has begun with this text: stops and all else as they were."""
    said = Message(Role.ASSISTANT, (Text(text.rstrip() if resume is Resume.PREFILL else text),))
    messages = (*call.messages, said)
    if resume is Resume.INSTRUCT:
        messages = (*messages, Message(Role.USER, (Text(GO_ON),)))
    left = call.max_tokens
    if left is not None:
        left = max(1, left - len(text.encode()) // BYTES_PER_TOKEN)
    return msgspec.structs.replace(call, messages=messages, max_tokens=left)


class Thread:
    """The one text that several targets write. Owns what was written, which block it is, and the seam under way."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._index: int | None = None
        self._kinds: dict[int, BlockKind] = {}
        self._pending: str | None = None
        self._before = ""

    @property
    def text(self) -> str:
        """All that the client has seen of it."""
        return "".join(self._pieces)

    @property
    def is_open(self) -> bool:
        """Whether the answer is in the middle of its text."""
        return self._index is not None and bool(self._pieces)

    def begin(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events of the first target, as they came."""
        for event in events:
            match event:
                case Start(index=index, kind=kind):
                    self._kinds[index] = kind
                    self._index = index if kind is BlockKind.TEXT else None
                case Delta(index=index, text=text) if self._kinds.get(index) in SEEN:
                    self._pieces.append(text)
                case End(index=index) if index == self._index:
                    self._index = None
                case _:
                    pass
            yield event

    def break_off(self) -> None:
        """Another target goes on from here; what it repeats of the end is to be left out."""
        self._before = self.text[-MAX_OVERLAP:]
        self._pending = ""
        self._kinds = {}

    def go_on(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events of a target that goes on: what it says, a refusal too, as more of the open block, and its end."""
        for event in events:
            match event:
                case Start(index=index, kind=kind):
                    self._kinds[index] = kind
                case Delta(index=index, text=text) if self._kinds.get(index) in SEEN:
                    yield from self._more(text)
                case Usage():
                    yield event
                case Finish():
                    yield from self._flush()
                    if self._index is not None:
                        yield End(self._index)
                        self._index = None
                    yield event
                case _:
                    pass  # its own name, what it thinks, and the ends of its blocks: the answer has its own

    def _more(self, text: str) -> Iterator[Event]:
        if self._pending is None:
            yield from self._write(text)
            return
        self._pending += text
        if not may_overlap(self._before, self._pending):
            yield from self._flush()

    def _flush(self) -> Iterator[Event]:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            yield from self._write(pending[overlap(self._before, pending) :])

    def _write(self, text: str) -> Iterator[Event]:
        if text and self._index is not None:
            self._pieces.append(text)
            yield Delta(self._index, text)


def overlap(before: str, after: str) -> int:
    """How many characters of the end of one text the beginning of another repeats: the most of them."""
    longest = min(len(before), len(after), MAX_OVERLAP)
    return next((length for length in range(longest, 0, -1) if before.endswith(after[:length])), 0)


def may_overlap(before: str, begun: str) -> bool:
    """Whether more text could still make a longer overlap: the end of `before` goes on from what has begun."""
    return len(begun) < len(before) and begun in before
