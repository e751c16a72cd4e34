"""One request's state. Each field is written by the step that owns it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from trunkline.access.quota import FREE, Hold
from trunkline.core.call import Call, Envelope, Facts
from trunkline.core.caller import Caller
from trunkline.core.catalog import Catalog, Policy, Target
from trunkline.core.problem import Problem
from trunkline.core.reply import BlockKind, Delta, End, Feature, Finish, Head, Start, Usage, features
from trunkline.dialects.dialect import Ingress, Opening, Outlet
from trunkline.gateway.admission import refuse_what_cannot_be_translated
from trunkline.routing.health import Watch
from trunkline.routing.plan import Plan, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.core.reply import Event
    from trunkline.gateway.resumption import Thread  # noqa: TC004 - nobody decodes an Exchange
    from trunkline.store.history import Turn  # noqa: TC004


SEEN: Final = frozenset({BlockKind.TEXT, BlockKind.REFUSAL})
"""What a reader of the answer sees, and history stores."""


_NO_HEAD: Final = Head()


class Tally:
    """What the reader saw go by: usage, finish, and the text if somebody will store it.

    `written_bytes` is what the upstream wrote, as UTF-8: text, reasoning and arguments of tools. `features` is what it
    holds that some dialects have no word for.
    """

    __slots__ = (
        "_hidden",
        "_pieces",
        "commits_on_reasoning",
        "features",
        "finish",
        "first_content_at",
        "has_content",
        "head",
        "keeps_text",
        "usage",
        "written_bytes",
    )

    def __init__(self, *, keeps_text: bool, commits_on_reasoning: bool) -> None:
        self.keeps_text = keeps_text
        self.commits_on_reasoning = commits_on_reasoning
        self.has_content = False
        self.first_content_at: float | None = None
        self.head = _NO_HEAD
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.written_bytes = 0
        self.features: set[Feature] = set()
        self._pieces: list[str] = []
        self._hidden: set[int] = set()
        """The blocks that a reader of the answer does not see."""

    def add(self, events: Iterable[Event], now: float) -> bool:
        """Count these events; whether content was among them, as this client sees it."""
        content = False
        for event in events:
            # Each class is looked at by itself: to `isinstance`, a Struct that is none costs as much as all the rest.
            if type(event) is not Delta:
                content = self._note(event) or content
                continue
            text = event.text
            self.written_bytes += len(text) if text.isascii() else len(text.encode(errors="replace"))
            if event.logprobs:
                self.features.update(features(event))
            is_seen = event.index not in self._hidden
            if is_seen and self.keeps_text:
                self._pieces.append(text)
            if text and (is_seen or self.commits_on_reasoning):
                content = True
        if content and not self.has_content:
            self.has_content = True
            self.first_content_at = now
        return content

    def _note(self, event: Event) -> bool:
        """Count what is no Delta; whether it is content."""
        if type(event) is Head:
            self.head = event
        elif type(event) is Start:
            return self._begin(event)
        elif type(event) is Usage:
            self.usage = event
        elif type(event) is Finish:
            self.finish = event
            self.features.update(features(event))
        elif type(event) is End and event.citations:
            self.features.update(features(event))
        return False

    def _begin(self, start: Start) -> bool:
        if start.kind is BlockKind.TEXT:
            self._hidden.discard(start.index)
            return False
        self.features.update(features(start))
        if start.kind in SEEN:
            self._hidden.discard(start.index)
        else:
            self._hidden.add(start.index)
        return start.kind is BlockKind.TOOL_CALL

    @property
    def text(self) -> str:
        """What was streamed."""
        return "".join(self._pieces)


class Try(msgspec.Struct, eq=False):
    """One target being asked. Times are the event loop's clock, in seconds."""

    target: Target
    tally: Tally
    begun: float
    watch: Watch
    """How its target's health learns of it."""
    dropped: tuple[str, ...] = ()
    """What the target could not be told."""
    unsaid: frozenset[Feature] = frozenset()
    """What the client cannot be told of its answer."""
    is_estimated: bool = False
    """The request's tokens were counted here: no provider did."""
    is_charged: bool = False
    """The client was served by it."""
    problem: Problem | None = None
    ended: float | None = None


