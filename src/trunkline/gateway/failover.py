"""The one owner of retries: asks the targets of a plan, one after the other, until one gives content.

Bounded three times: by the number of the plan's targets or of the attempts that the operator allows, whichever is more;
by the process's retry budget; and by the request's own deadline. Every attempt's end is told to its target's health.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from trunkline.core.problem import Kind, Problem, Retry, Source
from trunkline.core.resilience import RetryLimits
from trunkline.gateway.attempt import Attempt
from trunkline.gateway.exchange import Tally, Try
from trunkline.routing.retry_budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.core.catalog import Target
    from trunkline.gateway.attempt import Attempter, Whole
    from trunkline.gateway.exchange import Exchange
    from trunkline.routing.health import Health
    from trunkline.routing.plan import Plan

HEDGES: Final = RetryLimits(share=0.05, window_s=60.0, reserve_per_s=0.0, concurrent=0)
"""At most one request in twenty of the last minute is asked of two targets at once: each of them is paid for."""

_SAME_AGAIN: Final = frozenset({Kind.UNREACHABLE, Kind.TRUNCATED, Kind.UPSTREAM_FAILED, Kind.UPSTREAM_INVALID})
"""What may be gone a moment later. A limit, a refused key and a timer that has run out will not."""

_TELLING: Final = (
    Kind.RATE_LIMITED,
    Kind.UPSTREAM_FAILED,
    Kind.UPSTREAM_INVALID,
    Kind.OVERLOADED,
    Kind.TIMED_OUT,
    Kind.TRUNCATED,
    Kind.UNREACHABLE,
    Kind.KEY_REFUSED,
)
"""Which failure the client hears of where several targets failed: the one that says best what to do (F27)."""


class Failover:
    """Owns the retry budget. `chance` gives a number from 0 to 1, a new one each time."""

    def __init__(
        self, attempter: Attempter, health: Health, limits: RetryLimits, *, chance: Callable[[], float]
    ) -> None:
        self._attempter = attempter
        self._health = health
        self._limits = limits
        self._chance = chance
        self._earned: tuple[RetryBudget, RetryBudget] | None = None
        """What may be spent on retries, and on hedges."""

    async def committed(self, exchange: Exchange, plan: Plan) -> Attempt | Whole:
        """The first target's answer that has content. Raises the most telling Problem where none gives any."""
        clock = exchange.clock
        now = clock()
        budget, hedges = self._budgets(now)
        budget.earn(now)
        hedges.earn(now)
        problems: list[Problem] = []
        targets = plan.targets
        pending = [*targets]
        has_been_empty = False
        most = max(len(targets), 1 + self._limits.attempts)

        def accepts_empty() -> bool:
            return has_been_empty or len(exchange.tries) >= most or not budget.has(clock())

        while (number := len(exchange.tries)) < most:
            if number and not budget.spend(clock()):
                break
            if not pending:
                pending = self._again(exchange, targets)
                wait_s = self._limits.backoff(number - len(targets), self._chance())
                if not pending or clock() + wait_s >= exchange.deadline(pending[0].provider.timeouts.total_s):
                    break
                await asyncio.sleep(wait_s)
            target = pending.pop(0)
            try:
                if plan.hedge and not number and (slow_s := self._slow_s(target, pending, hedges, clock())) is not None:
                    return await self._hedged(exchange, target, pending, slow_s, hedges, problems=problems)
                return await self._attempt(exchange, target, accepts_empty)
            except Problem as problem:
                if problem.retry is Retry.NEVER:
                    raise
                problems.append(problem)
                has_been_empty = has_been_empty or exchange.tries[-1].tally.finish is not None
        raise _most_telling(problems)

    async def resumed(self, exchange: Exchange, targets: Sequence[Target]) -> Attempt | None:
        """The first of these targets' answers that has content; None where there is none, or no retry is left."""
        clock = exchange.clock
        budget, _ = self._budgets(clock())
        for target in targets[: 1 + self._limits.attempts]:
            if not (budget.spend(clock()) and exchange.hold.extend()):
                break
            try:
                committed = await self._attempt(exchange, target, _never)
            except Problem:
                continue  # it stands in the record; what the client hears of is why the answer broke
            if isinstance(committed, Attempt):
                return committed
        return None

    def _budgets(self, now: float) -> tuple[RetryBudget, RetryBudget]:
        if self._earned is None:
            self._earned = RetryBudget(self._limits, now), RetryBudget(HEDGES, now)
        return self._earned

    def _slow_s(self, target: Target, others: Sequence[Target], hedges: RetryBudget, now: float) -> float | None:
        """After how long without a first token another target may be asked, too; None where that may not be."""
        return self._health.slow_first_token_s(target) if others and hedges.has(now) else None

    async def _hedged(
        self,
        exchange: Exchange,
        target: Target,
        others: list[Target],
        slow_s: float,
        hedges: RetryBudget,
        *,
        problems: list[Problem],
    ) -> Attempt | Whole:
        """The answer of this target, or of the next where that one is quicker although it was asked later.

        Whoever loses is closed at once, and stands in the record with what it cost. Where both fail, `problems` gets
        the first one's, and the other's is raised, unless the first one's says that nobody else is to be asked.
        """
        tasks = [asyncio.create_task(self._attempt(exchange, target, _always))]
        try:
            await asyncio.wait(tasks, timeout=slow_s)
            now = exchange.clock()
            if not tasks[0].done() and hedges.spend(now) and exchange.hold.extend():
                tasks.append(asyncio.create_task(self._attempt(exchange, others.pop(0), _always)))
            running = set(tasks)
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                won = next((task for task in tasks if task in done and task.exception() is None), None)
                if won is not None:
                    losers = [task for task in tasks if task is not won]
                    tasks.clear()
                    with ExitStack() as stack:
                        committed = stack.enter_context(won.result())
                        exchange.served = committed.one  # another may have been committed in the same moment
                        await self._lose(losers)  # where this is cut short, nobody is left to read what has won
                        stack.pop_all()
                    return committed
            *earlier, last = [task.exception() for task in tasks]
            for failure in earlier:
                if not isinstance(failure, Problem) or failure.retry is Retry.NEVER:
                    last = failure
                    break
                problems.append(failure)
            assert last is not None  # noqa: S101 - all have failed
            raise last
        finally:
            await self._lose(tasks)

    async def _lose(self, tasks: Sequence[asyncio.Task[Attempt | Whole]]) -> None:
        """End these attempts and close what they have opened, also where this is cut short itself."""
        for task in tasks:
            task.add_done_callback(_close_loser)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt(self, exchange: Exchange, target: Target, accepts_empty: Callable[[], bool]) -> Attempt | Whole:
        clock = exchange.clock
        begun = clock()
        tally = Tally(keeps_text=exchange.turn is not None, commits_on_reasoning=exchange.ingress.commits_on_reasoning)
        one = Try(target, tally, begun, self._health.begin(target, begun))
        exchange.tries.append(one)
        try:
            committed = await self._attempter.attempt(exchange, one, accepts_empty)
        except Problem as problem:
            one.problem = problem
            one.ended = clock()
            one.watch.fail(problem, one.ended)
            raise
        except BaseException:
            one.ended = clock()
            one.watch.give_up()
            raise
        exchange.served = one
        one.is_charged = True
        if tally.first_content_at is not None:
            one.watch.first_token(tally.first_content_at - begun, tally.first_content_at)
        return committed

    def _again(self, exchange: Exchange, targets: Sequence[Target]) -> list[Target]:
        """The targets that may be asked once more: what they failed by may be gone a moment later."""
        last = {one.target.name: one.problem for one in exchange.tries}
        return [
            target
            for target in targets
            if (problem := last.get(target.name)) is not None
            and problem.kind in _SAME_AGAIN
            and problem.source in {Source.UPSTREAM, Source.NETWORK}
        ][:1]


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _close_loser(task: asyncio.Task[Attempt | Whole]) -> None:
    if task.cancelled() or task.exception() is not None:
        return
    with task.result() as lost:
        lost.one.ended = asyncio.get_running_loop().time()
        lost.one.is_charged = False
        lost.one.watch.give_up()


def _most_telling(problems: Sequence[Problem]) -> Problem:
    def place(problem: Problem) -> int:
        return _TELLING.index(problem.kind) if problem.kind in _TELLING else len(_TELLING)

    return min(problems, key=place)