class Exchange(msgspec.Struct, eq=False):
    """One request on its walk. Times are the event loop's clock, in seconds; `created` is the wall's, whole seconds."""

    id: str
    route: str
    ingress: Ingress
    body: bytes
    envelope: Envelope
    """Less, once it is planned, the providers that the planner was told of."""
    caller: Caller
    catalog: Catalog
    clock: Callable[[], float]
    """The event loop's: asked for here, as to look for the running loop costs a system call."""
    started: float
    created: int = 0
    policy: tuple[Policy, ...] | None = None
    """The caller's own choice of one."""
    limit_s: float | None = None
    """What the client waits at most for all of it, where it says so."""
    wants_receipt: bool = False
    """The client wants to know, in the answer itself, what became of it."""
    turn: Turn | None = None
    """Written by the history step, where the request belongs to a session."""
    plan: Plan | None = None
    """Written by the planner."""
    hold: Hold = FREE
    """Written by the gateway: what is reserved for it, settled or released with it."""
    tries: list[Try] = []
    """Every attempt, written by the failover as it begins."""
    served: Try | None = None
    """Written by the failover: the attempt that gave content, the last one where it was resumed."""
    continuation: Call | None = None
    """Written by the resumption: what is asked of the next target instead of the request."""
    thread: Thread | None = None
    """Written by the resumption: the text as the client sees it, whoever wrote it."""
    seams: list[int] = []
    """Written by the resumption: after how many characters of its text the answer went on at another target."""
    outlet: Outlet | None = None
    """Written by the relay as it begins: what tells the client of a break, in the stream that it has begun."""
    interruption: Problem | None = None
    """Written by the edge before it cancels a request that must end although its client is still there."""
    _facts: Facts | None = None

    @property
    def told(self) -> Try | None:
        """The attempt that the client is told of: the one that served, else the last one that failed."""
        return self.served or (self.tries[-1] if self.tries else None)

    @property
    def tally(self) -> Tally | None:
        """What that attempt's reader saw."""
        return self.told.tally if self.told is not None else None

    @property
    def dropped(self) -> tuple[str, ...]:
        """What those who served, or the last that failed, were not told, and the client so far not of the answer."""
        if len(self.tries) == 1 and not (self.tries[0].dropped or self.tries[0].unsaid):
            return ()
        served = [one for one in self.tries if one.is_charged] or self.tries[-1:]
        asked = [name for one in served for name in one.dropped]
        unsaid = {feature.value for one in served for feature in one.tally.features & one.unsaid}
        return tuple(dict.fromkeys((*asked, *sorted(unsaid))))

    @property
    def text(self) -> str:
        """What was streamed, where somebody stores it."""
        if self.thread is not None:
            return self.thread.text
        return self.tally.text if self.tally is not None else ""

    def deadline(self, limit_s: float) -> float:
        """When all of it must be over, with this limit of the target's; the client's own only shortens it."""
        return self.started + (limit_s if self.limit_s is None else min(limit_s, self.limit_s))

    def tell(self, problem: Problem) -> bytes:
        """The problem as the last event of this exchange's stream."""
        if self.outlet is not None:
            return self.outlet.write_problem(problem)
        return self.ingress.write_problem(problem, request_id=self.id)

    def opening(self, target: Target) -> Opening:
        """What the client is told of this target's answer before its first event."""
        model = self.envelope.model or target.name
        price = None if self.may_resume else target.model.price  # several may write it, each at its own price
        return Opening(
            id=self.id,
            model=model,
            created=self.created,
            wants_usage=self.envelope.wants_usage,
            price=price,
            provider=target.provider.label,
        )

    def facts(self) -> Facts:
        """What the request needs: scanned once, when somebody asks."""
        if self._facts is None:
            self._facts = self.ingress.facts(self.envelope)
        return self._facts

    def wanted(self, *, explains: bool = False) -> Wanted:
        """What is to be planned for."""
        return Wanted(
            self.envelope,
            self.ingress.name,
            self.caller,
            self.catalog,
            self.facts,
            size=len(self.body),
            conversation=self.conversation,
            policy=self.policy,
            tags=self.caller.tags,
            explains=explains,
        )

    def worst_case_nano(self) -> int | None:
        """The most that one attempt can cost at the dearest of the plan's targets; None where that has no bound.

        A byte of text is at most a token.
        """
        if self.plan is None:
            return None
        most = [_most_nano(target, self.facts().text_bytes, self.envelope.max_tokens) for target in self.plan.targets]
        known = [nano for nano in most if nano is not None]
        return max(known) if len(known) == len(most) else None

    def conversation(self) -> bytes:
        """What is the same for all turns of one conversation, and hardly for any two: never logged, never sent.

        The client's own word for it, else what it began with.
        """
        said = self.envelope.conversation or self.facts().opening
        return blake2b(said.encode(errors="replace"), key=self.caller.user.encode()[:64], digest_size=16).digest()

    @property
    def may_resume(self) -> bool:
        """Whether the answer may go on at another target: then it is never verbatim, so that its seam does not show."""
        return self.plan is not None and self.plan.resume is not None and self.envelope.stream

    def call(self) -> Call:
        """The request, deep: read when an attempt must translate. Raises Problem for what no other dialect can say."""
        if self.continuation is not None:
            return self.continuation
        refuse_what_cannot_be_translated(self.ingress, self.envelope)
        call = self.ingress.read_call(self.body)
        return call if self.turn is None else call.preceded_by(self.turn.earlier)


def _most_nano(target: Target, input_tokens: int, max_tokens: int | None) -> int | None:
    price, output_tokens = target.model.price, max_tokens or target.model.max_output_tokens
    return None if price is None or output_tokens is None else price.most_nano(input_tokens, output_tokens)
